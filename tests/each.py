"""Runs a test on many small cases as one test, and names each case that fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

import pytest

Cases = Iterable[Any] | Callable[[], Iterable[Any]]


def each(names: str | tuple[str, ...], cases: Cases) -> Callable[[Any], Callable[..., None]]:
    """Run a test on each case, and fail with all that failed, whichever came first.

    It is as `pytest.mark.parametrize` for a test that needs no fresh fixtures and is quick: being
    a test of its own costs a case some five milliseconds, and collecting it as much again in four
    processes.

    Args:
        names: The parameters that a case gives values for, as `parametrize` has them.
        cases: The values, or what makes them: then only the process that runs the test has to.
    """
    parameters = names if isinstance(names, tuple) else (names,)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def on_all(**fixtures: object) -> None:
            count, failed, failures = 0, [], []
            for name, values in _named(cases, isinstance(names, str)):
                count += 1
                try:
                    test(**dict(zip(parameters, values, strict=True)), **fixtures)
                # a case that is skipped would end the test before the others, and say nothing
                except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 -- all are raised below
                    error.add_note(f"in the case {name}")
                    failed.append(name)
                    failures.append(error)
            assert count, "there is no case"
            if failures:
                text = f"{len(failures)} of {count} cases failed: {', '.join(failed)}"
                raise BaseExceptionGroup(text, failures)

        signature = inspect.signature(test)
        others = [value for name, value in signature.parameters.items() if name not in parameters]
        on_all.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return on_all

    return decorate


def _named(cases: Cases, single: bool) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Return the values of each case with what it is called."""
    for case in cases() if callable(cases) else cases:
        values = getattr(case, "values", None)  # of `pytest.param`
        if isinstance(values, tuple):
            yield case.id or _short(values), values
        else:
            values = (case,) if single else tuple(case)
            yield _short(values), values


def _short(values: tuple[Any, ...]) -> str:
    texts = (repr(value) for value in values)
    return "-".join(text if len(text) <= 80 else f"{text[:77]}…" for text in texts)

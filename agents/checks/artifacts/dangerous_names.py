"""Reads which names are dangerous to import or call, and in which contexts they count."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from agents.domain.late_pattern import late_pattern
from schemas.conversion import Converter

FILE: Final = Path(__file__).with_name("dangerous_names.toml")


class DangerousNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The content of the data file, whose head describes it."""

    modules: dict[str, dict[str, tuple[str, ...]]]
    names: dict[str, dict[str, tuple[str, ...]]]
    functions: dict[str, tuple[str, ...]]
    prefixes: dict[str, tuple[str, ...]]
    usual_attributes: tuple[str, ...]
    saved_with_dataclasses: tuple[str, ...]


_TABLE: Final = Converter(DangerousNames)


@cache
def table() -> DangerousNames:
    """Return the content of the data file.

    Raises:
        msgspec.ValidationError: the file is not as its head describes it.
    """
    import tomllib  # noqa: PLC0415 -- as late as the file is read

    return _TABLE(tomllib.loads(FILE.read_text(encoding="utf-8")))


@cache
def modules(context: str) -> frozenset[str]:
    """Return the modules that count in a context."""
    return _in_context(table().modules, context)


@cache
def names(context: str) -> frozenset[str]:
    """Return the last parts of names that count in a context."""
    return _in_context(table().names, context)


def _in_context(effects: dict[str, dict[str, tuple[str, ...]]], context: str) -> frozenset[str]:
    found = frozenset(
        name
        for entries in effects.values()
        for name, contexts in entries.items()
        if context in contexts
    )
    if not found:
        raise KeyError(f"{FILE.name} has no context {context!r}")
    return found


@cache
def functions(*kinds: str) -> re.Pattern[str]:
    """Return the pattern that matches the full names of the functions of some kinds.

    The data file is read when the pattern is first used.
    """
    return late_pattern(lambda: _alternatives(kinds))


def _alternatives(kinds: Iterable[str]) -> str:
    alternatives = [pattern for kind in kinds for pattern in table().functions[kind]]
    return f"^(?:{'|'.join(alternatives)})$"


def prefixes(context: str) -> tuple[str, ...]:
    """Return the prefixes of full names that count in a context."""
    return table().prefixes[context]


@cache
def usual_attributes() -> frozenset[str]:
    """Return the names that are just as often attributes of arrays."""
    return frozenset(table().usual_attributes)


@cache
def saved_with_dataclasses() -> frozenset[str]:
    """Return the modules that a pickle by dill imports for methods that `dataclasses` made."""
    return frozenset(table().saved_with_dataclasses)

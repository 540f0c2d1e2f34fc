"""Judges hyper-parameters of Lightning checkpoints, and the function that loading calls with them.

Source: Lightning `core/saving.py`, `_load_state`; Lightning-AI/pytorch-lightning#21822.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from agents.checks.artifacts.formats.targets import NameTrust, name_trust, report_target
from agents.checks.artifacts.pickle.symbols import Mapping, Result, StreamEnd
from agents.checks.artifacts.scanning import Scan

KEY: Final = "_instantiator"
CALLING: Final = frozenset(("_target_", "__target__", "class_path", "_class_path"))
"""Keys whose value Hydra, Detectron2 and LightningCLI import and call."""
_PLAIN: Final = frozenset((str, bytes, int, float, bool, type(None)))
"""Types of values that hold no others."""
_OWN: Final = re.compile(
    r"(lightning\.pytorch|pytorch_lightning|lightning)\.(cli|utilities\.cli)\.instantiate_module"
)


def report_instantiator(scan: Scan, memo: dict[int, Any], end: StreamEnd) -> None:
    """Report a function that the loader of a checkpoint imports and calls by its name.

    Args:
        scan: Where to report.
        memo: The memo of the stream, which has the key if the stream does.
        end: How the stream ended, and its result.
    """
    if not any(type(value) is str and value == KEY for value in memo.values()) and not _holds(
        scan, end
    ):
        return
    named = _named(scan, end.result)
    if named is not None and _OWN.fullmatch(named):
        return
    scan.report(
        "TW-MODEL-INSTANTIATOR",
        f"loading the checkpoint calls {named[:120]!r}"
        if named
        else "loading the checkpoint calls a function that it names",
        key=KEY,
        name=(named or "")[:200],
    )


def report_named_calls(scan: Scan, memo: dict[int, Any], end: StreamEnd) -> None:
    """Report functions in hyper-parameters that a program's loader looks up by their names.

    Hydra and LightningCLI call what a configuration names, and checkpoints keep their
    configuration. Classes are to be expected there; functions that run commands or code are not.

    Args:
        scan: Where to report.
        memo: The memo of the stream, which has the keys if the stream does.
        end: How the stream ended, and its result.
    """
    if CALLING.isdisjoint(value for value in memo.values() if type(value) is str):
        return
    for key, name in _under(scan, end.result, CALLING):
        if name_trust(name) is NameTrust.DANGEROUS:
            report_target(scan, key, name)


def _under(scan: Scan, result: object, keys: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield each text that dictionaries within a value have under some keys, with its key."""
    for value, parts in _sequences(scan, result):
        if isinstance(value, Mapping):
            for key, held in zip(parts[::2], parts[1::2], strict=False):
                if type(key) is str and key in keys and isinstance(held, str):
                    yield key, held


def _sequences(scan: Scan, result: object) -> Iterator[tuple[object, list[object]]]:
    """Yield each list, tuple and dictionary within a value once, with its parts."""
    waiting: list[object] = [result]
    # by the memo a value may occur in many places, and within itself
    seen: set[int] = set()
    while waiting:
        scan.budget.step(1)
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Result):
            waiting += [value.args, value.state]
        elif isinstance(value, list | tuple):
            parts = list(value)
            yield value, parts
            waiting += [held for held in parts if type(held) not in _PLAIN]


def _holds(scan: Scan, end: StreamEnd) -> bool:
    """Return whether a pickle without a memo has the key at its top."""
    return isinstance(end.result, Mapping) and _named(scan, end.result) is not None


def _named(scan: Scan, result: object) -> str | None:
    """Return the name under the key, the first that is found."""
    for _, parts in _sequences(scan, result):
        if KEY in parts:
            for key, held in pairwise(parts):
                if type(key) is str and key == KEY and isinstance(held, str):
                    return held
    return None

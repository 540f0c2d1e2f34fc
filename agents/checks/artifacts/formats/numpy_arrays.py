"""Reads NumPy arrays: those of objects are pickles.

Source: NEP 1 (the .npy format), versions 1 to 3.
"""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import ast
import re
import warnings
from math import prod
from typing import Any, Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait
from agents.checks.artifacts.pickle.arrays import item_size
from agents.checks.artifacts.pickle.streams import scan_pickle
from agents.checks.artifacts.readers.torn_tails import Span, report_torn_tail
from agents.checks.artifacts.scanning import Scan, Source, SourceRange
from schemas.severity import Severity

MAGIC: Final = b"\x93NUMPY"
MAX_HEADER: Final = 1 << 20
_PIECE: Final = 1 << 20


def scan_npy(scan: Scan, source: Source) -> None:
    """Scan one array: its header's bounds, and the pickle of an array of objects."""
    scan.formats.append("npy")
    head = source.read(0, 12)
    wide = len(head) > 6 and head[6] >= 2
    start = 12 if wide else 10
    length = int.from_bytes(head[8:12] if wide else head[8:10], "little")
    if len(head) < start or length > MAX_HEADER or start + length > source.size:
        scan.mark_corrupt("the array's header is cut off")
        _try(scan, source, start)
        return
    text = source.read(start, length).decode("latin-1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the input, not in our code
            header = ast.literal_eval(text.strip())
        descr, shape = header["descr"], header["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        scan.mark_corrupt("the array's header can't be parsed")
        calls = _has_calls(text)
        scan.report(
            "TW-FILE-MALFORMED",
            "the array's header is code" if calls else "the array's header can't be parsed",
            severity=Severity.CRITICAL if calls else None,
            offset=start,
        )
        _try(scan, source, start + length)
        return
    body = start + length
    if text.endswith("\r\n"):
        scan.mark_corrupt("the line endings in the array were converted")
    if _has_objects(descr):
        rest = SourceRange(source, body, source.size - body)
        if not scan_pickle(scan, rest, expected=True):
            scan.mark_corrupt("an array of objects without a pickle")
        return
    width = item_size(descr) if isinstance(descr, str) else None
    if width is not None and isinstance(shape, tuple):
        if not all(isinstance(side, int) and side >= 0 for side in shape):
            scan.mark_corrupt("the array's shape is invalid")
            return
        needed = prod(shape) * width
        if body + needed > source.size:
            scan.mark_corrupt(f"the array needs {needed} bytes, {source.size - body} are there")
        elif body + needed < source.size:
            _judge_rest(scan, source, body + needed)
        else:
            row = (
                width * shape[0 if header.get("fortran_order") else -1] if len(shape) > 1 else width
            )
            report_torn_tail(
                scan,
                source,
                [Span(body, source.size, max(width, 1), max(row, width, 1), "the array")],
                source.size,
            )
    elif not isinstance(descr, str | list):
        scan.mark_corrupt("the array's type is invalid")
    _try(scan, source, body)


def _judge_rest(scan: Scan, source: Source, end: int) -> None:
    """Scan what follows an array: another one, as `numpy.save` appends, or damage."""
    rest = SourceRange(source, end, source.size - end)
    if rest.read(0, len(MAGIC)) != MAGIC:
        scan.mark_corrupt(f"{rest.size} bytes follow the array")
        _try(scan, source, end)
    elif rest.size == end and _same(source, rest):
        scan.mark_corrupt("the array is written twice")
    else:
        scan.descend("next", rest)


def _same(left: Source, right: Source) -> bool:
    pieces = range(0, right.size, _PIECE)
    return all(
        left.read(at, min(_PIECE, right.size - at)) == right.read(at, _PIECE) for at in pieces
    )


def _has_calls(text: str) -> bool:
    """Return whether a header is an expression with effects; old readers evaluate it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return any(isinstance(node, ast.Call) for node in ast.walk(tree))


def _try(scan: Scan, source: Source, offset: int) -> None:
    """Scan for a pickle where none should be."""
    if offset < source.size:
        scan_pickle(scan, SourceRange(source, offset, source.size - offset), expected=False)


def _has_objects(descr: Any) -> bool:  # noqa: ANN401 -- what a hostile header says
    if isinstance(descr, str):
        return "O" in descr
    if isinstance(descr, list | tuple):
        return any(_has_objects(part) for part in descr)
    return False


FORMAT: Final = Format(
    name="npy",
    suffixes=(
        Suffix(
            ".npy",
            Trait.WEIGHTS | Trait.NONEMPTY | Trait.MAGIC | Trait.BINARY,
            promises=("npy",),
        ),
    ),
    magic=re.compile(re.escape(MAGIC)),
    numeric=True,
    programless=True,
    rules=("TW-FILE-MALFORMED",),
)

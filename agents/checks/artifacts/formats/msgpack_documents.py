"""Walks MessagePack without building it: Flax checkpoints, their extension types and bounds."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait, endings
from agents.checks.artifacts.readers.embedded import FILE_HEADS, report_text
from agents.checks.artifacts.readers.window import Cursor, Window
from agents.checks.artifacts.scanning import (
    BudgetExceededError,
    CorruptFileError,
    Scan,
    Source,
)
from schemas.severity import Severity

MAX_DEPTH: Final = 512
FLAX_TYPES: Final = frozenset((1, 2, 3))
"""flax.serialization: an array, a complex number, a NumPy scalar."""
TIMESTAMP: Final = -1
MAX_TEXT: Final = 16 << 20
ABSURD: Final = 1 << 31
_FIXED: Final = {
    0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xC0: 0, 0xC2: 0, 0xC3: 0,
}  # fmt: skip
_SIZED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENSIONS: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_COUNTED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


SUFFIXES: Final = (
    Suffix(
        ".msgpack",
        Trait.NAMED | Trait.WEIGHTS | Trait.SIZED | Trait.NONEMPTY | Trait.BINARY,
        claim="flax",
    ),
    Suffix(".flax", Trait.NAMED),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


_SPACY: Final = re.compile(r"(^|[/!])(key2row|lookups(_extra)?\.bin)$")
"""Tables in the folders of spaCy's pipelines, without a suffix of their own."""
_STORAGE: Final = re.compile(r"(^|[/!])data/\d+$")
"""The numbers of a tensor in PyTorch's archives: their first bytes may be any."""
_MAPS: Final = frozenset(bytes([first]) for first in (*range(0x81, 0x90), 0xDE, 0xDF))


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is MessagePack: by its name, or a map whose first key is text."""
    lower = name.lower()
    if lower.endswith(_NAMED):
        return not head.startswith((b"PK\x03\x04", b"version https://git-lfs", b"\x80\x04\x95"))
    if _SPACY.search(lower) and (head == b"\x80" or head[:1] in _MAPS):
        return True  # of a single byte if a pipeline has no vectors
    if len(head) < 6 or source.size < 6 or _STORAGE.search(lower):
        return False
    key = head[3] if head[0] == 0xDE else head[1]
    first = 0x81 <= head[0] <= 0x8F or head[0] == 0xDE
    text = head[4:] if head[0] == 0xDE else head[2:]
    length = key & 0x1F
    return (
        first
        and 0xA1 <= key <= 0xBF
        and text[:length].isascii()
        and text[:length].decode("ascii", "replace").isprintable()
        and len(text) > length
        and (head[0] > 0x85 or length > 2 or text[length] >= 0x80)
        and not head.startswith((b"\x80", b"\x81\xa1\xa1"))
    )


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report extension types that Flax does not have, and lengths that overflow.

    Raises:
        CorruptFileError: not MessagePack.
        BudgetExceededError: nested too deeply.
    """
    lower = name.lower()
    named = lower.endswith(_NAMED) or _SPACY.search(lower)
    cursor = Cursor(Window(source))
    # Numbers may begin as a map does: what is only taken for one is no proof of an attack.
    _Walker(scan, cursor, None if named else Severity.MEDIUM).walk(cursor.end)
    if cursor.left:
        tail = _Held(cursor.window, cursor.offset, cursor.left)
        scan.report(
            "TW-MODEL-MSGPACK-TRAILING",
            f"{tail.size} bytes follow the last value",
            offset=cursor.offset,
            # What follows is judged by itself.
            severity=None if named else Severity.LOW,
        )
        scan.descend("trailing", tail)


class _Held:
    """Bytes of a value as a source."""

    def __init__(self, window: Window, offset: int, size: int) -> None:
        self._window = window
        self._offset = offset
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        length = min(length, self.size - offset)
        return self._window.read(self._offset + offset, length) if length > 0 else b""


class _Walker:
    def __init__(self, scan: Scan, cursor: Cursor, severity: Severity | None) -> None:
        self._scan = scan
        self._cursor = cursor
        self._severity = severity

    def walk(self, end: int, depth: int = 0) -> None:
        """Skip one value and all nested ones, without recursion."""
        left = [1]
        cursor = self._cursor
        while left:
            left[-1] -= 1
            if left[-1] < 0:
                left.pop()
                continue
            self._scan.budget.step(1)
            count = self._value(end, depth)
            if count:
                if len(left) + depth > MAX_DEPTH:
                    self._scan.report(
                        "TW-MODEL-MSGPACK-BOUNDS",
                        "values are nested too deep",
                        offset=cursor.offset,
                        severity=self._severity,
                    )
                    raise BudgetExceededError(f"values are nested deeper than {MAX_DEPTH}")
                left.append(count)

    def _value(self, end: int, depth: int) -> int:
        """Skip one value; return how many it contains."""
        cursor = self._cursor
        start = cursor.offset
        if start >= end:
            raise CorruptFileError("the file ends before its last value")
        tag = cursor.unsigned(1)
        if tag <= 0x7F or tag >= 0xE0:
            return 0
        if tag <= 0x8F:
            return 2 * (tag & 0x0F)
        if tag <= 0x9F:
            return tag & 0x0F
        if tag <= 0xBF:
            self._bytes(tag & 0x1F, start, text=True)
            return 0
        if tag in _FIXED:
            cursor.skip(_FIXED[tag])
            return 0
        if tag in _SIZED:
            self._bytes(self._big(_SIZED[tag]), start, text=tag >= 0xD9)
            return 0
        if tag in _COUNTED:
            width, per = _COUNTED[tag]
            count = self._big(width)
            if count * per > end - cursor.offset:
                self._bounds(count, start)
                raise CorruptFileError(f"{count} values declared at offset {start}")
            return count * per
        if tag in _EXTENSIONS or tag in _FIXED_EXTENSIONS:
            length = _FIXED_EXTENSIONS.get(tag) or self._big(_EXTENSIONS[tag])
            self._extension(length, start, depth)
            return 0
        raise CorruptFileError(f"the byte {tag:#x} at offset {start} begins no value")

    def _big(self, width: int) -> int:
        return int.from_bytes(self._cursor.take(width), "big")

    def _bounds(self, length: int, start: int) -> None:
        if length >= ABSURD:
            self._scan.report(
                "TW-MODEL-MSGPACK-BOUNDS",
                f"{length} values or bytes declared",
                offset=start,
                severity=self._severity,
            )

    def _bytes(self, length: int, start: int, *, text: bool) -> None:
        if length > self._cursor.left:
            self._bounds(length, start)
        kept = min(length, MAX_TEXT if text else 64)
        if text and length > MAX_TEXT:
            self._scan.mark_incomplete(f"a text of {length} bytes, of which {MAX_TEXT} are read")
        raw = self._cursor.take(min(kept, length))
        if text:
            if length > 8:
                report_text(self._scan, f"text@{start}", raw.decode("utf-8", "replace"))
        elif raw.startswith(FILE_HEADS) and length > 16:
            at = self._cursor.offset - len(raw)
            self._scan.descend(f"bytes@{start}", _Held(self._cursor.window, at, length))
        self._cursor.skip(max(length - kept, 0))

    def _extension(self, length: int, start: int, depth: int) -> None:
        kind = self._cursor.signed(1)
        if length > self._cursor.left:
            self._bounds(length, start)
            raise CorruptFileError(f"{length} bytes declared at offset {start}")
        end = self._cursor.offset + length
        if kind not in FLAX_TYPES and kind != TIMESTAMP:
            held = _Held(self._cursor.window, self._cursor.offset, length)
            self._scan.report(
                "TW-MODEL-MSGPACK-EXTENSION",
                f"the extension type {kind} is not Flax's",
                offset=start,
                severity=self._severity,
                name=str(kind),
            )
            if held.read(0, 64).startswith(FILE_HEADS):
                self._scan.descend(f"extension@{start}", held)
        elif kind in FLAX_TYPES and depth == 0:
            # shape, type, bytes: a tuple of its own, in MessagePack again
            head = self._cursor.window.read(self._cursor.offset, min(length, 64))
            if not (head and 0x90 <= head[0] <= 0x9F):
                self._scan.mark_corrupt(f"the array at offset {start} is not an array")
            elif b"\xa1O" in head or b"|O" in head or b"object" in head:
                self._scan.report(
                    "TW-MODEL-MSGPACK-OBJECT",
                    "an array of objects, which are pickled",
                    offset=start,
                )
        self._cursor.skip(end - self._cursor.offset)


FORMAT: Final = Format(
    name="msgpack",
    suffixes=SUFFIXES,
    firsts=bytes((*range(0x80, 0x90), 0xDE, 0xDF)),
    matches=matches,
    parse=parse,
    numeric=True,
    rules=(
        "TW-MODEL-MSGPACK-BOUNDS",
        "TW-MODEL-MSGPACK-EXTENSION",
        "TW-MODEL-MSGPACK-OBJECT",
        "TW-MODEL-MSGPACK-TRAILING",
    ),
)

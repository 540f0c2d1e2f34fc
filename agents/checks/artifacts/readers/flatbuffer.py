"""Reads the tables of a flatbuffer, each offset held against the end of the file."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.readers.window import Window
from agents.checks.artifacts.scanning import CorruptFileError, Scan

MAX_VECTOR: Final = 1_000_000
"""Tables of one vector."""
MAX_TEXT: Final = 1 << 20
"""Bytes of one text that are read."""


class Flatbuffer:
    """Tables by where they lie, and their fields by number, as the schema counts them.

    Each method raises CorruptFileError if an offset leads out of the file.
    """

    def __init__(self, scan: Scan, window: Window) -> None:
        """Read nothing yet."""
        self._scan = scan
        self._window = window

    def root(self) -> int:
        """Return where the root table lies."""
        return self._window.number(0, 4)

    def _field(self, table: int, field: int) -> int:
        """Return the position of a field, 0 if it is absent."""
        self._scan.budget.step(1)
        vtable = table - self._window.number(table, 4, signed=True)
        size = self._window.number(vtable, 2)
        if size < 4 or size % 2:
            raise CorruptFileError(f"a table's layout at {vtable} is too short")
        if 4 + 2 * field + 2 > size:
            return 0
        offset = self._window.number(vtable + 4 + 2 * field, 2)
        return table + offset if offset else 0

    def scalar(self, table: int, field: int, width: int) -> int:
        """Return a number of `width` bytes, 0 if it is absent."""
        at = self._field(table, field)
        return self._window.number(at, width) if at else 0

    def vector(self, table: int, field: int, width: int) -> tuple[int, int]:
        """Return the position of a vector's first element, and their number."""
        at = self._field(table, field)
        if not at:
            return 0, 0
        begin = at + self._window.number(at, 4)
        count = self._window.number(begin, 4)
        if begin + 4 + count * width > self._window.size:
            raise CorruptFileError(f"a vector of {count} at {begin} reaches beyond the file")
        return begin + 4, count

    def table(self, table: int, field: int) -> int:
        """Return where a table that a field refers to lies, 0 if it is absent."""
        at = self._field(table, field)
        return at + self._window.number(at, 4) if at else 0

    def tables(self, table: int, field: int) -> list[int]:
        """Return where the tables of a vector lie."""
        begin, count = self.vector(table, field, 4)
        if count > MAX_VECTOR:
            raise CorruptFileError(f"a vector of {count} tables")
        offsets = []
        for index in range(count):
            self._scan.budget.step(1)
            at = begin + 4 * index
            offsets.append(at + self._window.number(at, 4))
        return offsets

    def text(self, table: int, field: int) -> str:
        """Return a text, which is empty if it is absent."""
        begin, count = self.vector(table, field, 1)
        if count > MAX_TEXT:
            self._scan.mark_incomplete(f"a text of {count} bytes, of which {MAX_TEXT} are read")
        return self._window.read(begin, min(count, MAX_TEXT)).decode("utf-8", "replace")

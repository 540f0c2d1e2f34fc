"""Rows in memory, for tests: sorted keys, and the same limits as the real ones."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

MAX_ROW_BYTES = 64 * 1024


class MemoryRows:
    """Implements `agents.ports.Rows`; counts what is read and written."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}
        self._keys: list[str] = []
        self.reads = 0
        self.writes = 0
        self.largest = 0

    def get(self, key: str) -> bytes | None:
        self.reads += 1
        return self._rows.get(key)

    def put(self, key: str, value: bytes) -> None:
        assert len(value) <= MAX_ROW_BYTES, f"row {key!r} has {len(value)} bytes"
        self.writes += 1
        self.largest = max(self.largest, len(value))
        if key not in self._rows:
            insort(self._keys, key)
        self._rows[key] = value

    def delete(self, key: str) -> None:
        self.writes += 1
        if self._rows.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def scan(self, prefix: str, *, limit: int, after: str = "") -> Iterator[tuple[str, bytes]]:
        start = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        found = []
        for key in self._keys[start : start + limit]:
            if not key.startswith(prefix):
                break
            found.append((key, self._rows[key]))
        yield from found

    def content(self) -> dict[str, bytes]:
        return dict(self._rows)

    def copy(self) -> MemoryRows:
        other = MemoryRows()
        other._rows, other._keys = dict(self._rows), list(self._keys)
        return other

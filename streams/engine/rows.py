"""The rows that an agent sees: those on disk, below the changes of chunks not yet durable."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Final

from schemas.errors import TidewatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streams.engine.tables import PartitionStore

MAX_ROW_BYTES: Final = 64 * 1024
INSERTED: Final = 64
"""Up to this many new keys are inserted one by one; more are sorted together."""


class RowTooLargeError(TidewatchError):
    """A row of state over the limit; the agent must bound the set it holds."""


class PartitionRows:
    """The rows of one partition. Implements `agents.ports.Rows`."""

    def __init__(self, store: PartitionStore) -> None:
        """Start without changes to `store`."""
        self._store = store
        self._pending: dict[bytes, tuple[int, bytes | None]] = {}
        self._changed: dict[bytes, bytes | None] = {}
        self._sorted: list[bytes] = []
        """The keys of the layer, in order, but for those in `_unsorted`."""
        self._unsorted: list[bytes] = []
        self._batch = 0

    def get(self, key: str) -> bytes | None:
        """Return the row, or None."""
        raw = key.encode()
        if raw in self._changed:
            return self._changed[raw]
        if raw in self._pending:
            return self._pending[raw][1]
        return self._store.get(raw)

    def put(self, key: str, value: bytes) -> None:
        """Set the row.

        Raises:
            RowTooLargeError: It is over 64 KiB.
        """
        if len(value) + len(key) > MAX_ROW_BYTES:
            raise RowTooLargeError(
                f"a row of {len(value)} bytes is over the limit of {MAX_ROW_BYTES}",
                where=key[:200],
                remedy="bound the set it holds",
            )
        self._change(key.encode(), value)

    def delete(self, key: str) -> None:
        """Remove the row."""
        self._change(key.encode(), None)

    def _change(self, key: bytes, value: bytes | None) -> None:
        if key not in self._changed and key not in self._pending:
            self._unsorted.append(key)
        self._changed[key] = value

    def scan(self, prefix: str, *, limit: int, after: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield at most `limit` rows whose key starts with `prefix`, in key order.

        Args:
            prefix: The prefix.
            limit: The most rows.
            after: Only those whose key is greater.
        """
        raw, behind = prefix.encode(), after.encode()
        layer = self._layer(raw, behind)
        fresh = [key for key, value in reversed(layer.items()) if value is not None]
        given = 0
        for key, value in self._store.scan(raw, behind):
            while fresh and fresh[-1] < key and given < limit:
                new = fresh.pop()
                yield new.decode(), layer[new] or b""
                given += 1
            if given >= limit:
                return
            if key in layer:
                continue
            yield key.decode(), value
            given += 1
            if given >= limit:
                return
        while fresh and given < limit:
            new = fresh.pop()
            yield new.decode(), layer[new] or b""
            given += 1

    def _layer(self, prefix: bytes, after: bytes) -> dict[bytes, bytes | None]:
        """Return the changes to rows with a prefix, in key order.

        A chunk scans once for each of its findings: what a scan costs must not grow with the
        chunks before it.
        """
        self._sort()
        keys, layer = self._sorted, {}
        for index in range(max(bisect_left(keys, prefix), bisect_right(keys, after)), len(keys)):
            key = keys[index]
            if not key.startswith(prefix):
                break
            layer[key] = self._changed[key] if key in self._changed else self._pending[key][1]
        return layer

    def _sort(self) -> None:
        if len(self._unsorted) > INSERTED:
            self._sorted += self._unsorted
            self._sorted.sort()
        else:
            for key in self._unsorted:
                insort(self._sorted, key)
        self._unsorted.clear()

    def drop_changes(self) -> None:
        """Discard the changes since changes were last taken."""
        self._changed = {}
        self._unsorted = []
        self._sorted = sorted(self._pending)

    def take_changes(self) -> tuple[int, dict[bytes, bytes | None]]:
        """Return the changes of the batch just run, and its number; later batches see them."""
        changes, self._changed = self._changed, {}
        self._batch += 1
        for key, value in changes.items():
            self._pending[key] = (self._batch, value)
        return self._batch, changes

    def settle(self, upto: int, changes: Mapping[bytes, bytes | None], offset: int) -> None:
        """Write `changes`, delivered to the changelog up to `offset`, of batches up to `upto`."""
        self._store.write(changes.items(), offset)
        gone: set[bytes] = set()
        for key in changes:
            pending = self._pending.get(key)
            if pending is not None and pending[0] <= upto:
                del self._pending[key]
                if key not in self._changed:
                    gone.add(key)
        self._sorted = [key for key in self._sorted if key not in gone]
        self._unsorted = [key for key in self._unsorted if key not in gone]

    def now(self, key: bytes) -> bytes | None:
        """Return the newest value of a row, durable or not."""
        if key in self._pending:
            return self._pending[key][1]
        return self._store.get(key)

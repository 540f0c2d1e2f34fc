"""Makes the rows of a partition durable: on the changelog first, then in the local store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from streams import metrics
from streams.engine.delivery import Outgoing

if TYPE_CHECKING:
    from streams.engine.binding import Binding
    from streams.engine.engine import Engine
    from streams.engine.tables import PartitionRows, PartitionStore

log = structlog.get_logger()


class ChangelogWriter:
    """Writes the changed rows of one partition of a binding."""

    def __init__(
        self,
        engine: Engine,
        binding: Binding,
        partition: int,
        store: PartitionStore,
        rows: PartitionRows,
    ) -> None:
        """Write changes of `rows` to the changelog of `binding`, and to `store`."""
        self._engine = engine
        self._binding = binding
        self._partition = partition
        self._store = store
        self._rows = rows

    async def write(self, batch: int, changes: dict[bytes, bytes | None]) -> None:
        """Deliver changed rows to the changelog, then write them to the local store.

        Args:
            batch: The last batch that changed them.
            changes: Rows by key; None deletes one.
        """
        offsets = await self._send_rows(changes)
        offsets = await self._repair(offsets)
        known = [offset for offset in offsets if offset >= 0]
        position = self._store.position()
        last = max(known, default=position[0] if position else -1)
        self._rows.settle(batch, changes, last)

    async def _send_rows(self, changes: dict[bytes, bytes | None]) -> list[int]:
        engine = self._engine
        topic = engine.changelog(self._binding)
        batch_delivery = await engine.shipper.ship(
            Outgoing(topic, key, value, partition=self._partition) for key, value in changes.items()
        )
        await batch_delivery.delivered()
        return batch_delivery.offsets()

    async def _repair(self, offsets: list[int]) -> list[int]:
        """Undo late writes of a worker that lost this partition to its changelog.

        This runner is the only writer, so its offsets are consecutive. A gap is a late write of a
        predecessor that was cut off without knowing it: its rows would win in the next
        recovery. The current rows of those keys are written once more.
        """
        store, rows = self._store, self._rows
        if not offsets:
            return offsets
        if min(offsets) < 0:
            store.next_offset = None
            return offsets
        expected = store.next_offset
        store.next_offset = max(offsets) + 1
        if expected is None:
            return offsets
        gap = sorted(set(range(expected, max(offsets))) - set(offsets))
        if not gap:
            return offsets
        keys = await self._engine.changelog_keys(self._binding, self._partition, gap)
        log.warning(
            "foreign-changelog-writes",
            app=self._engine.name,
            partition=self._partition,
            offsets=gap[:10],
            rows=len(keys),
        )
        metrics.STATE_REPAIRS.labels(self._engine.name).inc(len(keys))
        again = await self._send_rows({key: rows.now(key) for key in keys})
        return [*offsets, *await self._repair(again)]

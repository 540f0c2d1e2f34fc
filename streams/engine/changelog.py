"""Makes the rows of a partition durable: on the changelog first, then in the local store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.logs import Logger
from streams import metrics
from streams.engine.delivery import Outgoing
from streams.kafka.client import client_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.engine.binding import Binding
    from streams.engine.context import RunnerContext
    from streams.engine.rows import PartitionRows
    from streams.engine.tables import PartitionStore

log = Logger()


class ChangelogWriter:
    """Writes the changed rows of one partition of a binding."""

    def __init__(
        self,
        context: RunnerContext,
        binding: Binding,
        partition: int,
        store: PartitionStore,
        rows: PartitionRows,
    ) -> None:
        """Write changes of `rows` to the changelog of `binding`, and to `store`."""
        self._context = context
        self._topic = context.changelog(binding)
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
        batch_delivery = await self._context.shipper.ship(
            Outgoing(self._topic, key, value, partition=self._partition)
            for key, value in changes.items()
        )
        await batch_delivery.delivered()
        return batch_delivery.offsets()

    async def _repair(self, offsets: list[int]) -> list[int]:
        """Undo late changelog writes of a worker that lost this partition.

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
        keys = await self._keys_at(gap)
        log.warning(
            "foreign-changelog-writes",
            app=self._context.name,
            partition=self._partition,
            offsets=gap[:10],
            rows=len(keys),
        )
        metrics.STATE_REPAIRS.labels(self._context.name).inc(len(keys))
        again = await self._send_rows({key: rows.now(key) for key in keys})
        return [*offsets, *await self._repair(again)]

    async def _keys_at(self, offsets: Sequence[int]) -> set[bytes]:
        """Return the keys of the changelog records at `offsets`."""
        client = AIOKafkaConsumer(
            **client_options(self._context.settings), enable_auto_commit=False
        )
        await client.start()
        keys: set[bytes] = set()
        wanted = set(offsets)
        try:
            tp = TopicPartition(self._topic, self._partition)
            client.assign([tp])
            client.seek(tp, min(offsets))
            while await client.position(tp) <= max(offsets):
                fetched = await client.getmany(timeout_ms=500)
                for record in fetched.get(tp, ()):
                    if record.offset in wanted and record.key is not None:
                        keys.add(record.key)
        finally:
            await client.stop()
        return keys

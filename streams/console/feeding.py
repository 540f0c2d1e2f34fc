"""Feeds the index from the topics, from its stored offsets on, and measures the lag."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.logs import Logger
from schemas.channels import Channel
from schemas.errors import UnreadableRecordError
from streams.console.index import Index, Position
from streams.console.row_changes import READ, UnreadableError, changes
from streams.console.rows import Change
from streams.kafka.awaiting import until_answered
from streams.kafka.client import client_options
from streams.kafka.lag import Progress, application_progress
from streams.kafka.records import record_of
from streams.kafka.signed_records import Admit, admission
from streams.kafka.topic_metadata import cluster_id, partition_counts
from streams.kafka.topics import (
    TOMBSTONE_DAYS,
    ensure_topics,
    input_topics,
    open_admin,
)

if TYPE_CHECKING:
    from streams.settings import Settings

log = Logger()

BATCH: Final = 500
"""The most records of one change of the index."""
POLL_MS: Final = 500
MEASURE_SECONDS: Final = 5.0
TOUCH_SECONDS: Final = 60.0
STALE_MS: Final = (TOMBSTONE_DAYS - 1) * 24 * 3600 * 1000
"""An index that was not fed for this long may have missed deletions."""


class Feeder:
    """Reads the topics into an index, until it is stopped."""

    def __init__(self, settings: Settings, index: Index) -> None:
        """Prepare; nothing is read before `run`.

        Args:
            settings: The broker and the topics.
            index: The index to feed.
        """
        self._settings = settings
        self._index = index
        self.whole = False
        """Whether all that was on the topics at the start has been read."""
        self.behind = 0
        """The number of records on the topics that are not in the index yet."""
        self.reachable = True
        """Whether the brokers answered the latest request."""
        self.progress: dict[str, Progress] = {}
        """The lag of each application."""
        self._touched = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Feed the index until `stop` is set; wait for unavailable brokers.

        Raises:
            BrokerUnreachableError: None answered for long, or one refuses this client.
            ConsoleIndexError: The index can't be written.
        """
        await until_answered(lambda: self._feed(stop), self._settings, stop)

    async def _feed(self, stop: asyncio.Event) -> None:
        settings = self._settings
        await ensure_topics(settings, channels=READ)
        topics: dict[str, Channel] = {}
        for channel in READ:
            topics.update(dict.fromkeys(input_topics(settings, channel), channel))
        partitions, origin = await _describe(settings, topics)
        client = aiokafka.AIOKafkaConsumer(
            **client_options(settings),
            enable_auto_commit=False,
            max_partition_fetch_bytes=settings.max_event_bytes * 6,
        )
        await client.start()
        try:
            client.assign(partitions)
            await self._seek(client, partitions, origin)
            self.reachable = True
            admit = {channel: admission(settings, channel) for channel in READ}
            await self._follow(client, topics, admit, stop)
        finally:
            # a client's task that is cancelled before it ran lets the cancellation out of stop()
            await asyncio.sleep(0)
            await client.stop()

    async def _seek(
        self,
        client: aiokafka.AIOKafkaConsumer,
        partitions: Sequence[aiokafka.TopicPartition],
        origin: str,
    ) -> None:
        """Seek to the offsets of the index; to the beginning if they are no longer available."""
        index = self._index
        known = await asyncio.to_thread(index.begin, origin)
        starts = await client.beginning_offsets(partitions)
        ends = await client.end_offsets(partitions)
        beyond = [tp for tp in partitions if known.get((tp.topic, tp.partition), 0) > ends[tp]]
        fed = await asyncio.to_thread(index.fed)
        stale = fed is not None and _now_ms() - fed > STALE_MS
        if beyond or stale:
            reason = "a topic was created again" if beyond else "deletions may have been missed"
            await asyncio.to_thread(index.rebuild, reason)
            known = {}
        for tp in partitions:
            client.seek(tp, max(known.get((tp.topic, tp.partition), 0), starts[tp]))

    async def _follow(
        self,
        client: aiokafka.AIOKafkaConsumer,
        topics: Mapping[str, Channel],
        admit: Mapping[Channel, Admit | None],
        stop: asyncio.Event,
    ) -> None:
        partitions = client.assignment()
        ends = await client.end_offsets(partitions)
        while not stop.is_set():
            fetched = await client.getmany(timeout_ms=POLL_MS, max_records=BATCH)
            if fetched:
                await asyncio.to_thread(self._take, fetched, topics, admit)
            now = time.monotonic()
            if now - self._touched > TOUCH_SECONDS:
                self._touched = now
                await asyncio.to_thread(self._index.touch, _now_ms())
            positions = {tp: await client.position(tp) for tp in partitions}
            self.behind = sum(
                max((client.highwater(tp) or ends[tp]) - at, 0) for tp, at in positions.items()
            )
            if not self.whole and all(at >= ends[tp] for tp, at in positions.items()):
                self.whole = True
                log.info("console-index-whole")

    def _take(
        self,
        fetched: Mapping[aiokafka.TopicPartition, Sequence[Any]],
        topics: Mapping[str, Channel],
        admit: Mapping[Channel, Admit | None],
    ) -> None:
        """Put records into the index, in one change."""
        bound = {
            topic: binding.tenant
            for topic, binding in self._settings.bound_topics.items()
            if binding.tenant is not None
        }
        made: list[Change] = []
        offsets: dict[Position, int] = {}
        unreadable = 0
        for tp, records in fetched.items():
            channel = topics[tp.topic]
            check = admit[channel]
            for raw in records:
                record = record_of(raw)
                try:
                    if check is not None:
                        check(record)
                    made.extend(changes(channel, record, bound))
                except (UnreadableError, UnreadableRecordError):
                    unreadable += 1
            offsets[tp.topic, tp.partition] = records[-1].offset + 1
        self._index.apply(made, offsets, unreadable)

    async def measure(self) -> None:
        """Measure the lag of the applications every few seconds, until cancelled."""
        settings = self._settings
        while True:
            admin = AIOKafkaAdminClient(**client_options(settings))
            reader = aiokafka.AIOKafkaConsumer(**client_options(settings))
            try:
                await admin.start()
                await reader.start()
                while True:
                    self.progress = await application_progress(settings, admin, reader)
                    self.reachable = True
                    await asyncio.sleep(MEASURE_SECONDS)
            except (KafkaError, OSError):
                # a broker starts, restarts or is unavailable: the pages show it
                self.reachable = False
            finally:
                await asyncio.sleep(0)
                await reader.stop()
                await admin.close()
            await asyncio.sleep(MEASURE_SECONDS)


async def _describe(
    settings: Settings, topics: Mapping[str, Channel]
) -> tuple[list[aiokafka.TopicPartition], str]:
    """Return the partitions of the topics, and the identity of this cluster."""
    admin = await open_admin(settings)
    try:
        counts = await partition_counts(admin, topics)
        cluster = await cluster_id(admin)
    finally:
        await admin.close()
    partitions = [
        aiokafka.TopicPartition(topic, number)
        for topic in sorted(counts)
        for number in range(counts[topic])
    ]
    return partitions, f"{cluster}|{settings.topic_prefix}"


def _now_ms() -> int:
    return round(time.time() * 1000)

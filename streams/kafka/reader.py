"""Reads a topic from the command line, without a consumer group: no offsets are committed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiokafka

from schemas.channels import Channel
from schemas.errors import TidewatchError
from streams.kafka.client import client_options
from streams.kafka.topic_metadata import partition_counts
from streams.kafka.topics import open_admin, topic_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from streams.settings import Settings

POLL_MS = 200


def full_name(settings: Settings, topic: str) -> str:
    """Return the topic a user named: a channel by its short name, or any topic in full."""
    try:
        return topic_name(settings, Channel(topic))
    except ValueError:
        return topic


@asynccontextmanager
async def _open_reader(settings: Settings) -> AsyncIterator[aiokafka.AIOKafkaConsumer]:
    """Yield a connected client, and close it."""
    client = aiokafka.AIOKafkaConsumer(
        **client_options(settings),
        enable_auto_commit=False,
        max_partition_fetch_bytes=settings.max_event_bytes * 6,
    )
    await client.start()
    try:
        yield client
    finally:
        # a client's task that is cancelled before it ever ran lets the cancellation out of stop()
        await asyncio.sleep(0)
        await client.stop()


class TopicReader:
    """Reads all partitions of one topic, from a position on."""

    def __init__(
        self, client: aiokafka.AIOKafkaConsumer, partitions: Sequence[aiokafka.TopicPartition]
    ) -> None:
        """Read by a client that has a position in each partition."""
        self._client = client
        self._partitions = partitions

    async def to_end(self) -> AsyncGenerator[Any, None]:
        """Yield the records up to the last that exists now."""
        ends = await self._client.end_offsets(self._partitions)
        while [tp for tp in self._partitions if await self._client.position(tp) < ends[tp]]:
            for record in await self.polled():
                yield record

    async def polled(self) -> list[Any]:
        """Return the next records, by time, so that partitions read as one stream."""
        fetched = await self._client.getmany(timeout_ms=POLL_MS)
        return sorted(
            (record for records in fetched.values() for record in records),
            key=lambda record: (record.timestamp, record.partition, record.offset),
        )


@asynccontextmanager
async def open_topic(
    settings: Settings, topic: str, *, from_start: bool
) -> AsyncIterator[TopicReader]:
    """Yield a reader of a topic, and close it.

    Args:
        settings: Which broker.
        topic: The topic's full name.
        from_start: Begin with the oldest record; else with the next one to be written.

    Raises:
        TidewatchError: There is no such topic.
        BrokerUnreachableError: No broker answers.
    """
    admin = await open_admin(settings)
    try:
        counts = await partition_counts(admin, [topic])
    finally:
        await admin.close()
    if topic not in counts:
        raise TidewatchError(
            f"there is no topic {topic}",
            where=str(settings.kafka),
            remedy="see: tidewatch topics list",
        )
    partitions = [aiokafka.TopicPartition(topic, number) for number in range(counts[topic])]
    async with _open_reader(settings) as client:
        client.assign(partitions)
        if from_start:
            await client.seek_to_beginning(*partitions)
        else:
            await client.seek_to_end(*partitions)
        yield TopicReader(client, partitions)


async def read_topic(
    settings: Settings,
    topic: str,
    *,
    from_start: bool,
    follow: bool,
    at_end: Callable[[], None] = lambda: None,
) -> AsyncGenerator[Any, None]:
    """Yield the raw records of all partitions of `topic`.

    Args:
        settings: Which broker.
        topic: The topic's full name.
        from_start: Begin with the oldest record; else with the next one to be written.
        follow: Continue indefinitely; else end with the last record that existed at the start.
        at_end: Called once all that existed at the start has been yielded.

    Raises:
        TidewatchError: There is no such topic.
        BrokerUnreachableError: No broker answers.
    """
    async with open_topic(settings, topic, from_start=from_start) as reader:
        async with aclosing(reader.to_end()) as records:
            async for record in records:
                yield record
        at_end()
        while follow:
            for record in await reader.polled():
                yield record

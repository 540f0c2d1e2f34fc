"""Reads what a topic of two partitions holds."""

from __future__ import annotations

import asyncio
from typing import Any

import aiokafka

from schemas.channels import Channel
from streams.kafka.topics import topic_name
from streams.settings import Settings


def topic_records(settings: Settings, channel: Channel, isolation: str) -> list[Any]:
    """Return the records of a channel's topic, up to its end.

    Args:
        settings: The broker, and the prefix of its topics.
        channel: The channel.
        isolation: `read_committed`, or `read_uncommitted`.
    """

    async def fetch() -> list[Any]:
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=settings.kafka,
            group_id=None,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level=isolation,
        )
        await consumer.start()
        name = topic_name(settings, channel)
        partitions = [aiokafka.TopicPartition(name, number) for number in range(2)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[Any] = []
        while any(
            [await consumer.position(partition) < ends[partition] for partition in partitions]
        ):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found.extend(batch)
        await consumer.stop()
        return found

    return asyncio.run(fetch())

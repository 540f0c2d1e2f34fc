"""A reader of a topic continues where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from schemas.channels import Channel
from streams.kafka.compacted import publish_values
from streams.kafka.reader import open_topic
from streams.kafka.topics import topic_name
from streams.settings import load_settings

pytestmark = [pytest.mark.kafka]


def test_each_read_yields_only_the_records_since_the_last(kafka: str, prefix: str) -> None:
    settings = load_settings(kafka=kafka, topic_prefix=f"{prefix}.", partitions=2)

    async def reads() -> Sequence[Sequence[bytes]]:
        await publish_values(settings, Channel.INCIDENTS, [("a", b"1"), ("b", b"2")])
        found = []
        name = topic_name(settings, Channel.INCIDENTS)
        async with open_topic(settings, name, from_start=True) as reader:
            found.append([record.value async for record in reader.to_end()])
            found.append([record.value async for record in reader.to_end()])
            await publish_values(settings, Channel.INCIDENTS, [("c", b"3")])
            found.append([record.value async for record in reader.to_end()])
        return found

    first, second, third = asyncio.run(reads())
    assert sorted(first) == [b"1", b"2"]
    assert second == []
    assert third == [b"3"]

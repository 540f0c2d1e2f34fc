"""One event of the demonstration arrives over HTTP, and is the same event as any other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson

from schemas.channels import Channel
from schemas.cloudevents import read_event
from streams.demo.arrival import through_gateway
from streams.event_records import CHANNEL_OF_TYPE, event_key, written
from streams.kafka.reader import read_topic
from streams.kafka.topics import ensure_topics, topic_name
from streams.settings import load_settings
from tests.schemas.events import PACKAGE_INSTALL


def test_an_event_arrives_through_the_gateway_as_it_was(kafka: str, tmp_path: Path) -> None:
    settings = load_settings(kafka=kafka, topic_prefix="arrival.", partitions=1, state_dir=tmp_path)
    raw = orjson.dumps(PACKAGE_INSTALL)
    record = written(read_event(raw, (), timestamp_ms=2**41, max_bytes=2**20))

    async def play() -> None:
        await ensure_topics(settings, channels=list(Channel))
        arrival = await through_gateway(settings, record, tmp_path / "demo")
        assert arrival.status == 202
        topic = topic_name(settings, CHANNEL_OF_TYPE[record.event.type])
        (found,) = [
            record async for record in read_topic(settings, topic, from_start=True, follow=False)
        ]
        assert found.key == event_key(record.event).encode()
        assert found.value == record.value

    asyncio.run(play())
    assert list((tmp_path / "demo").iterdir()) == [], "the secret is gone"

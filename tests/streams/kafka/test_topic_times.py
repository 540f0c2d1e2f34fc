"""The broker sets the time of records where it decides something, on old topics as well."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.channels import Channel
from streams.cli import main
from streams.kafka.records import record_of
from streams.kafka.topic_times import ensure_broker_time, topics_with_producers_time
from streams.kafka.topics import (
    TOPICS,
    TopicError,
    ensure_topics,
    spread,
    topic_config,
    topic_name,
)
from streams.settings import Settings, load_settings
from tests.waiting import wait_for

pytestmark = [pytest.mark.kafka]
LONG_AGO_MS = 1_600_000_000_000


@pytest.fixture
def settings(kafka: str, prefix: str) -> Settings:
    return load_settings(kafka=kafka, topic_prefix=f"{prefix}.", partitions=1)


async def _with_producers_time(settings: Settings, channel: Channel, **more: str) -> None:
    name = topic_name(settings, channel)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()

    async def known() -> bool:
        return name in await admin.list_topics()

    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=more)])
        assert await spread(known)
    finally:
        await admin.close()


async def _sent_as_long_ago(settings: Settings, channel: Channel) -> Any:
    topic = topic_name(settings, channel)
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
        sent = await producer.send_and_wait(topic, b"{}", timestamp_ms=LONG_AGO_MS)
    reader = aiokafka.AIOKafkaConsumer(bootstrap_servers=settings.kafka)
    await reader.start()
    reader.assign([sent.topic_partition])
    reader.seek(sent.topic_partition, sent.offset)
    try:
        async with asyncio.timeout(30):
            return record_of(await reader.getone())
    finally:
        await reader.stop()


def test_a_producer_cannot_choose_the_time_of_a_decision(settings: Settings) -> None:
    began_ms = int(time.time() * 1000)
    asyncio.run(ensure_topics(settings, channels=[Channel.DECISIONS]))
    record = asyncio.run(_sent_as_long_ago(settings, Channel.DECISIONS))
    assert record.appended
    assert record.timestamp_ms >= began_ms


def test_a_record_with_its_producers_time_is_known_as_such(settings: Settings) -> None:
    asyncio.run(_with_producers_time(settings, Channel.DECISIONS))
    record = asyncio.run(_sent_as_long_ago(settings, Channel.DECISIONS))
    assert not record.appended
    assert record.timestamp_ms == LONG_AGO_MS


def test_an_existing_topic_gets_the_setting_and_keeps_the_rest(settings: Settings) -> None:
    asyncio.run(_with_producers_time(settings, Channel.DECISIONS, **{"retention.ms": "123456789"}))
    name = topic_name(settings, Channel.DECISIONS)
    assert asyncio.run(topics_with_producers_time(settings)) == [name]
    assert asyncio.run(ensure_broker_time(settings)) == [name]
    assert asyncio.run(topics_with_producers_time(settings)) == []
    assert asyncio.run(_retention(settings, name)) == "123456789"
    # the broker shows a setting before its log acts by it
    wait_for(
        lambda: asyncio.run(_sent_as_long_ago(settings, Channel.DECISIONS)).appended,
        "the broker sets the time of records",
    )


def test_a_worker_that_may_not_create_topics_refuses_to_start_on_it(settings: Settings) -> None:
    asyncio.run(_with_producers_time(settings, Channel.DECISIONS))
    strict = settings.model_copy(update={"create_topics": False})
    with pytest.raises(TopicError, match="tidewatch topics create"):
        asyncio.run(ensure_broker_time(strict))


def test_outputs_may_carry_any_time(settings: Settings) -> None:
    asyncio.run(_with_producers_time(settings, Channel.ALERTS))
    assert asyncio.run(topics_with_producers_time(settings)) == []
    assert "message.timestamp.type" not in topic_config(TOPICS[Channel.ALERTS], settings)


async def _retention(settings: Settings, name: str) -> str | None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    finally:
        await admin.close()
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}.get("retention.ms")


def test_doctor_names_a_topic_whose_time_is_its_producers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDEWATCH_KAFKA", str(settings.kafka))
    monkeypatch.setenv("TIDEWATCH_TOPIC_PREFIX", settings.topic_prefix)
    monkeypatch.setenv("TIDEWATCH_GROUP_PREFIX", settings.topic_prefix.rstrip("."))
    monkeypatch.setenv("TIDEWATCH_PARTITIONS", "1")
    asyncio.run(_with_producers_time(settings, Channel.DECISIONS))
    assert main(["doctor"]) == 2
    assert (
        f"producers set the timestamps on {settings.topic_prefix}decisions"
        in capsys.readouterr().out
    )
    assert main(["topics", "create"]) == 0
    assert f"{settings.topic_prefix}decisions: the broker sets" in capsys.readouterr().out
    main(["doctor"])
    assert "producers set the timestamps" not in capsys.readouterr().out

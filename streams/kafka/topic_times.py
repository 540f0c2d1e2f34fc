"""Checks that the broker sets timestamps on the topics where time decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from agents.logs import Logger
from schemas.channels import Channel
from streams.kafka.topic_metadata import partition_counts
from streams.kafka.topics import (
    BROKERS_TIME,
    TIMESTAMP_TYPE,
    TOPICS,
    TopicError,
    input_topics,
    open_admin,
    spread,
    tenant_topic_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.admin import AIOKafkaAdminClient

    from streams.settings import Settings

log = Logger()

_OF_THE_TOPIC: Final = 1
"""The `config_source` of settings of the topic itself; source: KIP-226."""


async def topics_with_producers_time(
    settings: Settings, *, channels: Iterable[Channel] = tuple(Channel), tenants: Iterable[str] = ()
) -> list[str]:
    """Return the existing topics where time decides but producers set it.

    Args:
        settings: Name the topics.
        channels: The channels to check.
        tenants: Tenants whose own topics are checked too.

    Raises:
        BrokerUnreachableError: No broker answers.
        TopicError: The broker does not report it.
    """
    admin = await open_admin(settings)
    try:
        return sorted(await _wrong(admin, _names(settings, channels, tenants)))
    finally:
        await admin.close()


async def ensure_broker_time(
    settings: Settings, *, channels: Iterable[Channel] = tuple(Channel), tenants: Iterable[str] = ()
) -> list[str]:
    """Set LogAppendTime on topics where time decides; return those that were changed.

    Existing records keep their producers' timestamps.

    Args:
        settings: Name the topics, and say whether they may be set up.
        channels: The channels to check.
        tenants: Tenants whose own topics are checked too.

    Raises:
        BrokerUnreachableError: No broker answers.
        TopicError: A topic takes its producers' time, and can't or may not be changed.
    """
    admin = await open_admin(settings)
    try:
        wrong = await _wrong(admin, _names(settings, channels, tenants))
        names = sorted(wrong)
        if not names:
            return []
        if not settings.create_topics:
            raise TopicError(
                f"producers set the timestamps on {', '.join(names)}",
                where=str(settings.kafka),
                remedy=f"set {TIMESTAMP_TYPE}={BROKERS_TIME} with: tidewatch topics create, "
                "or set TIDEWATCH_CREATE_TOPICS=true",
            )
        await _set(admin, wrong, str(settings.kafka))

        async def done() -> bool:
            return not await _wrong(admin, names)

        if not await spread(done):
            raise TopicError(
                f"producers still set the timestamps on {', '.join(names)}",
                where=str(settings.kafka),
                remedy="check that the brokers of the cluster reach its controller",
            )
        log.warning("topic-time-set", topics=names, setting=f"{TIMESTAMP_TYPE}={BROKERS_TIME}")
        return names
    finally:
        await admin.close()


def _names(settings: Settings, channels: Iterable[Channel], tenants: Iterable[str]) -> list[str]:
    decisive = [channel for channel in channels if TOPICS[channel].time_decides]
    return [
        *(name for channel in decisive for name in input_topics(settings, channel)),
        *(tenant_topic_name(tenant, Channel.CONTAINMENT_COMMANDS) for tenant in tenants),
    ]


async def _wrong(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the topics on which producers set the time, with their own settings."""
    existing = sorted(await partition_counts(admin, names))
    if not existing:
        return {}
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in existing]
    ):
        for code, message, _kind, name, entries in response.resources:
            if code:
                raise TopicError(
                    f"the broker does not return the configuration of topic {name}",
                    where=TIMESTAMP_TYPE,
                    remedy="allow this user DescribeConfigs on it "
                    f"({for_code(code).__name__}: {message or ''})",
                )
            values = {entry[0]: entry[1] for entry in entries}
            if values.get(TIMESTAMP_TYPE) != BROKERS_TIME:
                found[name] = {entry[0]: entry[1] for entry in entries if entry[3] == _OF_THE_TOPIC}
    return found


async def _set(admin: AIOKafkaAdminClient, wrong: dict[str, dict[str, str]], where: str) -> None:
    """Set LogAppendTime on topics, and keep their other settings."""
    problem = ""
    try:
        for response in await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC, name, {**values, TIMESTAMP_TYPE: BROKERS_TIME}
                )
                for name, values in wrong.items()
            ]
        ):
            for code, message, *_ in response.resources:
                if code:
                    problem = f"{for_code(code).__name__}: {message or ''}"
    except KafkaError as error:
        problem = repr(error)
    if problem:
        raise TopicError(
            f"producers set the timestamps on {', '.join(sorted(wrong))}",
            where=where,
            remedy=f"set {TIMESTAMP_TYPE}={BROKERS_TIME} on them as an authorised user ({problem})",
        )

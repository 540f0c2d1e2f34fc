"""Declares every topic of Tidewatch in one table; creates and checks them on the broker."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from schemas.channels import Channel
from schemas.counting import counted
from schemas.errors import TidewatchError
from streams.kafka.client import BrokerUnreachableError, client_options
from streams.kafka.connection_diagnosis import unreachable
from streams.kafka.topic_metadata import partition_counts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from streams.settings import Settings

DAY_MS = 24 * 3600 * 1000
TOMBSTONE_DAYS = 7
"""How long a compacted topic keeps tombstones; a local store older than this is rebuilt."""
TIMESTAMP_TYPE: Final = "message.timestamp.type"
BROKERS_TIME: Final = "LogAppendTime"
SPREAD_SECONDS: Final = 30.0
"""How long a change may take from the controller to the queried broker."""
_ASK_SECONDS: Final = 0.05
ENVELOPE_BYTES = 64 * 1024
"""Room for the headers and framing of a record in addition to its value."""


class TopicError(TidewatchError):
    """A missing topic, or one that differs from its declaration."""


class Direction(StrEnum):
    """Who writes a topic and who reads it."""

    IN = "in"
    INTERNAL = "internal"
    OUT = "out"


class Cleanup(StrEnum):
    """The cleanup policy of old records."""

    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, kw_only=True)
class TopicSpec:
    """The declaration of one channel's topic."""

    channel: Channel
    direction: Direction
    key: str
    """The key of a record, in words."""
    cleanup: Cleanup = Cleanup.DELETE
    retention_days: int = 7
    """How long records are kept; unused for compacted topics."""
    together: str = ""
    """Topics with the same value must have equal partition counts."""
    size_factor: int = 1
    """Largest record, in units of the largest event."""

    @property
    def time_decides(self) -> bool:
        """Whether something depends on when its records were appended: the broker must set it.

        These are replay windows of signatures, introducers of digests, and expiry.
        """
        return self.direction is not Direction.OUT or self.channel is Channel.CONTAINMENT_COMMANDS


TOPICS: Mapping[Channel, TopicSpec] = {
    spec.channel: spec
    for spec in (
        TopicSpec(
            channel=Channel.REGISTRY_PUSH,
            direction=Direction.IN,
            key="tenant + subject",
            size_factor=4,
        ),
        TopicSpec(
            channel=Channel.PACKAGE_INSTALL,
            direction=Direction.IN,
            key="tenant + subject",
            size_factor=4,
        ),
        TopicSpec(
            channel=Channel.PIPELINE_RUN,
            direction=Direction.IN,
            key="tenant + subject",
            size_factor=4,
        ),
        TopicSpec(
            channel=Channel.INTEL,
            direction=Direction.IN,
            key="component key",
            cleanup=Cleanup.COMPACT,
            together="ledger",
        ),
        TopicSpec(
            channel=Channel.POLICY, direction=Direction.IN, key="tenant", cleanup=Cleanup.COMPACT
        ),
        TopicSpec(
            channel=Channel.DECISIONS,
            direction=Direction.IN,
            key="incident id",
            retention_days=90,
            together="incidents",
        ),
        TopicSpec(
            channel=Channel.CONTAINMENT_RESULTS,
            direction=Direction.IN,
            key="command id",
            retention_days=90,
        ),
        TopicSpec(
            channel=Channel.SCAN_REQUESTS, direction=Direction.INTERNAL, key="tenant + subject"
        ),
        TopicSpec(
            channel=Channel.OBSERVATIONS,
            direction=Direction.INTERNAL,
            key="component key",
            together="ledger",
        ),
        TopicSpec(
            channel=Channel.INCIDENT_UPDATES,
            direction=Direction.INTERNAL,
            key="incident id; to holds: tenant + component",
            together="incidents",
        ),
        TopicSpec(channel=Channel.IOCS, direction=Direction.OUT, key="indicator key"),
        TopicSpec(channel=Channel.HYGIENE, direction=Direction.OUT, key="indicator key"),
        TopicSpec(channel=Channel.IOCS_ECS, direction=Direction.OUT, key="indicator key"),
        TopicSpec(channel=Channel.ASSESSMENTS, direction=Direction.OUT, key="tenant + subject"),
        TopicSpec(
            channel=Channel.ALERTS,
            direction=Direction.OUT,
            key="incident id + tenant",
            retention_days=90,
        ),
        TopicSpec(
            channel=Channel.ALERTS_ECS,
            direction=Direction.OUT,
            key="incident id + tenant",
            retention_days=90,
        ),
        TopicSpec(
            channel=Channel.OPERATOR_ALERTS,
            direction=Direction.OUT,
            key="what it is about: a source, component key or incident",
            retention_days=90,
        ),
        TopicSpec(
            channel=Channel.INCIDENTS,
            direction=Direction.OUT,
            key="incident id",
            cleanup=Cleanup.COMPACT,
        ),
        TopicSpec(
            channel=Channel.CONTAINMENT_COMMANDS,
            direction=Direction.OUT,
            key="tenant + component; of evidence and tasks: incident id + tenant",
            retention_days=90,
        ),
        TopicSpec(
            channel=Channel.CONTAINMENT_PROPOSALS,
            direction=Direction.OUT,
            key="tenant + component; of evidence and tasks: incident id + tenant",
            retention_days=90,
        ),
        TopicSpec(
            channel=Channel.HOLDS,
            direction=Direction.OUT,
            key="tenant + component",
            cleanup=Cleanup.COMPACT,
        ),
        TopicSpec(
            channel=Channel.CONTAINMENT_AUDIT,
            direction=Direction.OUT,
            key="tenant + component; of evidence and tasks: incident id + tenant",
            retention_days=365,
        ),
        TopicSpec(
            channel=Channel.INTEL_SHARE,
            direction=Direction.OUT,
            key="indicator key",
            retention_days=90,
        ),
        TopicSpec(
            channel=Channel.NOTIFICATIONS,
            direction=Direction.INTERNAL,
            key="notifier, route, tenant and incident",
            cleanup=Cleanup.COMPACT,
        ),
        TopicSpec(
            channel=Channel.DEAD_LETTER,
            direction=Direction.OUT,
            key="source topic-partition-offset",
            retention_days=30,
            size_factor=5,
        ),
    )
}

TENANT_CHANNELS = frozenset(
    {
        Channel.ALERTS,
        Channel.IOCS,
        Channel.HYGIENE,
        Channel.ASSESSMENTS,
        Channel.CONTAINMENT_COMMANDS,
    }
)
"""Channels that a tenant may read, on its own topics if they are enabled."""


@dataclass(frozen=True)
class TopicOrigin:
    """The channel of a topic, and its tenant if the operator bound it to one."""

    channel: Channel
    tenant: str | None = None


_HASHED: Final = re.compile(r"x[0-9a-f]{31}")
"""The form of a hashed tenant name in a topic's name."""


def topic_name(settings: Settings, channel: Channel) -> str:
    """Return the topic of `channel`."""
    return settings.topic_prefix + channel.value


def group_id(settings: Settings, name: str) -> str:
    """Return the consumer group of app `name`."""
    return f"{settings.group_prefix}-{name}"


def tenant_slug(tenant: str) -> str:
    """Return `tenant` as part of a topic name: itself if legal, else a stable hash of it.

    A tenant named like such a hash is hashed as well, so that no two share topics.
    """
    legal = 0 < len(tenant) <= 100 and all(  # noqa: PLR2004 -- well under Kafka's limit of 249
        c.isascii() and (c.isalnum() or c in "_-") for c in tenant
    )
    if legal and not _HASHED.fullmatch(tenant):
        return tenant
    return "x" + sha256(tenant.encode("utf-8", "replace")).hexdigest()[:31]


def tenant_topic_name(tenant: str, channel: Channel) -> str:
    """Return the topic of `tenant` for `channel`, one of `TENANT_CHANNELS`."""
    return f"tenant.{tenant_slug(tenant)}.{channel.value}"


def tenant_group_prefix(tenant: str) -> str:
    """Return the prefix of the names of a tenant's consumer groups.

    It is unique to the tenant: the part that names it has no full stop.
    """
    return f"tenant.{tenant_slug(tenant)}."


def input_topics(settings: Settings, channel: Channel) -> dict[str, TopicOrigin]:
    """Return every topic that carries `channel`, including the operator's bound ones."""
    names = {topic_name(settings, channel): TopicOrigin(channel)}
    for name, bound in settings.bound_topics.items():
        if bound.channel is channel:
            names[name] = TopicOrigin(channel, bound.tenant)
    return names


def changelog_name(group: str, table: str) -> str:
    """Return the changelog topic of `table` in consumer group `group` (Faust's own naming)."""
    return f"{group}-{table}-changelog"


def topic_config(spec: TopicSpec, settings: Settings) -> dict[str, str]:
    """Return the broker's settings for the topic of `spec`."""
    config = {
        "cleanup.policy": spec.cleanup.value,
        "max.message.bytes": str(settings.max_event_bytes * spec.size_factor + ENVELOPE_BYTES),
    }
    if spec.time_decides:
        config[TIMESTAMP_TYPE] = BROKERS_TIME
    if spec.cleanup is Cleanup.COMPACT:
        config["delete.retention.ms"] = str(TOMBSTONE_DAYS * DAY_MS)
    else:
        config["retention.ms"] = str(spec.retention_days * DAY_MS)
    return config


def changelog_config() -> dict[str, str]:
    """Return the broker's settings for a changelog topic."""
    return {
        "cleanup.policy": Cleanup.COMPACT.value,
        "delete.retention.ms": str(TOMBSTONE_DAYS * DAY_MS),
        "segment.ms": str(DAY_MS),
        "max.message.bytes": str(1024 * 1024),
    }


async def open_admin(settings: Settings) -> AIOKafkaAdminClient:
    """Return a started admin client; the caller closes it.

    Raises:
        BrokerUnreachableError: No broker answers, or it refuses the credentials.
    """
    admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=15_000)
    try:
        await admin.start()
    except (KafkaError, OSError) as error:
        await admin.close()
        raise await unreachable(settings, error) from error
    return admin


async def existing_partitions(settings: Settings, names: Iterable[str]) -> list[TopicPartition]:
    """Return the partitions of those of `names` that exist, in order.

    Raises:
        BrokerUnreachableError: No broker answers.
    """
    admin = await open_admin(settings)
    try:
        counts = await partition_counts(admin, names)
    finally:
        await admin.close()
    return [
        TopicPartition(name, number) for name in sorted(counts) for number in range(counts[name])
    ]


async def ensure_topics(
    settings: Settings,
    *,
    channels: Iterable[Channel] = tuple(Channel),
    changelogs: Mapping[str, str] | None = None,
    tenants: Iterable[str] = (),
) -> dict[str, int]:
    """Check that topics exist as declared, and create missing ones if allowed.

    Args:
        settings: Names prefix, partitions, replication and whether to create.
        channels: The channels whose topics are needed.
        changelogs: Changelog topic to the source topic whose partition count it must have.
        tenants: Tenants whose own topics are needed as well.

    Returns:
        Partition counts by topic.

    Raises:
        BrokerUnreachableError: No broker answers.
        TopicError: A topic is missing and may not be created, or topics that must have equal
            partition counts differ.
    """
    declared: dict[str, tuple[int, dict[str, str]]] = {}
    for channel in channels:
        config = topic_config(TOPICS[channel], settings)
        declared.update(
            dict.fromkeys(input_topics(settings, channel), (settings.partitions, config))
        )
    for tenant in tenants:
        for channel in sorted(TENANT_CHANNELS):
            declared[tenant_topic_name(tenant, channel)] = (
                1,
                topic_config(TOPICS[channel], settings),
            )
    admin = await open_admin(settings)
    try:
        counts = await _ensure(admin, settings, declared)
        if changelogs:
            logs = {log: (counts[source], changelog_config()) for log, source in changelogs.items()}
            counts |= await _ensure(admin, settings, logs)
            for log, source in changelogs.items():
                if counts[log] != counts[source]:
                    raise TopicError(
                        f"changelog {log} has {counted(counts[log], 'partition')}, "
                        f"its source {source} has {counts[source]}",
                        where="partition counts",
                        remedy="a keyed state can't be re-partitioned: make a new group_prefix "
                        "and replay, or restore the source's partition count",
                    )
    except (KafkaError, OSError) as error:
        silent = BrokerUnreachableError(
            "the broker did not answer a request about topics",
            where=str(settings.kafka),
            remedy="check the broker and the rights of the user "
            f"({str(error) or type(error).__name__})",
        )
        silent.passes = not isinstance(error, KafkaError) or bool(error.retriable)
        raise silent from error
    finally:
        await admin.close()
    _check_together(settings, counts)
    return counts


def _not_created(name: str, where: str, refusal: type[KafkaError], why: str) -> TidewatchError:
    """Return the error for a refused topic, transient where brokers are fenced after a stall."""
    fenced = refusal is InvalidReplicationFactorError and "fenced" in why
    kind = BrokerUnreachableError if refusal.retriable or fenced else TopicError
    remedy = f"check the brokers, and this user's rights ({refusal.__name__}: {why})"
    error = kind(f"topic {name} could not be created", where=where, remedy=remedy)
    if isinstance(error, BrokerUnreachableError):
        error.passes = True
    return error


async def _ensure(
    admin: AIOKafkaAdminClient,
    settings: Settings,
    declared: Mapping[str, tuple[int, dict[str, str]]],
) -> dict[str, int]:
    counts = await partition_counts(admin, declared)
    missing = sorted(set(declared) - set(counts))
    if not missing:
        return counts
    if not settings.create_topics:
        raise TopicError(
            f"missing topics: {', '.join(missing)}",
            where=str(settings.kafka),
            remedy="create them with: tidewatch topics create, or set TIDEWATCH_CREATE_TOPICS=true",
        )
    response = await admin.create_topics(
        [
            NewTopic(name, declared[name][0], settings.replication, topic_configs=declared[name][1])
            for name in missing
        ]
    )
    for name, code, *rest in response.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            why = str(rest[0]) if rest else ""
            raise _not_created(name, str(settings.kafka), for_code(code), why)
    made: dict[str, int] = {}

    async def known() -> bool:
        made.update(await partition_counts(admin, missing))
        return len(made) == len(missing)

    if not await spread(known):
        raise TopicError(
            f"created, but still unknown to the broker after {SPREAD_SECONDS:.0f} s: "
            f"{', '.join(sorted(set(missing) - set(made)))}",
            where=str(settings.kafka),
            remedy="check that the brokers of the cluster reach its controller",
        )
    return counts | made


async def spread(holds: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until a change has reached the queried broker; return whether it has in time.

    A controller confirms a topic or a setting before brokers know of it.

    Args:
        holds: Returns whether the change is visible.
    """
    deadline = time.monotonic() + SPREAD_SECONDS
    while not await holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_ASK_SECONDS)
    return True


def _check_together(settings: Settings, counts: Mapping[str, int]) -> None:
    groups: dict[str, dict[str, int]] = {}
    for spec in TOPICS.values():
        name = topic_name(settings, spec.channel)
        if spec.together and name in counts:
            groups.setdefault(spec.together, {})[name] = counts[name]
    for app, members in groups.items():
        if len(set(members.values())) > 1:
            listed = ", ".join(f"{name}: {count}" for name, count in sorted(members.items()))
            raise TopicError(
                f"topics that {app} joins by key have different partition counts",
                where=listed,
                remedy="re-create them with equal partition counts",
            )

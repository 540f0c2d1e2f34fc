"""Waits for the final assessments of events, and returns a gate's verdict."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from schemas.assessments import Assessment, AssessmentStage
from schemas.channels import Channel
from schemas.errors import TidewatchError
from schemas.severity import Severity, Status

if TYPE_CHECKING:
    from streams.settings import Settings

POLL_MS: Final = 200
STAGES: Final = (AssessmentStage.EVENT, AssessmentStage.SCAN)
"""The stages that a gate considers; the stage baseline continues while the ledger learns."""
FINDINGS: Final = 1
NOT_DONE: Final = 2
_DURATION: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(s|m|h)?", re.ASCII)
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_DECODER: Final = msgspec.json.Decoder(Assessment)

EventName = tuple[str, str, str]
"""Tenant, source and id, which together name an event."""


def read_duration(text: str, where: str) -> float:
    """Return a duration as `30s`, `10m` or `1h` in seconds; a bare number is seconds.

    Raises:
        TidewatchError: It is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise TidewatchError(
            f"{text[:40]!r} is not a duration", where=where, remedy="write it as 30s, 10m or 1h"
        )
    return float(match[1]) * _SECONDS[match[2]]


class Assessed(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one event so far: its latest assessment of each stage."""

    stages: Mapping[str, Assessment]
    newest: int
    """Rises with each assessment that was read, over all events."""

    @property
    def last(self) -> Assessment:
        """The final assessment, which contains all checks; else that of the latest stage."""
        found = [self.stages[name] for name in STAGES if name in self.stages]
        return next((assessment for assessment in found if assessment.final), found[-1])

    @property
    def final(self) -> bool:
        """Whether no further assessment follows."""
        return any(assessment.final for assessment in self.stages.values())

    @property
    def severity(self) -> Severity | None:
        """The severity of the most severe finding of any stage."""
        found = [
            assessment.severity
            for assessment in self.stages.values()
            if assessment.severity is not None
        ]
        return max(found, key=lambda severity: severity.rank, default=None)

    @property
    def status(self) -> Status:
        """The worst status of the last assessment."""
        return self.last.overall_status


def verdict(assessed: Assessed, fail_on: Severity) -> int:
    """Return the exit code of a gate for one event.

    Args:
        assessed: Its assessments.
        fail_on: The least severe finding that fails.

    Returns:
        1 for a finding at or above `fail_on`, or a failed check without one; 2 if it is not final,
        or something could not be checked: a gate never passes that; else 0.
    """
    severity = assessed.severity
    if severity is not None and severity.rank >= fail_on.rank:
        return FINDINGS
    if severity is None and assessed.status is Status.FAIL:
        return FINDINGS
    incomplete = any(check.status is Status.INCOMPLETE for check in assessed.last.checks)
    if not assessed.final or incomplete or assessed.status is Status.INCOMPLETE:
        return NOT_DONE
    return 0


class Assessments:
    """Assessments by event, as they arrive."""

    def __init__(self, wanted: Callable[[Assessment], bool]) -> None:
        """Keep those that are wanted."""
        self._wanted = wanted
        self._count = 0
        self.events: dict[EventName, Assessed] = {}

    def take(self, assessment: Assessment) -> bool:
        """Take one; return whether it was wanted. The last of each stage counts."""
        if assessment.stage not in STAGES or not self._wanted(assessment):
            return False
        name = (assessment.tenant, assessment.source, assessment.event_id)
        known = self.events.get(name)
        stages = dict(known.stages) if known else {}
        stages[assessment.stage] = assessment
        self._count += 1
        self.events[name] = Assessed(stages=stages, newest=self._count)
        return True


def decode_assessment(raw: Any) -> Assessment | None:  # noqa: ANN401 -- aiokafka's own, untyped
    """Return the assessment of a record, None if it can't be read."""
    if not isinstance(raw.value, bytes):
        return None
    try:
        return _DECODER.decode(raw.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class AssessmentFollower:
    """Reads the topic of assessments from a position on, without a consumer group."""

    def __init__(self, consumer: Any, ends: Mapping[Any, int]) -> None:  # noqa: ANN401 -- untyped
        """Read by a consumer that has its position."""
        self._consumer = consumer
        self._ends = ends

    async def next(self) -> list[Assessment]:
        """Return new assessments, after a short wait if there are none."""
        fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
        records = [record for records in fetched.values() for record in records]
        found = (decode_assessment(record) for record in records)
        return [assessment for assessment in found if assessment is not None]

    async def caught_up(self) -> bool:
        """Return whether all that was there when it was opened is read."""
        for partition, end in self._ends.items():
            if await self._consumer.position(partition) < end:
                return False
        return True


@asynccontextmanager
async def following(
    settings: Settings, *, since_seconds: float = 0.0
) -> AsyncIterator[AssessmentFollower]:
    """Yield a follower that begins with the next assessment, or with those of some time ago.

    Args:
        settings: Which broker.
        since_seconds: How far back it begins.

    Raises:
        BrokerUnreachableError: No broker answers.
    """
    import aiokafka  # noqa: PLC0415 -- what decides needs no Kafka
    from aiokafka.errors import KafkaError  # noqa: PLC0415 -- the same

    from streams.kafka.client import BrokerUnreachableError, client_options  # noqa: PLC0415
    from streams.kafka.topics import ensure_topics, topic_name  # noqa: PLC0415 -- the same

    topic = topic_name(settings, Channel.ASSESSMENTS)
    # as they were made, not as the broker lists them: a new topic is listed a little later
    count = (await ensure_topics(settings, channels=[Channel.ASSESSMENTS]))[topic]
    partitions = [aiokafka.TopicPartition(topic, number) for number in range(count)]
    consumer = aiokafka.AIOKafkaConsumer(
        **client_options(settings),
        enable_auto_commit=False,
        max_partition_fetch_bytes=settings.max_event_bytes * 6,
    )
    try:
        await consumer.start()
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        begin = time.time_ns() // 1_000_000 - int(since_seconds * 1000)
        places = (
            await consumer.offsets_for_times(dict.fromkeys(partitions, begin))
            if since_seconds > 0
            else {}
        )
        for partition in partitions:
            place = places.get(partition)
            consumer.seek(partition, ends[partition] if place is None else place.offset)
        yield AssessmentFollower(consumer, ends)
    except (KafkaError, OSError) as error:
        raise BrokerUnreachableError(
            "the assessments can't be read",
            where=str(settings.kafka),
            remedy=f"check the broker, then run the command again ({error!r})",
        ) from error
    finally:
        await consumer.stop()


async def wait_for_events(
    follower: AssessmentFollower, names: Iterable[EventName], *, seconds: float
) -> dict[EventName, Assessed | None]:
    """Return the assessments of events, when all are final or the time is over.

    Args:
        follower: The source of assessments; it was opened before the events were sent.
        names: The events.
        seconds: How long to wait.
    """
    wanted = dict.fromkeys(names)
    found = Assessments(lambda seen: (seen.tenant, seen.source, seen.event_id) in wanted)
    deadline = time.monotonic() + seconds

    def waiting() -> bool:
        return any(name not in found.events or not found.events[name].final for name in wanted)

    while waiting() and time.monotonic() < deadline:
        for assessment in await follower.next():
            found.take(assessment)
    return {name: found.events.get(name) for name in wanted}


async def wait_for_named(
    follower: AssessmentFollower,
    named: str,
    *,
    tenant: str | None,
    source: str | None,
    seconds: float,
) -> Assessed | None:
    """Return the assessments of an event, or of the newest event of a subject.

    Args:
        follower: The source of assessments, from some time ago on.
        named: The id of an event, or a subject.
        tenant: The tenant of the event; None: any.
        source: The source of the event; None: any.
        seconds: How long to wait for one, and for it to be final.

    Raises:
        TidewatchError: Several tenants, or several sources, have an event of that id.
    """
    found = Assessments(
        lambda seen: (
            named in {seen.event_id, seen.subject}
            and tenant in {None, seen.tenant}
            and source in {None, seen.source}
        )
    )
    deadline = time.monotonic() + seconds
    while True:
        for assessment in await follower.next():
            found.take(assessment)
        _refuse_ambiguous(found.events, named)
        newest = max(found.events.values(), key=lambda event: event.newest, default=None)
        over = time.monotonic() >= deadline
        if over or (newest is not None and newest.final and await follower.caught_up()):
            return newest


def _refuse_ambiguous(events: Mapping[EventName, Assessed], named: str) -> None:
    tenants = sorted({tenant for tenant, _, _ in events})
    if len(tenants) > 1:
        raise TidewatchError(
            f"several tenants have {named[:100]}", where="--tenant", remedy="name the tenant"
        )
    by_id = sorted({source for _, source, event in events if event == named})
    if len(by_id) > 1:
        raise TidewatchError(
            f"several sources have an event {named[:100]}",
            where="--source",
            remedy=f"name one of {', '.join(by_id[:5])}",
        )


def worst_code(codes: Sequence[int]) -> int:
    """Return the exit code of several events: findings, else incomplete, else passed."""
    return FINDINGS if FINDINGS in codes else max(codes, default=0)

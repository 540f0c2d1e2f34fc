"""Turns the results of an event's checks into records."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec

from agents.domain.basis import is_known_malicious
from agents.domain.detection import Detection, Outcome, to_finding
from agents.logs import Logger
from agents.messages import assessment_message, operator_message
from agents.ports import Batch, Message, Publish
from agents.triage.ledger.source_health import sampled
from agents.triage.routing import (
    finding_messages,
    sighting_message,
    source_message,
    withheld_messages,
)
from schemas.assessments import Assessment, AssessmentStage, Check
from schemas.basis import Position
from schemas.canonical import stable_id
from schemas.dead_letters import CHECK_FAILED
from schemas.events import Event
from schemas.findings import Finding
from schemas.ledger import OperatorAlert, SourceOutcome
from schemas.observations import Sighting
from schemas.policy import Policy, default_policy
from schemas.severity import ExposureLevel, Status, worst

log = Logger()
T = TypeVar("T")
CheckingAgent = Callable[[Batch[Event[T]], Publish], Awaitable[None]]

REMEMBERED: Final = 200_000
"""Sightings remembered as sent, per agent; a forgotten one is sent again, which is harmless."""
_Order = tuple[datetime, str]
"""When a sighting occurred, and the event that reports it."""
_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)
NO_POSITION: Final[Position] = (0, "", 0, 0)
"""The position of an event that came from no topic."""
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
BASELINE_SOURCES: Final = 16
"""The most sources of one tenant whose baseline an agent reports each day."""
SAID: Final = attrgetter(
    *(
        name
        for name in Sighting.__struct_fields__
        if name not in {"id", "event_id", "occurred_at", "appended"}
    )
)
"""The fields of a sighting except its event and time."""
SPELL: Final = msgspec.msgpack.Encoder().encode
"""Encodes them as one key. The hash of bytes is computed once, that of a tuple at each lookup; and
the garbage collector does not visit bytes.
"""
place_of: Final = attrgetter("component", "name", "kind", "filename")
"""The fields of a sighting that identify its place in a system."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an event that each of its findings and sightings carries."""

    component: str
    version: str | None = None
    systems: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    exposure: ExposureLevel = ExposureLevel.DELIVERED
    publisher: str | None = None


class LastSent(msgspec.Struct, gc=False):
    """The sighting of one system and component that was sent last."""

    has: tuple[str | None, str | None]
    """Version and digest."""
    said: bytes | None
    """The day and all fields but event and time; None: forgotten."""
    order: _Order
    """When it occurred, and the event that reports it."""
    position: Position
    """The position of its record."""

    def holds(self, order: _Order, position: Position) -> bool:
        """Return whether it was sent, was not forgotten, and is no later than this."""
        return self.said is not None and self.order <= order and self.position <= position

    def covers(self, said: bytes, order: _Order, position: Position) -> bool:
        """Return whether a sighting has the same content and is not earlier."""
        return self.said == said and self.order <= order and self.position <= position


class SightingDeduplicator:
    """Remembers which sightings were sent to the ledger, so that each is sent once per event-day.

    A sighting that is earlier than the one sent, by time or position, is sent as well, so that the
    ledger's state does not depend on when a worker restarted. The sightings of an abandoned batch
    are forgotten.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        """Start empty; remember at most `limit` sightings."""
        self._limit = limit
        self._seen: OrderedDict[Any, tuple[_Order, Position]] = OrderedDict()
        self._last: OrderedDict[bytes, LastSent] = OrderedDict()
        self._noted: list[Any] = []
        """Keys of the sightings of the current batch."""
        self._placed: list[bytes] = []
        """Keys of the sightings sent last."""

    def begin(self) -> Callable[[], None]:
        """Record the sightings from now on as those of one batch, until the next call.

        Returns:
            A function that forgets them. Sending a sighting again is harmless; not sending it is a
            loss.
        """
        noted = self._noted = []
        placed = self._placed = []

        def forget() -> None:
            for key in noted:
                self._seen.pop(key, None)
            for key in placed:
                gone = self._last.pop(key, None)
                if gone is not None:
                    gone.said = None

        return forget

    def is_news(self, sighting: Sighting) -> bool:
        """Return whether this sighting was not sent yet, or only a later one of its day.

        A system that returns to an earlier version on the same day is news: it differs from the
        last sighting sent, and shows the ledger a rollback or a recurrence.
        """
        return self.noted_sighting(sighting)[0]

    def noted_sighting(self, sighting: Sighting) -> tuple[bool, LastSent]:
        """Return whether a sighting is news, and its entry, which another may replace.

        As long as the entry covers a later event's sighting, that sighting is no news.
        """
        place = SPELL((sighting.tenant, sighting.system)) + SPELL(place_of(sighting))
        said = SPELL((sighting.occurred_at.toordinal(), SAID(sighting)))
        order = (sighting.occurred_at, sighting.event_id)
        has = (sighting.version, sighting.digest)
        return self.noted(place, has, said, order, sighting.appended or NO_POSITION)

    def noted(
        self,
        place: bytes,
        has: tuple[str | None, str | None],
        said: bytes,
        order: _Order,
        position: Position,
    ) -> tuple[bool, LastSent]:
        """Return what `noted_sighting` returns, of a sighting that is not built.

        Args:
            place: The key of the last sighting to compare with: tenant and system, as `SPELL`
                encodes them, and its `place_of`.
            has: Version and digest.
            said: Its day and the fields of `SAID`, as `SPELL` encodes them.
            order: When it occurred, and the event that reports it.
            position: The position of its record.
        """
        places = self._last
        last = places.get(place)
        changed = False
        if last is not None:
            places.move_to_end(place)
            # The usual case: an unchanged sighting.
            if last.covers(said, order, position):
                return False, last
            changed = last.has != has
            last.said = None
        last = places[place] = LastSent(has, said, order, position)
        self._placed.append(place)
        self._noted.append(said)
        if len(places) > self._limit:
            places.popitem(last=False)[1].said = None
        return self._note(said, order, position) or changed, last

    def is_new_source(self, event: Event[Any]) -> bool:
        """Return whether the source sent nothing else within the hour of the event's arrival."""
        key = (event.tenantid, event.source, event.received_ms // _HOUR_MS)
        return self._note(key, (_NO_TIME, ""), NO_POSITION)

    def is_new_tenant(self, tenant: str) -> bool:
        """Return whether nothing of the tenant was noted yet."""
        return self._note((tenant,), (_NO_TIME, ""), NO_POSITION)

    def knows_tenant(self, tenant: str) -> bool:
        """Return whether something of the tenant was noted."""
        return (tenant,) in self._seen

    def is_new_baseline(self, event: Event[Any]) -> bool:
        """Return whether the source marked nothing else as a baseline on the day of its arrival.

        At most `BASELINE_SOURCES` sources of a tenant are noted each day, in case it makes them up.
        """
        day = ("baseline", event.tenantid, event.received_ms // _DAY_MS)
        return self._note((*day, event.source), (_NO_TIME, ""), NO_POSITION) and any(
            self._note((*day, number), (_NO_TIME, ""), NO_POSITION)
            for number in range(BASELINE_SOURCES)
        )

    def _note(self, key: Any, order: _Order, position: Position) -> bool:  # noqa: ANN401 -- hashable
        known = self._seen.get(key)
        if known is not None and known[0] <= order and known[1] <= position:
            return False
        if known is not None:
            order, position = min(known[0], order), min(known[1], position)
            self._seen.move_to_end(key)
        self._seen[key] = (order, position)
        self._noted.append(key)
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return True


def checking_agent(
    check: Callable[[Event[T]], Iterable[Message]], deduplicator: SightingDeduplicator | None = None
) -> CheckingAgent[T]:
    """Return an agent that checks event by event; it publishes all messages of a check or none.

    Args:
        check: Checks one event and returns its messages.
        deduplicator: The one that `check` uses.
    """

    async def agent(batch: Batch[Event[T]], publish: Publish) -> None:
        forget = None if deduplicator is None else deduplicator.begin()
        if forget is not None:
            publish.on_abandoned(forget)
        for delivery in batch.deliveries:
            publish.caused_by(delivery.record.entered_ms)
            try:
                messages = tuple(check(delivery.value))
            except Exception as error:
                # Nothing lost: an event that breaks a check is a dead letter and blocks no other.
                record = delivery.record
                log.exception(
                    "check-failed",
                    topic=record.topic,
                    partition=record.partition,
                    offset=record.offset,
                )
                if forget is not None:
                    forget()  # sightings that it noted are not sent
                publish.refuse(record, CHECK_FAILED, f"{type(error).__name__} in the checks")
                publish(failed_message(delivery.value, AssessmentStage.EVENT))
                continue
            for message in messages:
                publish(message)

    return agent


def assessment_of(
    event: Event[Any],
    checks: tuple[Check, ...],
    findings: Sequence[Finding],
    stage: AssessmentStage,
    *,
    final: bool,
    contents: tuple[str, ...] = (),
) -> Assessment:
    """Return the assessment of an event: the worst status overall.

    Args:
        event: What was checked.
        checks: The results.
        findings: The findings that are reported.
        stage: event or scan.
        final: No other assessment of these stages follows.
        contents: What was fetched and read.
    """
    return Assessment(
        id=stable_id("asm", event.tenantid, event.source, event.id, stage),
        event_id=event.id,
        tenant=event.tenantid,
        subject=event.subject,
        overall_status=worst(check.status for check in checks),
        checks=checks,
        stage=stage,
        source=event.source,
        findings=tuple(finding.id for finding in findings),
        severity=max(
            (finding.severity for finding in findings), key=attrgetter("rank"), default=None
        ),
        contents=contents,
        final=final,
    )


def failed_message(event: Event[Any], stage: AssessmentStage) -> Message:
    """Return the final assessment of an event whose checks failed: never clean.

    Without it a gate would wait in vain; the event itself is a dead letter.

    Args:
        event: What could not be checked.
        stage: event or scan.
    """
    check = Check(
        name=CHECK_FAILED,
        status=Status.INCOMPLETE,
        detail="the checks failed unexpectedly; the event is among the dead letters",
    )
    return assessment_message(assessment_of(event, (check,), (), stage, final=True), event.time)


def findings_of(event: Event[Any], outcome: Outcome, context: Context) -> tuple[Finding, ...]:
    """Return the findings of an outcome that are reported, each id once."""
    return _bind(event, outcome.detections, context)


def _bind(
    event: Event[Any], detections: Collection[Detection], context: Context
) -> tuple[Finding, ...]:
    if not detections:
        return ()
    findings = {
        finding.id: finding
        for finding in (
            to_finding(
                detection,
                event,
                component=context.component,
                version=context.version,
                systems=context.systems,
                identities=context.identities,
                exposure=context.exposure,
                publisher=context.publisher,
            )
            for detection in detections
        )
    }
    return tuple(findings.values())


def policy_notice(
    tenant: str, policy: Policy, deduplicator: SightingDeduplicator
) -> Iterator[Message]:
    """Yield the notice of a tenant that sends events but has no policy.

    Without a policy its files are not fetched and no name is internal: the omitted checks must not
    look like passed ones. Each worker sends it once; its id is the tenant's.

    Args:
        tenant: Whose event it is.
        policy: Its policy; the default one if it has none.
        deduplicator: What this agent has sent already.
    """
    if deduplicator.knows_tenant(tenant) or policy != default_policy(tenant):
        return
    deduplicator.is_new_tenant(tenant)
    yield operator_message(
        OperatorAlert(
            id=stable_id("opa", "tenant-without-policy", tenant),
            kind="tenant-without-policy",
            subject=tenant,
            tenant=tenant,
            detail="events arrive, but no policy is set: its files are not fetched and scanned, "
            "no name, index or registry is known to be its own, and nothing is contained "
            "automatically",
            runbook="Set one with: tidewatch policy set FILE. Name at least `roots` (what may be "
            "fetched), `internal` (its own names, indexes, registries) and `trusted`.",
        ),
        "//tidewatch/checks",
    )


def with_allowed_baseline(event: Event[T], policy: Policy) -> Event[T]:
    """Return an event without a mark as baseline that its tenant's policy does not allow."""
    if not event.baseline or policy.baseline:
        return event
    return msgspec.structs.replace(event, baseline=False)


def _baseline_notice(event: Event[Any], deduplicator: SightingDeduplicator) -> Iterator[Message]:
    """Yield the notice of a source whose findings are not alerted, once a day."""
    if not deduplicator.is_new_baseline(event):
        return
    day_ms = event.received_ms // _DAY_MS * _DAY_MS
    yield operator_message(
        OperatorAlert(
            id=stable_id("opa", "baseline-recorded", event.tenantid, event.source, str(day_ms)),
            kind="baseline-recorded",
            subject=event.source,
            tenant=event.tenantid,
            detail="it marks events as a baseline: what they name counts as usual from now on, and "
            "their findings are not alerted unless they are known to be malicious",
            since=datetime.fromtimestamp(day_ms / 1000, tz=UTC),
            runbook="If you are not recording a baseline, find out who writes as this source, set "
            "`baseline = false` in the tenant's policy, and read the assessments of that day.",
        ),
        "//tidewatch/checks",
    )


def sent(event: Event[Any], sighting: Sighting) -> Message:
    """Return the record of a sighting, marked as the event is."""
    if event.baseline:
        sighting = msgspec.structs.replace(sighting, baseline=True)
    return sighting_message(sighting)


def outcome_messages(
    event: Event[Any],
    outcome: Outcome,
    context: Context,
    deduplicator: SightingDeduplicator,
    *,
    stage: AssessmentStage = AssessmentStage.EVENT,
    final: bool = True,
    news: Iterable[Message] | None = None,
) -> Iterator[Message]:
    """Yield the records of the checks of one event.

    Args:
        event: What was checked.
        outcome: The results of the checks.
        context: The fields of the event that all its findings and sightings carry.
        deduplicator: The sightings that this agent has sent already.
        stage: event, or scan for the results of slow work.
        final: No further assessment of this event follows, so its completeness counts.
        news: The records of sightings; by default of those of the outcome that are news.
    """
    findings = findings_of(event, outcome, context)
    assessment = assessment_of(
        event, outcome.checks, findings, stage, final=final, contents=outcome.contents
    )
    if news is None:
        news = (
            sent(event, sighting) for sighting in filter(deduplicator.is_news, outcome.sightings)
        )
    yield from news
    for finding in findings:
        # state from before monitoring began is not reported, unless known to be malicious
        if not event.baseline or is_known_malicious(finding):
            yield from finding_messages(finding)
    for finding in _bind(event, outcome.withheld, context):
        yield from withheld_messages(finding)
    if event.baseline:
        if stage is AssessmentStage.EVENT:
            yield from _baseline_notice(event, deduplicator)
        # its source is heard once, and its later silence is not reported
        yield assessment_message(assessment, event.time)
        return
    yield from source_messages(event, assessment.overall_status, deduplicator, final=final)
    yield assessment_message(assessment, event.time)


def source_messages(
    event: Event[Any], status: Status, deduplicator: SightingDeduplicator, *, final: bool
) -> Iterator[Message]:
    """Yield the record that a source was heard, if this event is to report it.

    Args:
        event: What was checked.
        status: The overall status of its checks.
        deduplicator: What this agent has sent already.
        final: No further assessment of this event follows, so its completeness counts.
    """
    if deduplicator.is_new_source(event) or (final and sampled(event.id)):
        incomplete = final and status is Status.INCOMPLETE
        yield source_message(event, SourceOutcome.INCOMPLETE if incomplete else SourceOutcome.OK)

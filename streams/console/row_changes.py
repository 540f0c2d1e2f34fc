"""Turns records of the topics into changes of the rows of the index: a pure function for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from agents.ports import Record
from schemas.channels import Channel
from schemas.components import split_key
from schemas.findings import SupplyChainIoC
from schemas.incidents.holds import HoldState, HoldView
from schemas.incidents.states import CommandStatus, TaskState
from schemas.incidents.views import IncidentDocument
from schemas.intel import IntelFact
from schemas.ledger import Derived, OperatorAlert, SourceOutcome, SourceSeen
from schemas.observations import Sighting
from schemas.policy import Policy
from streams.console.rows import (
    OPERATOR,
    AskedRow,
    CaseRow,
    Change,
    ComponentRow,
    EdgeRow,
    FactRow,
    Gone,
    HoldingRow,
    HoldRow,
    IndicatorRow,
    LetterRow,
    NoticeRow,
    PartRow,
    PolicyRow,
    SourceRow,
    packed,
)
from streams.console.tenant_part import TenantAlert
from streams.kafka.dead_letters import read_dead_letter

TEXT_LIMIT: Final = 8_000
"""Most characters of a row that are searched."""
NAME_LIMIT: Final = 512
"""Most characters of a name that is kept."""
PREVIEW_BYTES: Final = 4_096
"""Bytes of a dead letter that are kept to be looked at."""
_OF_A_SOURCE: Final = frozenset(
    {"source-silent", "source-recovered", "incomplete-share", "dead-letters", "baseline-recorded"}
)
"""Operator alerts about one tenant's source: the tenant may read them."""
_ASKING: Final = frozenset({CommandStatus.PROPOSED, CommandStatus.FAILED, CommandStatus.EXPIRED})
"""States of commands that ask for a person."""
_WORDS: Final = re.compile(r"\s+")


class UnreadableError(Exception):
    """A record that is not a document of its topic."""


def changes(
    channel: Channel, record: Record, bound: Mapping[str, str] | None = None
) -> tuple[Change, ...]:
    """Return the changes of the index by a record; none for records that the console does not show.

    Args:
        channel: What its topic carries.
        record: The record.
        bound: The tenant of each topic that the operator bound to one.

    Raises:
        UnreadableError: It is not a document of its topic.
    """
    try:
        if channel is Channel.DEAD_LETTER:
            return tuple(_letter(record, bound or {}))
        read = _READERS.get(channel)
        return () if read is None else tuple(read(record))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, OverflowError) as error:
        raise UnreadableError(str(error)) from error


def _key(record: Record) -> str:
    return (record.key or b"").decode("utf-8", "replace")


def _ms(time: datetime | None, otherwise: int = 0) -> int:
    return otherwise if time is None else round(time.timestamp() * 1000)


def _name(text: object) -> str:
    return str(text or "")[:NAME_LIMIT]


def _text(*parts: str | None) -> str:
    """Return the searchable text, each part once."""
    return _WORDS.sub(" ", "\n".join(dict.fromkeys(filter(None, parts))))[:TEXT_LIMIT]


def _incident(record: Record) -> Iterator[Change]:
    if record.value is None:
        yield Gone(row=CaseRow, tenant=OPERATOR, id=_key(record))
        return
    document = _INCIDENT.decode(record.value)
    states = [view.state for view in document.commands]
    assignees = sorted({part.assignee for part in document.tenants if part.assignee})
    yield CaseRow(
        tenant=OPERATOR,
        id=document.id,
        title=document.title,
        root=document.root,
        status=document.status,
        ended=document.status.ended,
        phase=document.phase,
        severity=document.score.band.rank,
        score=document.score.value,
        first_seen=_ms(document.first_seen),
        changed=max((_ms(entry.at) for entry in document.timeline), default=record.timestamp_ms),
        systems=document.system_count,
        tenants=document.tenant_count,
        owner=document.tenants[0].tenant
        if document.tenant_count == 1 and len(document.tenants) == 1
        else "",
        waiting=states.count(CommandStatus.PROPOSED),
        failed=states.count(CommandStatus.FAILED) + states.count(CommandStatus.EXPIRED),
        tasks=sum(task.state is not TaskState.DONE for task in document.tasks),
        assignee=_name(", ".join(assignees)),
        detect=document.processing.seconds_to_detect,
        contain=document.processing.seconds_to_contain,
        retro=document.processing.retro,
        body=packed(record.value),
        text=_text(
            document.id,
            document.title,
            document.root,
            *(part.tenant for part in document.tenants),
            *assignees,
            *(finding.component for finding in document.findings),
            *(finding.rule_id for finding in document.findings),
            *(finding.indicator_value for finding in document.findings),
            *(system.system for system in document.systems),
            *(system.component for system in document.systems),
            *document.publishers,
        ),
        parts=tuple(
            PartRow(
                part=part.tenant,
                status=part.status,
                severity=part.score.band.rank,
                assignee=_name(part.assignee),
            )
            for part in document.tenants
        ),
        asked=_asked((view.spec.command_id, view.state) for view in document.commands),
    )


def _alert(record: Record) -> Iterator[Change]:
    if record.value is None:
        return
    alert = _ALERT.decode(record.value)
    more = alert.unmapped
    states = [command.state for command in more.commands]
    assignee = _name(alert.assignee.name) if alert.assignee is not None else ""
    severity = alert.band.rank
    yield CaseRow(
        tenant=alert.tenant,
        id=alert.incident,
        title=alert.finding_info.title,
        root=more.root,
        status=more.status,
        ended=more.status.ended,
        phase=more.phase,
        severity=severity,
        score=alert.risk_score,
        first_seen=alert.start_time,
        changed=record.timestamp_ms,
        systems=more.affected_systems,
        tenants=1,
        owner=alert.tenant,
        waiting=states.count(CommandStatus.PROPOSED),
        failed=states.count(CommandStatus.FAILED) + states.count(CommandStatus.EXPIRED),
        tasks=sum(task.state is not TaskState.DONE for task in more.tasks),
        assignee=assignee,
        detect=alert.detect_seconds,
        contain=None,
        retro=False,
        body=packed(record.value),
        text=_text(
            alert.incident,
            alert.finding_info.title,
            more.root,
            assignee,
            *(evidence.name for evidence in alert.evidences),
            *(resource.name for resource in alert.resources),
        ),
        parts=(
            PartRow(part=alert.tenant, status=more.status, severity=severity, assignee=assignee),
        ),
        asked=_asked((command.command_id, command.state) for command in more.commands),
    )


def _asked(commands: Iterable[tuple[str, CommandStatus]]) -> tuple[AskedRow, ...]:
    return tuple(
        AskedRow(waiting=state is CommandStatus.PROPOSED, command=_name(command))
        for command, state in commands
        if state in _ASKING
    )


def _indicator(record: Record) -> Iterator[Change]:
    if record.value is None:
        return
    ioc = _IOC.decode(record.value)
    yield IndicatorRow(
        tenant=ioc.tenant,
        id=ioc.id,
        key=_name(ioc.indicator.key),
        value=_name(ioc.indicator.value),
        type=ioc.indicator.type,
        kind=ioc.ioc_type,
        severity=ioc.severity.rank,
        confidence=ioc.confidence,
        disposition=ioc.indicator.disposition,
        status=ioc.status,
        component=_name(ioc.component),
        rule=ioc.rule_id,
        tlp=ioc.tlp,
        first_seen=_ms(ioc.first_seen),
        changed=_ms(ioc.modified, _ms(ioc.last_seen)),
        valid_until=_ms(ioc.valid_until),
        prevalence=ioc.prevalence,
        body=packed(record.value),
        text=_text(
            ioc.indicator.key, ioc.indicator.value, ioc.component, ioc.rule_id, ioc.description
        ),
    )


def _observation(record: Record) -> Iterator[Change]:
    if record.value is None:
        return
    decoder = _OBSERVED.get(_TAG.decode(record.value).type)
    if decoder is None:
        return
    match decoder.decode(record.value):
        case Sighting() as seen:
            yield from _sighting(seen)
        case Derived() as made:
            yield _derived(made)
        case SourceSeen() as heard:
            yield _source(heard)


def _source(seen: SourceSeen) -> SourceRow:
    return SourceRow(
        tenant=seen.tenant,
        id=_name(seen.source),
        changed=seen.at_ms,
        ok=seen.at_ms if seen.outcome == SourceOutcome.OK else 0,
        incomplete=seen.at_ms if seen.outcome == SourceOutcome.INCOMPLETE else 0,
        dead=seen.at_ms if seen.outcome == SourceOutcome.DEAD_LETTER else 0,
    )


def _sighting(seen: Sighting) -> Iterator[Change]:
    at = _ms(seen.occurred_at)
    names = [seen.component]
    if seen.name and seen.name != seen.component:
        names.append(seen.name)
    for name in names:
        yield ComponentRow(
            tenant=seen.tenant,
            id=_name(name),
            kind=split_key(name)[0],
            changed=at,
            text=_text(name, seen.name, seen.digest, seen.publisher),
        )
    yield HoldingRow(
        tenant=seen.tenant,
        component=_name(seen.component),
        system=_name(seen.system),
        version=_name(seen.version),
        digest=_name(seen.digest),
        name=_name(seen.name),
        kind=seen.kind,
        exposure=seen.exposure,
        origin=_name(seen.origin),
        publisher=_name(seen.publisher),
        source=_name(seen.source),
        event=_name(seen.event_id),
        first_seen=at,
        changed=at,
    )


def _derived(made: Derived) -> EdgeRow:
    at = _ms(made.occurred_at)
    return EdgeRow(
        tenant=made.tenant,
        parent=_name(made.key),
        parent_version=_name(made.version or made.digest),
        child=_name(made.child),
        child_version=_name(made.child_version or made.child_digest),
        system=_name(made.system),
        first_seen=at,
        changed=at,
    )


def _letter(record: Record, bound: Mapping[str, str]) -> Iterator[Change]:
    letter = read_dead_letter(_AsFetched(record))
    value = letter.value or b""
    yield LetterRow(
        # the tenant of an unreadable record is known only from a bound topic
        tenant=bound.get(letter.source_topic, OPERATOR),
        id=letter.key or _key(record),
        topic=letter.source_topic,
        reason=letter.reason,
        error=letter.error,
        app=letter.app,
        records=letter.records,
        size=letter.truncated_from if letter.truncated_from is not None else len(value),
        whole=letter.truncated_from is None,
        preview=value[:PREVIEW_BYTES],
        changed=record.timestamp_ms,
    )


class _AsFetched:
    """A record under the names that aiokafka gives its parts."""

    def __init__(self, record: Record) -> None:
        self.offset = record.offset
        self.partition = record.partition
        self.timestamp = record.timestamp_ms
        self.headers = record.headers
        self.value = record.value


def _notice(record: Record) -> Iterator[Change]:
    if record.value is None:
        return
    alert = _NOTICE.decode(record.value)
    own = alert.kind in _OF_A_SOURCE and alert.tenant is not None
    yield NoticeRow(
        tenant=(alert.tenant or OPERATOR) if own else OPERATOR,
        id=alert.id,
        kind=alert.kind,
        subject=_name(alert.subject),
        about=_name(alert.tenant),
        detail=alert.detail,
        runbook=alert.runbook,
        since=_ms(alert.since, record.timestamp_ms),
        changed=record.timestamp_ms,
    )


def _hold(record: Record) -> Iterator[Change]:
    tenant, _, component = _key(record).partition("|")
    if record.value is None:
        yield Gone(row=HoldRow, tenant=tenant, id=component)
        return
    view = _HOLD.decode(record.value)
    states = [thing.state for thing in view.things]
    yield HoldRow(
        tenant=view.tenant,
        id=view.component,
        held=states.count(HoldState.HELD),
        proposed=states.count(HoldState.PROPOSED),
        changed=record.timestamp_ms,
        body=packed(record.value),
    )


def _fact(record: Record) -> Iterator[Change]:
    if record.value is None:
        yield Gone(row=FactRow, tenant=OPERATOR, id=_key(record))
        return
    fact = _FACT.decode(record.value)
    yield FactRow(
        tenant=OPERATOR,
        id=fact.key,
        kind=fact.kind,
        summary=_name(fact.summary),
        sources=_name(", ".join(fact.sources)),
        confidence=fact.confidence,
        changed=_ms(fact.modified, record.timestamp_ms),
        body=packed(record.value),
        text=_text(fact.key, fact.summary, *fact.versions, *fact.digests, *fact.sources),
    )


def _policy(record: Record) -> Iterator[Change]:
    if record.value is None:
        yield Gone(row=PolicyRow, tenant=_key(record), id=_key(record))
        return
    policy = _POLICY.decode(record.value)
    yield PolicyRow(
        tenant=policy.tenant,
        id=policy.tenant,
        version=policy.version,
        changed=record.timestamp_ms,
        body=packed(record.value),
    )


class _Tag(msgspec.Struct, frozen=True):
    type: str


_INCIDENT: Final = msgspec.json.Decoder(IncidentDocument)
_ALERT: Final = msgspec.json.Decoder(TenantAlert)
_IOC: Final = msgspec.json.Decoder(SupplyChainIoC)
_TAG: Final = msgspec.json.Decoder(_Tag)
_OBSERVED: Final[Mapping[object, msgspec.json.Decoder[Any]]] = {
    kind.__struct_config__.tag: msgspec.json.Decoder(kind)
    for kind in (Sighting, Derived, SourceSeen)
}
"""Decoders of the observations that the index keeps, by tag."""
_NOTICE: Final = msgspec.json.Decoder(OperatorAlert)
_HOLD: Final = msgspec.json.Decoder(HoldView)
_FACT: Final = msgspec.json.Decoder(IntelFact)
_POLICY: Final = msgspec.json.Decoder(Policy)

_READERS: Final[Mapping[Channel, Callable[[Record], Iterator[Change]]]] = {
    Channel.INCIDENTS: _incident,
    Channel.ALERTS: _alert,
    Channel.IOCS: _indicator,
    Channel.OBSERVATIONS: _observation,
    Channel.OPERATOR_ALERTS: _notice,
    Channel.HOLDS: _hold,
    Channel.INTEL: _fact,
    Channel.POLICY: _policy,
}
READ: Final = (*_READERS, Channel.DEAD_LETTER)
"""The channels that the index is fed from."""

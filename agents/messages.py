"""Builds every record that agents publish: documents, their keys and their CloudEvents headers.

Over 500 lines, since nothing else builds records.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from agents.measures import AlertMeasure, CommandMeasure, ScanMeasure
from agents.ports import Message, Record
from agents.triage.routing import source_notice
from schemas.assessments import Assessment, AssessmentStage
from schemas.canonical import ID_HEX_DIGITS, length_prefixed, stable_id
from schemas.channels import Channel
from schemas.cloudevents import (
    JSON,
    SPECVERSION,
    Header,
    binary_headers,
    constant_headers,
    first_headers,
    milliseconds,
)
from schemas.decisions import Decision
from schemas.documents import ecs, ocsf, openc2, stix
from schemas.events import Event
from schemas.findings import SupplyChainIoC
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.holds import HoldView, hold_key
from schemas.incidents.states import IncidentStatus
from schemas.incidents.views import AlertView, IncidentDocument
from schemas.ledger import OperatorAlert, SourceOutcome
from schemas.severity import Category, Severity, Status, Tlp
from schemas.sharing import may_be_shared, shared_indicators
from schemas.signing import SigningKey
from schemas.version import SOURCE

ASSESSMENT_TYPE: Final = "tidewatch.assessment.v1"
IOC_TYPE: Final = "tidewatch.ioc.v1"
OPERATOR_TYPE: Final = "tidewatch.operator.v1"
DECISION_TYPE: Final = "tidewatch.decision.v1"
OPERATOR: Final = "operator"
"""The tenant of records that only the operator reads."""
CHECKS: Final = f"{SOURCE}/checks"
LEDGER: Final = f"{SOURCE}/ledger"
INCIDENTS: Final = f"{SOURCE}/incidents"
_ENCODER: Final = msgspec.json.Encoder()


@lru_cache(4096)
def _routing(**attributes: str) -> tuple[Header, ...]:
    """Return headers by which a consumer routes a record without reading its value.

    They are extension attributes of CloudEvents: lower-case letters alone. They repeat the value's
    fields, and are not signed.
    """
    return tuple((f"ce_{name}", value.encode()) for name, value in attributes.items() if value)


def assessment_message(assessment: Assessment, time: datetime, source: str = CHECKS) -> Message:
    """Return the record of an assessment, keyed by tenant and subject.

    The record's id is that of its content: a scan that is tried again has the same assessment id.

    Args:
        assessment: The assessment.
        time: When the event occurred.
        source: The part of Tidewatch that made it.
    """
    value = _ENCODER.encode(assessment)
    return Message(
        channel=Channel.ASSESSMENTS,
        key=f"{assessment.tenant}|{assessment.subject}",
        value=value,
        headers=binary_headers(
            id=stable_id("evt", value.decode()),
            type=ASSESSMENT_TYPE,
            source=source,
            time=time,
            tenant=assessment.tenant,
            subject=assessment.subject,
            causation=assessment.event_id,
            extra=_routing(
                status=assessment.overall_status,
                stage=assessment.stage,
                final="true" if assessment.final else "false",
            ),
        ),
        tenant=assessment.tenant,
        measure=ScanMeasure(outcome=assessment.overall_status, seconds=0.0)
        if assessment.stage is AssessmentStage.SCAN
        else None,
    )


_ASSESSMENT_ID: Final = "asm"
_STAGE: Final = length_prefixed(AssessmentStage.EVENT)
_EVENT_ID: Final = length_prefixed("evt")
*_OF_ASSESSMENTS, _OF_JSON = constant_headers(CHECKS, ASSESSMENT_TYPE, JSON)


class _Passing(msgspec.Struct, frozen=True, gc=False):
    """The common fields of the assessments of a subject's events, encoded."""

    key: str
    identified: bytes
    """The beginning of the hashed content of the id."""
    subject: bytes
    """JSON from the tenant to the overall status."""
    source: bytes
    """JSON from the source to the end."""
    tenant_header: Header
    subject_header: Header


@lru_cache(4096)
def _passing(tenant: str, subject: str, source: str) -> _Passing:
    whose, about, of = map(_ENCODER.encode, (tenant, subject, source))
    return _Passing(
        key=f"{tenant}|{subject}",
        identified=b"".join(map(length_prefixed, (_ASSESSMENT_ID, tenant, source))),
        subject=b',"tenant":%b,"subject":%b,"overall_status":"' % (whose, about),
        source=b',"source":%b,"final":true}' % of,
        tenant_header=("ce_tenantid", tenant.encode()),
        subject_header=("ce_subject", subject.encode()),
    )


def passing_message(event: Event[Any], status: Status, checks: bytes) -> Message:
    """Return the record of the final assessment of an event without findings.

    It equals that of `assessment_message`; parts shared by many events are encoded once.

    Args:
        event: What was checked.
        status: The overall status.
        checks: The results of the checks, in JSON.
    """
    common = _passing(event.tenantid, event.subject, event.source)
    named = event.id.encode()
    hashed = common.identified + len(named).to_bytes(4, "big") + named + _STAGE
    value = b"".join(
        (
            b'{"id":"asm-',
            hexlify(sha256(hashed).digest()[: ID_HEX_DIGITS // 2]),
            b'","event_id":',
            _ENCODER.encode(event.id),
            common.subject,
            status.encode(),
            b'","checks":',
            checks,
            common.source,
        )
    )
    of_content = sha256(_EVENT_ID + len(value).to_bytes(4, "big") + value).digest()
    return Message(
        channel=Channel.ASSESSMENTS,
        key=common.key,
        value=value,
        headers=(
            SPECVERSION,
            ("ce_id", b"evt-" + hexlify(of_content[: ID_HEX_DIGITS // 2])),
            *_OF_ASSESSMENTS,
            ("ce_time", milliseconds(_ENCODER.encode(event.time))),
            common.tenant_header,
            common.subject_header,
            ("ce_causationid", named),
            _OF_JSON,
            *_routing(status=status, stage=AssessmentStage.EVENT, final="true"),
        ),
        tenant=event.tenantid,
    )


def indicator_message(ioc: SupplyChainIoC) -> Message:
    """Return the record of an indicator, keyed by it; the id is that of its content."""
    value = _ENCODER.encode(ioc)
    return Message(
        channel=Channel.IOCS,
        key=ioc.indicator.key,
        value=value,
        headers=binary_headers(
            id=stable_id("evt", value.decode()),
            type=IOC_TYPE,
            source=LEDGER,
            time=ioc.last_seen,
            tenant=ioc.tenant,
            subject=ioc.indicator.key,
            causation=ioc.event_id,
            extra=_routing(
                severity=ioc.severity,
                disposition=ioc.indicator.disposition,
                ioctype=ioc.ioc_type,
                category=ioc.category,
                status=ioc.status,
                revision=str(ioc.revision),
            ),
        ),
        tenant=ioc.tenant,
    )


class IndicatorMessages(msgspec.Struct, frozen=True, kw_only=True):
    """Renders an indicator: its record, and further records by the settings."""

    ecs: bool = False
    """Whether to write the ECS document too, on a topic of its own."""
    hygiene: bool = False
    """Whether hygiene indicators go to a topic of their own."""

    def __call__(self, ioc: SupplyChainIoC) -> Iterator[Message]:
        """Yield the records of an indicator."""
        record = indicator_message(ioc)
        apart = self.hygiene and ioc.category is Category.HYGIENE
        yield msgspec.structs.replace(record, channel=Channel.HYGIENE) if apart else record
        if self.ecs:
            document = _ENCODER.encode(ecs.indicator_document(ioc))
            yield msgspec.structs.replace(
                record, channel=Channel.IOCS_ECS, value=document, tenant=None
            )


RECORD_ALONE: Final = IndicatorMessages()


def operator_message(alert: OperatorAlert, source: str) -> Message:
    """Return the record of an operator alert, keyed by its subject.

    Args:
        alert: The alert; it names its tenant, if it is about one.
        source: The part of Tidewatch that made it.
    """
    return Message(
        channel=Channel.OPERATOR_ALERTS,
        key=alert.subject,
        value=_ENCODER.encode(alert),
        headers=binary_headers(
            id=alert.id,
            type=OPERATOR_TYPE,
            source=source,
            time=alert.since,
            tenant=OPERATOR,
            subject=alert.subject,
            extra=_routing(kind=alert.kind),
        ),
    )


def decision_message(decision: Decision, key: SigningKey) -> Message:
    """Return the signed record of a decision, keyed by its incident.

    Args:
        decision: The decision.
        key: The decider's key.
    """
    value = _ENCODER.encode(decision)
    headers = binary_headers(
        id=decision.id,
        type=DECISION_TYPE,
        source=f"{SOURCE}/actor/{decision.actor}",
        time=decision.time,
        tenant=decision.tenant or OPERATOR,
        correlation=decision.incident,
    )
    return Message(
        channel=Channel.DECISIONS,
        key=decision.incident,
        value=value,
        headers=(*headers, key.sign(headers, value)),
    )


ALERT_TYPE: Final = "tidewatch.alert.v1"
INCIDENT_TYPE: Final = "tidewatch.incident.v1"
HOLD_TYPE: Final = "tidewatch.hold.v1"
AUDIT_TYPE: Final = "tidewatch.containment.audit.v1"
SHARED_FROM: Final = Severity.HIGH
"""Findings of at least this severity are shared with partners, once the incident is contained."""


@lru_cache(256)
def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _wrong_rule(view: AlertView) -> str:
    """Return the rule of an alert's leading finding; empty if it has none."""
    lead = ocsf.lead_finding(view)
    return lead.rule_id if lead is not None else ""


class StandardDocuments:
    """OCSF alerts, signed OpenC2 commands, STIX to share; ECS siblings on request."""

    def __init__(
        self, key: SigningKey, *, with_ecs: bool = False, tlp: Tlp = Tlp.AMBER, k: int = 3
    ) -> None:
        """Set how documents are built.

        Args:
            key: Signs commands.
            with_ecs: Also write ECS alerts.
            tlp: The marking of shared documents.
            k: The least number of tenants that is shared with partners.
        """
        self._key = key
        self._ecs = with_ecs
        self._tlp = tlp
        self._k = k

    def alert(self, view: AlertView, at_ms: int) -> Iterator[Message]:
        """Yield the records of a tenant's alert; `at_ms` is the broker's time that led to it."""
        lead = ocsf.lead_finding(view)
        headers = binary_headers(
            id=stable_id("evt", view.id, view.activity, str(at_ms)),
            type=ALERT_TYPE,
            source=INCIDENTS,
            time=_time(at_ms),
            tenant=view.tenant,
            subject=view.id,
            correlation=view.incident,
            extra=_routing(
                severity=view.score.band,
                status=view.status,
                activity=view.activity,
                ioctype=lead.ioc_type if lead is not None else "",
            ),
        )
        key = f"{view.incident}|{view.tenant}"
        yield Message(
            channel=Channel.ALERTS,
            key=key,
            value=msgspec.json.encode(ocsf.detection_finding(view)),
            headers=headers,
            tenant=view.tenant,
            measure=AlertMeasure(
                action=view.activity,
                false_positive=_wrong_rule(view)
                if view.status == IncidentStatus.FALSE_POSITIVE
                else None,
            ),
        )
        if self._ecs:
            yield Message(
                channel=Channel.ALERTS_ECS,
                key=key,
                value=msgspec.json.encode(ecs.alert_document(view)),
                headers=headers,
            )

    def incident(self, document: IncidentDocument, at_ms: int) -> Iterator[Message]:
        """Yield the operator's record and the bundle for partners."""
        yield Message(
            channel=Channel.INCIDENTS,
            key=document.id,
            value=msgspec.json.encode(document),
            headers=binary_headers(
                id=stable_id("evt", document.id, document.status, str(at_ms)),
                type=INCIDENT_TYPE,
                source=INCIDENTS,
                time=_time(at_ms),
                tenant=OPERATOR,
                subject=document.root,
                correlation=document.id,
            ),
        )
        yield from self._shared(document)

    def _shared(self, document: IncidentDocument) -> Iterator[Message]:
        if not may_be_shared(document, self._k):
            return
        for shared in shared_indicators(document, self._k):
            if shared.severity.rank < SHARED_FROM.rank:
                continue
            value = stix.indicator_bundle([shared], tlp=self._tlp)
            yield Message(
                channel=Channel.INTEL_SHARE,
                key=shared.key,
                value=value,
                headers=binary_headers(
                    id=stable_id("shr", shared.key, value.decode()),
                    type=stix.SHARE_TYPE,
                    source=INCIDENTS,
                    time=shared.last_seen,
                    tenant=OPERATOR,
                    subject=shared.key,
                    content_type=stix.CONTENT_TYPE,
                ),
            )

    def command(self, spec: CommandSpec, at_ms: int, *, proposal: bool) -> Iterator[Message]:
        """Yield the signed record of a command, or of a proposal that no one carries out."""
        value = msgspec.json.encode(openc2.command_document(spec))
        headers = binary_headers(
            id=stable_id("cmd", spec.command_id, str(spec.attempt), spec.mode),
            type=openc2.PROPOSAL_TYPE if proposal else openc2.COMMAND_TYPE,
            source=INCIDENTS,
            time=_time(at_ms),
            tenant=spec.tenant,
            subject=spec.target,
            content_type=openc2.CONTENT_TYPE,
            correlation=spec.incident,
            extra=_routing(action=spec.action, mode=spec.mode),
        )
        yield Message(
            channel=Channel.CONTAINMENT_PROPOSALS if proposal else Channel.CONTAINMENT_COMMANDS,
            key=_command_key(spec),
            value=value,
            headers=(*headers, self._key.sign(headers, value)),
            tenant=None if proposal else spec.tenant,
            measure=CommandMeasure(action=spec.action, mode=spec.mode),
        )

    def hold(self, view: HoldView, at_ms: int) -> Iterator[Message]:
        """Yield the record of all holds of a component; a tombstone once there are none."""
        value = msgspec.json.encode(view) if view.things else None
        yield Message(
            channel=Channel.HOLDS,
            key=hold_key(view.tenant, view.component),
            value=value,
            headers=binary_headers(
                id=stable_id("hld", view.tenant, view.component, (value or b"").decode()),
                type=HOLD_TYPE,
                source=INCIDENTS,
                time=_time(at_ms),
                tenant=OPERATOR,
                subject=view.component,
            ),
        )

    def audit(self, view: CommandView, at_ms: int) -> Iterator[Message]:
        """Yield the audit record of a command's result, answered at `at_ms`."""
        yield audit_message(view, at_ms)


def _command_key(spec: CommandSpec) -> str:
    return hold_key(spec.tenant, spec.hold) if spec.hold else f"{spec.incident}|{spec.tenant}"


def audit_message(view: CommandView, at_ms: int) -> Message:
    """Return the audit record of a command's result."""
    document = ocsf.remediation_activity(view, _time(at_ms))
    return Message(
        channel=Channel.CONTAINMENT_AUDIT,
        key=_command_key(view.spec),
        value=msgspec.json.encode(document),
        headers=binary_headers(
            id=stable_id("aud", document["metadata"]["uid"]),
            type=AUDIT_TYPE,
            source=INCIDENTS,
            time=_time(at_ms),
            tenant=view.spec.tenant,
            subject=view.spec.command_id,
            correlation=view.spec.incident,
        ),
    )


NAME_LIMIT: Final = 200
UNKNOWN: Final = "unknown"


class _Names(msgspec.Struct, frozen=True):
    tenantid: Any = None
    source: Any = None


_DECODER: Final = msgspec.json.Decoder(_Names)


def _named(record: Record) -> tuple[str, str]:
    headers = first_headers(record.headers)
    tenant = headers.get("ce_tenantid", b"").decode("utf-8", "replace")
    source = headers.get("ce_source", b"").decode("utf-8", "replace")
    if not tenant or not source:
        try:
            names = _DECODER.decode(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            names = _Names()
        tenant = tenant or (names.tenantid if isinstance(names.tenantid, str) else "")
        source = source or (names.source if isinstance(names.source, str) else "")
    if not tenant:
        key = (record.key or b"").decode("utf-8", "replace")
        tenant = key.partition("|")[0]
    return tenant[:NAME_LIMIT] or UNKNOWN, source[:NAME_LIMIT] or UNKNOWN


def refusal_message(record: Record) -> Message:
    """Return the notice that a source's record became a dead letter, for source health.

    The origin that the record claims is used for nothing else.
    """
    tenant, source = _named(record)
    return source_notice(
        tenant=tenant,
        source=source,
        event_id=stable_id("dlq", record.topic, str(record.partition), str(record.offset)),
        at_ms=record.timestamp_ms,
        outcome=SourceOutcome.DEAD_LETTER,
    )

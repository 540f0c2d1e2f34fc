"""Reads records of alerts, operator alerts and proposals as notices for people."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.messages import OPERATOR
from agents.notification.config import ALERT, OPERATOR_ALERT, PROPOSAL
from agents.ports import Record
from schemas import dead_letters as reasons
from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.cloudevents import first_headers
from schemas.documents import openc2
from schemas.errors import UnreadableRecordError
from schemas.incidents.states import CommandStatus, Mode
from schemas.ledger import OperatorAlert
from schemas.notifications import Proposed, Standing
from schemas.severity import Severity

READS: Final = (Channel.ALERTS, Channel.OPERATOR_ALERTS, Channel.CONTAINMENT_PROPOSALS)
"""The channels that people are notified of."""
ENDED: Final = frozenset({"closed", "false-positive", "withdrawn", "suppressed"})
_BY_PERSON: Final = frozenset({"acknowledged"}) | ENDED
"""Statuses of alerts that a person, or the source itself, has handled. Containment that Tidewatch
did by itself is not among them.
"""
_OPERATOR: Final = {
    "source-silent": Severity.MEDIUM,
    "source-recovered": Severity.INFORMATIONAL,
    "incomplete-share": Severity.MEDIUM,
    "dead-letters": Severity.MEDIUM,
    "over-correlating": Severity.LOW,
    "baseline-recorded": Severity.LOW,
    "bound-reached": Severity.MEDIUM,
    "records-gone": Severity.HIGH,
    "foreign-key": Severity.HIGH,
    "replayed-fact": Severity.HIGH,
    "topic-paused": Severity.HIGH,
    "topic-unreadable": Severity.HIGH,
    "escalation": Severity.HIGH,
}
"""How severe an operator alert is, by its kind; another one is medium."""
_ENDS: Final = {"source-recovered": "source-silent"}
"""Kinds of operator alert, each with the kind that it ends."""
_KEPT: Final = 600
"""Most characters kept of a text."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a record that concerns people."""

    kind: str
    """alert, proposal or operator-alert."""
    tenant: str | None
    subject: str
    """Its subject: the incident, or the kind and subject of an operator alert."""
    incident: str | None = None
    severity: Severity | None = None
    """None for a proposal, which has that of its incident."""
    standing: Standing | None = None
    proposed: Proposed | None = None
    settled: frozenset[str] = frozenset()
    """For an alert: ids of commands that no longer wait for a decision."""


class _Metadata(msgspec.Struct, frozen=True):
    tenant_uid: str
    correlation_uid: str


class _Info(msgspec.Struct, frozen=True):
    title: str


class _Assignee(msgspec.Struct, frozen=True):
    name: str = ""


class _Command(msgspec.Struct, frozen=True):
    command_id: str = ""
    mode: str = ""
    state: str = ""


class _Unmapped(msgspec.Struct, frozen=True):
    next_action: str = ""
    affected_systems: int = 0
    commands: tuple[_Command, ...] = ()


class _Alert(msgspec.Struct, frozen=True):
    """The part of an OCSF Detection Finding that is sent."""

    metadata: _Metadata
    finding_info: _Info
    severity_id: int
    status_detail: str
    message: str = ""
    risk_score: int | None = None
    assignee: _Assignee | None = None
    unmapped: _Unmapped = _Unmapped()


_ALERTS: Final = msgspec.json.Decoder(_Alert)
_OPERATOR_ALERTS: Final = msgspec.json.Decoder(OperatorAlert)
_SEVERITIES: Final = tuple(Severity)


def read_notice(channel: Channel, record: Record, max_bytes: int) -> Notice:
    """Return the notice of a record.

    Args:
        channel: The channel it was read from, one of `READS`.
        record: The record on the broker.
        max_bytes: The largest accepted value.

    Raises:
        UnreadableRecordError: It is not a record of its channel, or its tenant is inconsistent.
    """
    if record.value is None:
        raise UnreadableRecordError(reasons.NULL_VALUE, "the record has no value")
    if len(record.value) > max_bytes:
        raise UnreadableRecordError(reasons.TOO_LARGE, f"{len(record.value)} bytes")
    tenant = first_headers(record.headers).get("ce_tenantid", b"").decode("utf-8", "replace")
    try:
        if channel is Channel.ALERTS:
            return _alert(record, tenant)
        if channel is Channel.OPERATOR_ALERTS:
            return _operator_alert(record, tenant)
        return _proposal(record, tenant)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRecordError(reasons.INVALID_EVENT, str(error)) from error
    except openc2.InvalidCommandError as error:
        raise UnreadableRecordError(reasons.INVALID_EVENT, error.what) from error


def _alert(record: Record, tenant: str) -> Notice:
    alert = _ALERTS.decode(record.value or b"")
    _check_tenant(alert.metadata.tenant_uid, tenant)
    incident = alert.metadata.correlation_uid
    severity = _SEVERITIES[max(0, min(alert.severity_id - 1, len(_SEVERITIES) - 1))]
    status = alert.status_detail
    assignee = alert.assignee.name if alert.assignee is not None else ""
    decided = any(
        command.mode == Mode.APPROVED or command.state == CommandStatus.REJECTED
        for command in alert.unmapped.commands
    )
    return Notice(
        kind=ALERT,
        tenant=tenant,
        subject=incident,
        incident=incident,
        severity=severity,
        standing=_with_digest(
            Standing(
                revision=(record.timestamp_ms, record.offset),
                digest="",
                title=alert.finding_info.title[:_KEPT],
                why=alert.message[:_KEPT],
                severity=severity,
                status=status[:_KEPT],
                next_action=alert.unmapped.next_action[:_KEPT],
                assignee=assignee[:_KEPT] or None,
                systems=alert.unmapped.affected_systems,
                score=alert.risk_score,
                ended=status in ENDED,
                acknowledged=status in _BY_PERSON or bool(assignee) or decided,
            )
        ),
        settled=frozenset(
            command.command_id
            for command in alert.unmapped.commands
            if command.state not in {"proposed", "advised"}
        ),
    )


def _operator_alert(record: Record, tenant: str) -> Notice:
    alert = _OPERATOR_ALERTS.decode(record.value or b"")
    _check_tenant(OPERATOR, tenant)
    severity = _OPERATOR.get(alert.kind, Severity.MEDIUM)
    whose = f" (tenant {alert.tenant})" if alert.tenant else ""
    return Notice(
        kind=OPERATOR_ALERT,
        tenant=None,
        subject=f"{_ENDS.get(alert.kind, alert.kind)}:{alert.subject}",
        severity=severity,
        standing=_with_digest(
            Standing(
                revision=(record.timestamp_ms, record.offset),
                digest="",
                title=f"{alert.kind.replace('-', ' ')}: {alert.subject}{whose}"[:_KEPT],
                why=alert.detail[:_KEPT],
                severity=severity,
                status=alert.kind[:_KEPT],
                next_action=alert.runbook[:_KEPT],
                ended=alert.kind in _ENDS,
            ),
            alert.id,
        ),
    )


def _proposal(record: Record, tenant: str) -> Notice:
    spec = openc2.read_command(record.value or b"")
    _check_tenant(spec.tenant, tenant)
    return Notice(
        kind=PROPOSAL,
        tenant=tenant,
        subject=spec.incident,
        incident=spec.incident,
        proposed=Proposed(
            command_id=spec.command_id,
            attempt=spec.attempt,
            action=spec.action,
            target=spec.target[:_KEPT],
            mode=spec.mode,
            reason=spec.reason[:_KEPT],
            expires=spec.expires,
        ),
    )


def _with_digest(standing: Standing, identity: str = "") -> Standing:
    """Return a standing with the digest of its readable content; a score alone is not news."""
    unscored = msgspec.structs.replace(standing, revision=(0, 0), score=None)
    digest = stable_id("std", identity, msgspec.json.encode(unscored, order="sorted").decode())
    return msgspec.structs.replace(standing, digest=digest)


def _check_tenant(said: str, header: str) -> None:
    if said != header or not header:
        raise UnreadableRecordError(
            reasons.TENANT_MISMATCH, "it names a tenant other than its record's"
        )

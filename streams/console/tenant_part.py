"""Builds the part of an incident that one tenant may read, in the form of the operator's record.

The base is the tenant's own alert, which names no other tenant. The operator's record adds what it
labels as that tenant's: answers to its commands, the texts of its tasks, entries of its timeline.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from agents.triage.incidents.timeline import in_order
from schemas.basis import Basis, BasisKind
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.states import (
    Action,
    CommandStatus,
    IncidentStatus,
    Mode,
    Occurrence,
    Pattern,
    Phase,
    TargetType,
    TaskKind,
    TaskState,
)
from schemas.incidents.views import (
    FindingView,
    IncidentDocument,
    ProcessingTimes,
    Score,
    ScoreTerm,
    SystemView,
    TaskView,
    TenantPart,
    TimelineEntry,
)
from schemas.purl import component_purl
from schemas.severity import ExposureLevel, Severity

_ADDED: Final = frozenset(
    {
        "rule_id",
        "ioc_type",
        "severity",
        "confidence",
        "description",
        "remediation",
        "basis",
        "known_by",
        "advice",
    }
)
"""The fields of an alert's evidence that are not the finding's own."""
_OWN_ENTRIES: Final = frozenset(
    {
        Occurrence.DECIDED,
        Occurrence.COMMANDED,
        Occurrence.RESULT,
        Occurrence.RECOVERED,
        Occurrence.WITHDRAWN,
    }
)
"""Entries of a timeline that read the same for the operator and for their tenant.

Findings and exposures are taken from the alert.
"""


class _Metadata(msgspec.Struct, frozen=True):
    uid: str
    tenant_uid: str
    correlation_uid: str
    processed_time: int | None = None


class _FindingInfo(msgspec.Struct, frozen=True):
    title: str
    attacks: tuple[dict[str, Any], ...] = ()


class _Assignee(msgspec.Struct, frozen=True):
    name: str


class _Evidence(msgspec.Struct, frozen=True):
    uid: str
    name: str
    data: dict[str, Any] = {}


class _Resource(msgspec.Struct, frozen=True):
    uid: str
    name: str = ""
    type: str = ""
    version: str | None = None
    labels: tuple[str, ...] = ()
    data: dict[str, Any] = {}


class _Command(msgspec.Struct, frozen=True):
    command_id: str
    action: Action
    target: str
    mode: Mode
    state: CommandStatus


class _Task(msgspec.Struct, frozen=True):
    id: str
    system: str
    kind: TaskKind
    state: TaskState


class _Unmapped(msgspec.Struct, frozen=True):
    root: str
    status: IncidentStatus
    phase: Phase
    pattern: Pattern
    pattern_why: str
    affected_systems: int
    next_action: str = ""
    ssdf: tuple[str, ...] = ()
    score: tuple[ScoreTerm, ...] = ()
    related_incidents: tuple[str, ...] = ()
    commands: tuple[_Command, ...] = ()
    tasks: tuple[_Task, ...] = ()
    truncated: tuple[str, ...] = ()


class TenantAlert(msgspec.Struct, frozen=True):
    """The part of an OCSF alert that the console reads."""

    metadata: _Metadata
    severity: str
    risk_score: int
    start_time: int
    time: int
    finding_info: _FindingInfo
    unmapped: _Unmapped
    message: str = ""
    evidences: tuple[_Evidence, ...] = ()
    resources: tuple[_Resource, ...] = ()
    assignee: _Assignee | None = None

    @property
    def incident(self) -> str:
        """The incident it is a part of."""
        return self.metadata.correlation_uid

    @property
    def tenant(self) -> str:
        """The tenant of the alert."""
        return self.metadata.tenant_uid

    @property
    def band(self) -> Severity:
        """How severe it is for the tenant."""
        return Severity(self.severity.lower())

    @property
    def detect_seconds(self) -> float | None:
        """From the first occurrence in this tenant to its detection; None: not known."""
        detected = self.metadata.processed_time
        return None if detected is None else max(0.0, (detected - self.start_time) / 1000)


def tenant_document(alert: TenantAlert, whole: IncidentDocument | None) -> IncidentDocument:
    """Return one tenant's part of an incident as a record that reports are made from.

    Args:
        alert: The tenant's alert, as last published.
        whole: The operator's record of the incident; None if it was not read yet.
    """
    more = alert.unmapped
    tenant = alert.tenant
    score = Score(value=alert.risk_score, band=alert.band, terms=more.score)
    first_seen = _time(alert.start_time)
    findings = tuple(_findings(alert, whole))
    systems = tuple(_systems(alert))
    return IncidentDocument(
        id=alert.incident,
        root=more.root,
        title=alert.finding_info.title,
        status=more.status,
        phase=more.phase,
        score=score,
        pattern=more.pattern,
        pattern_why=more.pattern_why,
        tenants=(
            TenantPart(
                tenant=tenant,
                score=score,
                status=more.status,
                systems=more.affected_systems,
                assignee=alert.assignee.name if alert.assignee is not None else None,
            ),
        ),
        tenant_count=1,
        findings=findings,
        systems=systems,
        system_count=more.affected_systems,
        timeline=tuple(_timeline(tenant, findings, systems, whole)),
        commands=tuple(_commands(alert, whole)),
        tasks=tuple(_tasks(alert, whole)),
        related=more.related_incidents,
        techniques=tuple(_techniques(alert)),
        ssdf=more.ssdf,
        next_action=more.next_action,
        first_seen=first_seen,
        truncated=more.truncated,
        processing=ProcessingTimes(
            detected_at=(
                _time(alert.metadata.processed_time)
                if alert.metadata.processed_time is not None
                else None
            ),
            seconds_to_detect=alert.detect_seconds,
        ),
    )


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _techniques(alert: TenantAlert) -> list[str]:
    found = []
    for attack in alert.finding_info.attacks:
        named = attack.get("sub_technique") or attack.get("technique") or {}
        if isinstance(named, dict) and isinstance(named.get("uid"), str):
            found.append(named["uid"])
    return found


def _findings(alert: TenantAlert, whole: IncidentDocument | None) -> list[FindingView]:
    """Return the alert's findings; only the operator's record shows whether each still holds."""
    known = {view.id: view for view in whole.findings} if whole is not None else {}
    named = {resource.uid for resource in alert.resources if resource.type != "system"}
    found = []
    for evidence in alert.evidences:
        data = evidence.data
        other = known.get(evidence.uid)
        # the operator's record may name a component of another tenant: only what the alert lists
        own = other is not None and component_purl(other.component, other.version) in named
        found.append(
            FindingView(
                id=evidence.uid,
                rule_id=evidence.name,
                ioc_type=str(data.get("ioc_type", "")),
                severity=_severity(data.get("severity")),
                confidence=_number(data.get("confidence")),
                description=str(data.get("description", "")),
                indicator_key=other.indicator_key if other is not None and own else "",
                indicator_type=other.indicator_type if other is not None and own else "",
                indicator_value=other.indicator_value if other is not None and own else "",
                component=other.component if other is not None and own else alert.unmapped.root,
                evidence={name: value for name, value in data.items() if name not in _ADDED},
                version=other.version if other is not None and own else None,
                remediation=str(data.get("remediation", "")),
                occurred_at=(
                    other.occurred_at if other is not None and own else _time(alert.start_time)
                ),
                active=other.active if other is not None else True,
                basis=_basis(data.get("basis")),
                known_by=str(data.get("known_by", "")),
                advice=data.get("advice") is True,
            )
        )
    return found


def _severity(value: object) -> Severity:
    return Severity(value) if isinstance(value, str) and value in set(Severity) else Severity.MEDIUM


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _basis(value: object) -> Basis | None:
    if not isinstance(value, str) or value not in set(BasisKind):
        return None
    return Basis(kind=BasisKind(value))


def _systems(alert: TenantAlert) -> list[SystemView]:
    found = []
    for resource in alert.resources:
        if resource.type != "system":
            continue
        labels = dict(label.split(":", 1) for label in resource.labels if ":" in label)
        since = resource.data.get("since")
        path = resource.data.get("path")
        digest = resource.data.get("digest")
        found.append(
            SystemView(
                tenant=alert.tenant,
                system=resource.name,
                component=labels.get("component", alert.unmapped.root),
                exposure=ExposureLevel(labels.get("exposure", ExposureLevel.DELIVERED)),
                since=_time(since if isinstance(since, int) else alert.start_time),
                digest=digest if isinstance(digest, str) else None,
                path=tuple(map(str, path)) if isinstance(path, list) else (),
            )
        )
    return found


def _commands(alert: TenantAlert, whole: IncidentDocument | None) -> list[CommandView]:
    """Return the alert's commands, with their state in the operator's record."""
    known = {
        view.spec.command_id: view
        for view in (whole.commands if whole is not None else ())
        if view.spec.tenant == alert.tenant
    }
    return [
        known.get(command.command_id)
        or CommandView(
            spec=CommandSpec(
                command_id=command.command_id,
                incident=alert.incident,
                tenant=alert.tenant,
                action=command.action,
                target=command.target,
                target_type=TargetType.COMPONENT,
                reason="",
                mode=command.mode,
            ),
            state=command.state,
        )
        for command in alert.unmapped.commands
    ]


def _tasks(alert: TenantAlert, whole: IncidentDocument | None) -> list[TaskView]:
    known = {
        view.id: view
        for view in (whole.tasks if whole is not None else ())
        if view.tenant == alert.tenant
    }
    return [
        known.get(task.id)
        or TaskView(
            id=task.id,
            tenant=alert.tenant,
            system=task.system,
            component="",
            kind=task.kind,
            state=task.state,
            text=f"{task.kind} on {task.system}",
        )
        for task in alert.unmapped.tasks
    ]


def _timeline(
    tenant: str,
    findings: tuple[FindingView, ...],
    systems: tuple[SystemView, ...],
    whole: IncidentDocument | None,
) -> list[TimelineEntry]:
    entries = [
        TimelineEntry(
            at=view.occurred_at,
            what=Occurrence.FOUND,
            text=view.description,
            tenant=tenant,
            ref=view.id,
        )
        for view in findings
    ]
    entries += [
        TimelineEntry(
            at=system.since,
            what=Occurrence.EXPOSED,
            text=f"{system.system} has {system.component} ({system.exposure})",
            tenant=tenant,
            system=system.system,
        )
        for system in systems
    ]
    entries += [
        entry
        for entry in (whole.timeline if whole is not None else ())
        if entry.tenant == tenant and entry.what in _OWN_ENTRIES
    ]
    return sorted(entries, key=in_order)

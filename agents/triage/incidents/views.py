"""Renders one tenant's view of an incident: the alert of its own part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import msgspec

from agents.domain.basis import basis_of, is_advice, known_by
from agents.triage.containment import evidence_paths
from agents.triage.incidents.advice import WHY
from agents.triage.incidents.command_views import LISTED, command_views, most_important
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.naming import title_of
from agents.triage.incidents.rows import ActionsRow
from agents.triage.incidents.tenant_state import (
    TenantState,
    alert_id,
    bucket,
    known_tenants,
    phase_of,
    readable_root,
)
from agents.triage.incidents.timeline import bounded, in_stable_order, timeline_entries
from agents.triage.ledger.rows import from_ms
from schemas.basis import BasisKind
from schemas.canonical import stable_id
from schemas.counting import counted
from schemas.decisions import DecisionKind
from schemas.findings import Finding
from schemas.incidents.commands import CommandView
from schemas.incidents.states import (
    Activity,
    CommandStatus,
    IncidentStatus,
    Pattern,
    TaskKind,
    TaskState,
)
from schemas.incidents.views import (
    AlertView,
    FindingView,
    IncidentDocument,
    ProcessingTimes,
    SystemView,
)
from schemas.severity import ExposureLevel

EVENT_IDS: Final = 32


def finding_view(
    finding: Finding,
    *,
    active: bool,
    reader: str | None = None,
    made_from: bool = False,
    operator: bool = False,
) -> FindingView:
    """Return a finding as documents show it.

    Args:
        finding: The finding.
        active: Whether it still holds.
        reader: The reading tenant; None: its own.
        made_from: Whether the reader's component is only made from the finding's.
        operator: Whether the operator reads it: claims then name their tenant.
    """
    tenant = finding.tenant if reader is None else reader
    read = finding
    if tenant != finding.tenant:
        read = msgspec.structs.replace(finding, tenant=tenant)
    basis = basis_of(read)
    how = known_by(basis, tenant)
    if operator and basis.kind is BasisKind.CLAIMED and basis.tenant:
        how = f"{basis.tenant}'s own events"
    if made_from and not basis.via:
        how += "; your own events report the lineage"
    return FindingView(
        id=finding.id,
        rule_id=finding.rule_id,
        ioc_type=finding.ioc_type,
        severity=finding.severity,
        confidence=finding.confidence,
        description=finding.description,
        indicator_key=finding.indicator.key,
        indicator_type=finding.indicator.type,
        indicator_value=finding.indicator.value,
        component=finding.component,
        evidence=finding.evidence,
        version=finding.version,
        mitre_atlas_id=finding.mitre_atlas_id,
        techniques=finding.techniques,
        ssdf=finding.ssdf,
        remediation=finding.remediation,
        publisher=finding.publisher,
        event_id=finding.event_id,
        source=finding.source,
        occurred_at=finding.occurred_at,
        active=active,
        basis=finding.basis,
        known_by=how,
        advice=is_advice(read),
    )


def alert_view(case: IncidentRows, tenant_state: TenantState) -> AlertView:
    """Return one tenant's view of the incident.

    Everything in it is the tenant's own, is known of the component itself independently of other
    tenants, is advice from others' claims, or is a count of tenants that reached a threshold of at
    least three.
    """
    own = [finding_view(group.finding, active=holds) for group, holds in tenant_state.own]
    since = min((system.since for system in tenant_state.systems), default=from_ms(0))
    findings = (*own, *_shared_views(tenant_state, since))
    worst = worst_of(findings)
    others = 1 if tenant_state.advisory else known_tenants(case, tenant_state.tenant)
    related = tuple(
        sorted(
            other
            for other, _, tenants in case.core.related.values()
            if tenant_state.tenant in tenants
        )
    )
    systems = listed_systems(tenant_state.systems, LISTED)
    count = count_systems(tenant_state)
    pattern, why = _pattern(others, tenant_state, related)
    commands = command_views(case, tenant_state)
    listed = most_important(tenant_state, commands)
    events = {
        *(view.event_id for view in own if view.event_id),
        *(entry.event_id for entry in tenant_state.entries),
    }
    status = tenant_state.status
    root = readable_root(case.core.root, tenant_state.tenant)
    return AlertView(
        id=alert_id(case.incident, tenant_state.tenant),
        incident=case.incident,
        tenant=tenant_state.tenant,
        activity=activities(tenant_state.actions, status)[-1],
        status=status,
        phase=phase_of(tenant_state),
        title=title_of(worst, root, tenant_state.systems),
        message=_message(worst, tenant_state, count),
        score=tenant_state.score,
        pattern=pattern,
        pattern_why=why,
        other_tenants=others if others > 1 else None,
        root=root,
        findings=findings,
        systems=systems,
        system_count=bucket(count, LISTED),
        timeline=bounded(timeline_entries(tenant_state, findings, listed)),
        commands=listed,
        tasks=tuple(tenant_state.tasks[:LISTED]),
        techniques=union(view.techniques for view in findings if view.active),
        ssdf=union(view.ssdf for view in findings if view.active),
        next_action=next_action_of(tenant_state, commands, worst),
        runbook=tuple(dict.fromkeys(view.remediation for view in findings if view.remediation)),
        related=related,
        assignee=assignee_of(tenant_state),
        first_seen=min((view.occurred_at for view in findings), default=since),
        correlation_ids=tuple(sorted(events)[:EVENT_IDS]),
        truncated=truncated_parts(tenant_state, len(commands)),
        processing=processing_times(tenant_state),
    )


def _shared_views(tenant_state: TenantState, since: datetime) -> list[FindingView]:
    """Return findings of others as the tenant reads them, dated by its first system."""
    return [
        finding_view(
            msgspec.structs.replace(finding, occurred_at=since),
            active=True,
            reader=tenant_state.tenant,
            made_from=all(system.path for system in tenant_state.systems),
        )
        for finding in tenant_state.shared
    ]


def activities(row: ActionsRow, status: IncidentStatus) -> tuple[Activity, ...]:
    """Return the activities of an alert's next records: usually one.

    The first record of an alert creates it, whatever its status. It is closed each time it ends;
    changes of a closed alert update it, and so does reopening it.

    Args:
        row: What was published of the alert.
        status: Its status now.

    Source: OCSF 1.7, Detection Finding, `activity_id`: 1 Create, 2 Update, 3 Close.
    """
    was_ended = bool(row.published_status) and IncidentStatus(row.published_status).ended
    turn = Activity.CLOSE if status.ended and not was_ended else Activity.UPDATE
    if row.published:
        return (turn,)
    return (Activity.CREATE, Activity.CLOSE) if status.ended else (Activity.CREATE,)


def truncated_parts(tenant_state: TenantState, commands: int) -> tuple[str, ...]:
    """Return the parts that reached their bound, `over-commanding` where not all are issued."""
    parts = []
    if tenant_state.actions.full:
        parts.append("over-commanding")
    if any(
        len(evidence_paths(tenant_state.policy, system.system))
        < len(tenant_state.policy.evidence[system.system])
        for system in tenant_state.systems
        if system.system in tenant_state.policy.evidence
    ):
        parts.append("evidence paths")
    if commands > LISTED:
        parts.append("commands")
    if tenant_state.findings.full:
        parts.append("findings")
    if tenant_state.systems_row.full or len(tenant_state.systems) > LISTED:
        parts.append("systems")
    if len(tenant_state.tasks) > LISTED:
        parts.append("tasks")
    return tuple(parts)


def worst_of(findings: Sequence[FindingView]) -> FindingView | None:
    """Return the worst of the active findings, else the worst of all."""
    holding = [view for view in findings if view.active] or list(findings)
    return min(
        holding,
        key=lambda view: (-view.severity.rank, -view.confidence, view.rule_id),
        default=None,
    )


def listed_systems(systems: Sequence[SystemView], limit: int) -> tuple[SystemView, ...]:
    """Return the most exposed systems in the given order: no number of others hides them.

    Each tenant's most exposed comes before any tenant's second.

    Args:
        systems: All of them.
        limit: How many to return at most.
    """
    if len(systems) <= limit:
        return tuple(systems)
    numbers = sorted(range(len(systems)), key=lambda number: -systems[number].exposure.rank)
    of_tenant: Counter[str] = Counter()
    turns: list[tuple[int, int]] = []
    for number in numbers:
        tenant = systems[number].tenant
        turns.append((of_tenant[tenant], number))
        of_tenant[tenant] += 1
    turns.sort(key=lambda turn: turn[0])
    return tuple(systems[number] for number in sorted(number for _, number in turns[:limit]))


def count_systems(part: TenantState) -> int:
    """Return how many systems a part reaches, estimated if not all are kept."""
    count = len({system.system for system in part.systems})
    return max(count, part.systems_row.tally.count()) if part.systems_row.full else count


def _message(worst: FindingView | None, tenant_state: TenantState, count: int) -> str:
    systems = bucket(count, LISTED)
    reach = {0: "No system is known to hold it", 1: "One system is affected"}.get(
        systems, f"{counted(systems, 'system')} are affected"
    )
    exposure = max(
        (system.exposure for system in tenant_state.systems),
        key=attrgetter("rank"),
        default=ExposureLevel.STAGED,
    )
    what = "The finding was withdrawn"
    if worst is not None:
        what = worst.description
        if worst.known_by:
            what = f"{what} (known by {worst.known_by})"
    elif tenant_state.systems:
        what = "It holds a component that is part of an incident"
    if not tenant_state.systems:
        return f"{what}. {reach}."
    return f"{what}. {reach}; the highest exposure is {exposure}."


def _pattern(
    others: int, tenant_state: TenantState, related: tuple[str, ...]
) -> tuple[Pattern, str]:
    hosts = len({system.system for system in tenant_state.systems})
    if others > 1:
        return Pattern.PATTERN, f"the same indicator was seen in {others} tenants or more"
    if related:
        return (
            Pattern.PATTERN,
            f"its component or publisher is part of {counted(len(related), 'other incident')} here",
        )
    if hosts > 1:
        return Pattern.PATTERN, f"{bucket(hosts, LISTED)} systems here have it"
    return Pattern.ISOLATED, "seen on one system, no related incident"


def union(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what is in any of the lists, sorted."""
    return tuple(sorted({value for many in lists for value in many}))


def assignee_of(tenant_state: TenantState) -> str | None:
    """Return the part's current assignee."""
    assigned = [
        decision.target
        for decision, _ in tenant_state.decisions
        if decision.decision is DecisionKind.ASSIGN
    ]
    return assigned[-1] if assigned else None


def next_action_of(
    tenant_state: TenantState, commands: Sequence[CommandView], worst: FindingView | None
) -> str:
    """Return the next action, as a sentence."""
    if tenant_state.status is IncidentStatus.WITHDRAWN:
        return "Nothing: its reason was withdrawn; what was contained is being released."
    if tenant_state.status is IncidentStatus.FALSE_POSITIVE:
        return "Nothing: judged a false positive; what was contained is being released."
    if tenant_state.status is IncidentStatus.CLOSED:
        left = [task for task in tenant_state.tasks if task.state is not TaskState.DONE]
        if left and left[0].kind is TaskKind.PATCH:
            return f"It may come in again: {left[0].text}."
        return "Review the report and share the lessons learned."
    if tenant_state.advisory:
        return f"Investigate: {WHY.partition(':')[0]}."
    states = Counter(command.state for command in commands)
    for command in commands:
        if command.state is CommandStatus.SUPERSEDED and not _replaced(command, commands):
            wrong = command.spec.rollback_version or command.spec.rollback_digest
            return (
                f"Do not use {command.spec.target} {wrong}: it is no longer a version to go back "
                "to. Choose one, verify it, and switch to it by hand."
            )
    if states[CommandStatus.FAILED] or states[CommandStatus.EXPIRED]:
        return "Carry out failed or expired containment manually; see the commands."
    if states[CommandStatus.PROPOSED]:
        proposed = bucket(states[CommandStatus.PROPOSED], LISTED)
        what = "proposed containment command"
        return f"Approve or reject the {what if proposed == 1 else counted(proposed, what)}."
    if states[CommandStatus.ISSUED] or states[CommandStatus.WORKING]:
        return "Wait for the responder's answers."
    waiting = [task for task in tenant_state.tasks if task.state is not TaskState.DONE]
    # Tasks that the incident can close without are named last.
    waiting.sort(key=lambda task: task.kind is TaskKind.PATCH)
    if waiting:
        count = bucket(len(waiting), LISTED)
        return f"{waiting[0].text} ({counted(count, 'task')} {'is' if count == 1 else 'are'} open)."
    return worst.remediation if worst is not None and worst.remediation else "Investigate."


def _replaced(command: CommandView, commands: Iterable[CommandView]) -> bool:
    """Return whether another command with a rollback target replaces this one."""
    return any(
        other.spec.replaces == command.spec.command_id and other.spec.rollback_digest is not None
        for other in commands
    )


def processing_times(tenant_state: TenantState) -> ProcessingTimes:
    """Return when Tidewatch acted, for the metrics; not part of comparisons."""
    seen = [
        time
        for time in (tenant_state.findings.detected_ms, tenant_state.systems_row.detected_ms)
        if time
    ]
    if not seen:
        return ProcessingTimes()
    detected = min(seen)
    occurred = [group.first_ms for group, _ in tenant_state.own]
    occurred += [entry.first_ms for entry in tenant_state.entries]
    facts = [
        group.revision[0] for group, _ in tenant_state.own if group.finding.evidence.get("fact")
    ]
    start = min(occurred, default=detected)
    retro = bool(facts) and min(facts) > start
    if retro:
        start = min(facts)
    contained = tenant_state.actions.contained_ms or None
    return ProcessingTimes(
        detected_at=from_ms(detected),
        contained_at=from_ms(contained) if contained else None,
        seconds_to_detect=max(0, detected - start) / 1000,
        seconds_to_contain=max(0, contained - detected) / 1000 if contained else None,
        retro=retro,
    )


def significance(view: AlertView | IncidentDocument) -> str:
    """Return a hash of what a person would act on in a document: without processing times."""
    plain: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(view, timeline=()))
    plain.pop("processing", None)
    # A record's activity follows from the records before it.
    plain.pop("activity", None)
    plain["timeline"] = [
        {**msgspec.to_builtins(entry), "at": None if entry.processing else entry.at.isoformat()}
        for entry in sorted(view.timeline, key=in_stable_order)
    ]
    for command in plain.get("commands", ()):
        command["spec"].pop("expires", None)
        if isinstance(view, AlertView):
            # an alert does not say how often its commands were issued
            command["spec"].pop("attempt", None)
    return stable_id("sig", msgspec.json.encode(plain, order="sorted").decode())

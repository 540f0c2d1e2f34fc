"""Renders the whole of an incident, over all its tenants, for the operator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from agents.triage.incidents.command_views import LISTED, command_views, most_important
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.naming import title_of
from agents.triage.incidents.tenant_state import (
    TenantState,
    bucket,
    phase_of,
    severity_decision,
)
from agents.triage.incidents.timeline import TIMELINE, bounded, names_in, timeline_entries
from agents.triage.incidents.views import (
    assignee_of,
    count_systems,
    finding_view,
    listed_systems,
    next_action_of,
    processing_times,
    truncated_parts,
    union,
    worst_of,
)
from agents.triage.ledger.rows import from_ms, to_ms
from agents.triage.scoring import RECOVERY, decided_score, evidence_of, score
from schemas.counting import counted
from schemas.decisions import DecisionKind
from schemas.incidents.commands import CommandView
from schemas.incidents.states import IncidentStatus, Pattern, Phase
from schemas.incidents.views import (
    FindingView,
    IncidentDocument,
    ProcessingTimes,
    Score,
    SystemView,
    TaskView,
    TenantPart,
    TimelineEntry,
)
from schemas.severity import ExposureLevel
from schemas.sharing import SHARED_STATUSES

LISTED_TENANTS: Final = 100


def incident_document(case: IncidentRows, tenant_states: Sequence[TenantState]) -> IncidentDocument:
    """Return the whole incident, for the operator.

    Args:
        case: The incident.
        tenant_states: The parts of its tenants, sorted by tenant, at most `LISTED_TENANTS`.
    """
    # Over 60 lines, as the fields of the document are.
    concerned = [part for part in tenant_states if not part.advisory] or tenant_states
    count = max(case.organisations(), len(concerned))
    total = _decided(case, concerned, _operator_score(concerned, count))
    findings = _distinct(
        finding_view(group.finding, active=holds, operator=True)
        for tenant_state in concerned
        for group, holds in tenant_state.own
    )
    systems: list[SystemView] = [system for part in tenant_states for system in part.systems]
    of_tenant = [(part, command_views(case, part)) for part in tenant_states]
    tasks: list[TaskView] = [task for part in tenant_states for task in part.tasks]
    timeline = _timeline(of_tenant)
    related = tuple(sorted(other for other, _, _ in case.core.related.values()))
    worst = worst_of(findings)
    status = _overall_status(concerned)
    leading = _leading(concerned)
    commands = [command for part, many in of_tenant for command in most_important(part, many)]
    truncated = {
        *case.core.truncated,
        *(part for label, many in of_tenant for part in truncated_parts(label, len(many))),
        *_beyond_limits(
            ("tenants", count, len(concerned)),
            ("findings", len(findings), LISTED * 2),
            ("systems", len(systems), LISTED * 4),
            ("commands", len(commands), LISTED * 4),
            ("tasks", len(tasks), LISTED * 4),
            ("timeline", len(timeline), TIMELINE),
        ),
    }
    affected = sum(map(count_systems, tenant_states))
    pattern, why = _operator_pattern(case, count, related)
    return IncidentDocument(
        id=case.incident,
        root=case.core.root,
        title=title_of(worst, case.core.root, systems),
        status=status,
        phase=phase_of(leading) if leading is not None else Phase.DETECTION,
        score=total,
        pattern=pattern,
        pattern_why=why,
        tenants=tuple(map(_tenant_part, tenant_states)),
        tenant_count=count,
        organisations=case.organisations(),
        findings=findings[: LISTED * 2],
        systems=listed_systems(systems, LISTED * 4),
        system_count=bucket(affected, LISTED * 4),
        timeline=bounded(timeline),
        commands=tuple(commands[: LISTED * 4]),
        tasks=tuple(tasks[: LISTED * 4]),
        related=related,
        campaign=case.core.campaign or (case.incident if related else None),
        publishers=_publishers(tenant_states),
        techniques=union(view.techniques for view in findings if view.active),
        ssdf=union(view.ssdf for view in findings if view.active),
        next_action=next_action_of(leading, commands, worst) if leading is not None else "",
        first_seen=min(
            (*(view.occurred_at for view in findings), *(system.since for system in systems)),
            default=from_ms(0),
        ),
        truncated=tuple(sorted(truncated)),
        shared=case.core.shared or status in SHARED_STATUSES,
        released=any(
            decision.decision is DecisionKind.SHARE for decision, _ in case.core.decisions.values()
        ),
        processing=_overall_processing(tenant_states),
    )


def _leading(parts: Sequence[TenantState]) -> TenantState | None:
    """Return the open part with the greatest score, of all parts if none is open."""
    open_parts = [part for part in parts if not part.ended]
    return max(open_parts or parts, key=lambda part: (part.score.value, part.tenant), default=None)


def _beyond_limits(*lists: tuple[str, int, int]) -> list[str]:
    """Return the names of the lists, each with its length and limit, that are too long."""
    return [name for name, length, limit in lists if length > limit]


def _timeline(
    of_tenant: Sequence[tuple[TenantState, Sequence[CommandView]]],
) -> list[TimelineEntry]:
    """Return what happened in all parts: what is in several of them is listed once."""
    names = {uid: name for part, _ in of_tenant for uid, name in names_in(part).items()}
    return list(
        dict.fromkeys(
            entry
            for part, commands in of_tenant
            for entry in timeline_entries(
                part,
                (finding_view(group.finding, active=True, operator=True) for group, _ in part.own),
                most_important(part, commands),
                operator=True,
                names=names,
            )
        )
    )


def _tenant_part(part: TenantState) -> TenantPart:
    return TenantPart(
        tenant=part.tenant,
        score=part.score,
        status=part.status,
        systems=bucket(count_systems(part), LISTED),
        assignee=assignee_of(part),
    )


def _distinct(views: Iterable[FindingView]) -> tuple[FindingView, ...]:
    """Return the findings, worst first; for each rule and indicator the first tenant's."""
    kept: dict[tuple[str, str, bool], FindingView] = {}
    for view in views:
        kept.setdefault((view.rule_id, view.indicator_key, view.active), view)
    return tuple(
        sorted(kept.values(), key=lambda view: (-view.severity.rank, -view.confidence, view.id))
    )


def _operator_score(tenant_states: Sequence[TenantState], tenants: int) -> Score:
    evidence = [
        evidence_of(group.finding)
        for tenant_state in tenant_states
        for group, holds in tenant_state.own
        if holds
    ]
    systems = [system for tenant_state in tenant_states for system in tenant_state.systems]
    stated = [system.criticality for system in systems if system.criticality is not None]
    stated += [
        tenant_state.policy.criticality[name]
        for tenant_state in tenant_states
        for system in tenant_state.systems
        for name in (system.component, system.system)
        if name in tenant_state.policy.criticality
    ]
    worst = max(
        (
            term.value
            for part in tenant_states
            for term in part.score.terms
            if term.name == "recoverability"
        ),
        default=RECOVERY["none"],
    )
    return score(
        evidence,
        affected=bucket(
            len({(system.tenant, system.system, system.component) for system in systems}), LISTED
        ),
        exposure=max(
            (system.exposure for system in systems),
            key=attrgetter("rank"),
            default=ExposureLevel.STAGED,
        ),
        tenants=tenants,
        criticality=max(stated, default=None),
        recovery=next(name for name, value in RECOVERY.items() if value == worst),
    )


def _decided(case: IncidentRows, tenant_states: Sequence[TenantState], computed: Score) -> Score:
    """Return the score of the whole: the operator's decision, else the worst of the parts.

    Parts whose severity nobody decided count by the computed score of the whole, which may be worse
    than each of them: no tenant's decision hides what others have.
    """
    decisions = (decision for decision, _ in case.core.decisions.values())
    own = severity_decision(sorted(decisions, key=lambda decision: (decision.time, decision.id)))
    if own is not None:
        return decided_score(computed, *own)
    decided = [part.score.band for part in tenant_states if part.score is not part.computed]
    if not decided:
        return computed
    if len(decided) < len(tenant_states):
        decided.append(computed.band)
    severity = max(decided, key=attrgetter("rank"))
    if severity is computed.band:
        return computed
    return decided_score(computed, severity, "the worst that its tenants set")


def _operator_pattern(
    case: IncidentRows, count: int, related: tuple[str, ...]
) -> tuple[Pattern, str]:
    reasons = []
    if count > 1:
        reasons.append(f"seen in {count} tenants")
    elsewhere = max(case.core.thresholds, default=0)
    if elsewhere > count:
        reasons.append(f"its indicator was seen in {counted(elsewhere, 'tenant')} or more")
    if related:
        reasons.append(counted(len(related), "related incident"))
    if not reasons:
        return Pattern.ISOLATED, "seen in one tenant, no related incident"
    return Pattern.PATTERN, "; ".join(reasons)


def _overall_status(tenant_states: Sequence[TenantState]) -> IncidentStatus:
    """Return the status of the whole: that of the least advanced part."""
    order = list(IncidentStatus)
    return min((part.status for part in tenant_states), key=order.index, default=order[0])


def _publishers(tenant_states: Sequence[TenantState]) -> tuple[str, ...]:
    names = {group.finding.publisher for part in tenant_states for group, _ in part.own}
    names |= {entry.publisher for part in tenant_states for entry in part.entries}
    return tuple(sorted(name for name in names if name))[:LISTED]


def _overall_processing(tenant_states: Sequence[TenantState]) -> ProcessingTimes:
    parts = [processing_times(part) for part in tenant_states]
    detected = [times.detected_at for times in parts if times.detected_at is not None]
    contained = [times.contained_at for times in parts]
    all_contained = [times for times in contained if times is not None]
    first = min(detected, default=None)
    last = max(all_contained) if parts and len(all_contained) == len(parts) else None
    return ProcessingTimes(
        detected_at=first,
        contained_at=last,
        seconds_to_detect=min(
            (times.seconds_to_detect for times in parts if times.seconds_to_detect is not None),
            default=None,
        ),
        seconds_to_contain=(to_ms(last) - to_ms(first)) / 1000 if last and first else None,
        retro=any(times.retro for times in parts),
    )

"""Renders an incident: the operator's document, and for each tenant the alert of its own part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from agents.triage.containment import evidence_paths
from agents.triage.correlation import correlations
from agents.triage.incidents.commands import importance, planned
from agents.triage.incidents.fold import Case
from agents.triage.incidents.recovery import ON_SYSTEMS
from agents.triage.incidents.rows import CommandState
from agents.triage.incidents.standing import (
    ENDED,
    Standing,
    alert_id,
    bucket,
    known_tenants,
    phase_of,
    readable_root,
)
from agents.triage.ledger.rows import EXPOSURE_RANK, from_ms, to_ms
from agents.triage.scoring import evidence_of, score
from schemas.canonical import stable_id
from schemas.decisions import Decision
from schemas.findings import Finding
from schemas.incidents import (
    CHECKED,
    AlertView,
    CommandSpec,
    CommandView,
    FindingView,
    IncidentDocument,
    ProcessingTimes,
    Score,
    SystemView,
    TaskView,
    TenantPart,
    TimelineEntry,
)
from schemas.sharing import SHARED_STATUSES

LISTED: Final = 32
TIMELINE: Final = 64
LISTED_TENANTS: Final = 100
EVENT_IDS: Final = 32
_WORDS: Final = {
    "capture-evidence": "capture evidence on",
    "quarantine": "quarantine",
    "rollback": "roll back",
    "block": "block",
    "revoke": "revoke",
    "hold-pipeline": "hold",
    "rebuild": "rebuild",
}


def finding_view(finding: Finding, *, active: bool) -> FindingView:
    """Return a finding as documents show it."""
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
    )


def alert_view(case: Case, standing: Standing) -> AlertView:
    """Return what one tenant reads of the incident.

    Everything in it is the tenant's own, is said of the component itself, or is a count of tenants
    that reached a threshold of at least three.
    """
    own = [finding_view(group.finding, active=holds) for group, holds in standing.own]
    since = min((system.since for system in standing.systems), default=from_ms(0))
    shared = [
        finding_view(msgspec.structs.replace(one, occurred_at=since), active=True)
        for one in standing.shared
    ]
    findings = tuple(own + shared)
    worst = _worst(findings)
    others = known_tenants(case)
    related = tuple(
        sorted(
            other for other, _, tenants in case.core.related.values() if standing.tenant in tenants
        )
    )
    systems = tuple(standing.systems[:LISTED])
    count = len(standing.systems)
    if standing.systems_row.full:
        count = max(count, standing.systems_row.tally.count())
    pattern, why = _pattern(others, standing, related)
    commands = tuple(_commands(case, standing))
    listed = _listed(standing, commands)
    events = {
        *(view.event_id for view in own if view.event_id),
        *(entry.event_id for entry in standing.entries),
    }
    answered = any(command.results for command in standing.actions.commands.values())
    status = standing.status
    activity = "update" if standing.decisions or answered or len(events) > 1 else "create"
    root = readable_root(case.core.root, standing.tenant)
    return AlertView(
        id=alert_id(case.incident, standing.tenant),
        incident=case.incident,
        tenant=standing.tenant,
        activity="close" if status in ENDED else activity,
        status=status,
        phase=phase_of(standing),
        title=_title(worst, root),
        message=_message(worst, standing, count),
        score=standing.score,
        pattern=pattern,
        pattern_why=why,
        other_tenants=others if others > 1 else None,
        root=root,
        findings=findings,
        systems=systems,
        system_count=bucket(count, LISTED),
        timeline=_bounded(_timeline(standing, findings, listed)),
        commands=listed,
        tasks=tuple(standing.tasks[:LISTED]),
        techniques=_union(view.techniques for view in findings if view.active),
        ssdf=_union(view.ssdf for view in findings if view.active),
        next_action=_next_action(standing, commands, worst),
        runbook=tuple(dict.fromkeys(view.remediation for view in findings if view.remediation)),
        related=related,
        assignee=_assignee(standing),
        first_seen=min((view.occurred_at for view in findings), default=since),
        correlation_ids=tuple(sorted(events)[:EVENT_IDS]),
        truncated=_truncated(standing, len(commands)),
        processing=processing_times(standing),
    )


def _listed(standing: Standing, commands: Sequence[CommandView]) -> tuple[CommandView, ...]:
    """Return the most important commands, in the order in which all are told."""
    if len(commands) <= LISTED:
        return tuple(commands)
    order = importance(standing)
    first = sorted(commands, key=lambda one: order(one.spec))[:LISTED]
    chosen = {one.spec.command_id for one in first}
    return tuple(one for one in commands if one.spec.command_id in chosen)


def _truncated(standing: Standing, commands: int) -> tuple[str, ...]:
    """Return the parts that reached their bound, `over-commanding` where not all are issued."""
    parts = []
    if standing.actions.full:
        parts.append("over-commanding")
    if any(
        len(evidence_paths(standing.policy, one.system)) < len(standing.policy.evidence[one.system])
        for one in standing.systems
        if one.system in standing.policy.evidence
    ):
        parts.append("evidence paths")
    if commands > LISTED:
        parts.append("commands")
    if standing.findings.full:
        parts.append("findings")
    if standing.systems_row.full or len(standing.systems) > LISTED:
        parts.append("systems")
    if len(standing.tasks) > LISTED:
        parts.append("tasks")
    return tuple(parts)


def _worst(findings: Sequence[FindingView]) -> FindingView | None:
    holding = [view for view in findings if view.active] or list(findings)
    return min(
        holding, key=lambda one: (-one.severity.rank, -one.confidence, one.rule_id), default=None
    )


def _title(worst: FindingView | None, root: str) -> str:
    kind = worst.ioc_type.replace("_", " ") if worst is not None else "exposure"
    return f"{kind[:1].upper()}{kind[1:]}: {root}"


def _message(worst: FindingView | None, standing: Standing, count: int) -> str:
    told = bucket(count, LISTED)
    reach = {0: "No system is known to hold it", 1: "One system is affected"}.get(
        told, f"{told} systems or components are affected"
    )
    exposure = max(
        (system.exposure for system in standing.systems),
        key=lambda name: EXPOSURE_RANK[name],
        default="staged",
    )
    what = "What was found was withdrawn"
    if worst is not None:
        what = worst.description
    elif standing.systems:
        what = "It holds a component that is part of an incident"
    return f"{what}. {reach}; the farthest is {exposure}."


def _pattern(others: int, standing: Standing, related: tuple[str, ...]) -> tuple[str, str]:
    hosts = len({system.system for system in standing.systems})
    if others > 1:
        return "pattern", f"the same indicator was seen in {others} tenants or more"
    if related:
        return "pattern", f"{len(related)} other incidents here share its component or publisher"
    if hosts > 1:
        return "pattern", f"{bucket(hosts, LISTED)} systems here have it"
    return "isolated", "seen on one system, linked to nothing else"


def _commands(case: Case, standing: Standing) -> Iterable[CommandView]:
    """Yield the commands as they are called for now, with what came of them, and the advice.

    What was carried out follows from the command as it was issued; what is told of it here, why
    and on account of which findings, follows from all that is known now.
    """
    row = standing.actions
    wanted = {spec.command_id: spec for spec in planned(case, standing)}
    views = []
    for command_id, command in row.commands.items():
        spec = msgspec.structs.replace(
            wanted.get(command_id) or _bygone(command),
            mode=command.spec.mode,
            expires=command.spec.expires,
            attempt=command.spec.attempt,
        )
        answer = command.latest()
        views.append(
            CommandView(
                spec=_told(spec),
                state=command.state(),
                status=answer[1] if answer else None,
                status_text=answer[2] if answer else "",
            )
        )
    if not standing.ended:
        views.extend(
            CommandView(spec=_told(spec), state="advised")
            for command_id, spec in wanted.items()
            if command_id not in row.commands and spec.mode == "advised"
        )
    order = tuple(_WORDS)
    return sorted(
        views,
        key=lambda one: (
            order.index(one.spec.action) if one.spec.action in order else len(order),
            one.spec.target,
            one.spec.command_id,
        ),
    )


def _bygone(command: CommandState) -> CommandSpec:
    """Return a command that is called for no longer, or takes another back, as it is told of.

    Which findings it was issued for, and what they said, was what was known by then: the record of
    the command has it.
    """
    spec = command.spec
    reason = spec.reason if spec.undoes else "its reason no longer holds"
    if command.standing == "superseded":
        reason = "the version it goes back to was found to be bad since"
    return msgspec.structs.replace(spec, findings=(), digest=None, reason=reason)


def _told(spec: CommandSpec) -> CommandSpec:
    return msgspec.structs.replace(spec, after=(), paths=())


def _timeline(
    standing: Standing,
    findings: Iterable[FindingView],
    listed: Iterable[CommandView],
    *,
    operator: bool = False,
) -> list[TimelineEntry]:
    """Return what happened; who decided, and the operator's reasons, only the operator is told."""
    entries = [
        TimelineEntry(
            at=view.occurred_at,
            what="found",
            text=view.description,
            tenant=standing.tenant,
            ref=view.id,
        )
        for view in findings
    ]
    entries += [
        TimelineEntry(
            at=system.since,
            what="exposed",
            text=f"{system.system} has {system.component} ({system.exposure})",
            tenant=standing.tenant,
            system=system.system,
        )
        for system in standing.systems[:LISTED]
    ]
    entries += [
        TimelineEntry(
            at=decision.time,
            what="decided",
            text=_decided(decision)
            if operator
            else f"{decision.decision.value}: {decision.reason}",
            tenant=decision.tenant,
            ref=decision.id,
        )
        for decision, _ in standing.decisions
        if decision.tenant is not None
    ]
    entries += [
        TimelineEntry(
            at=decision.time,
            what="decided",
            text=_decided(decision) if operator else decision.decision.value,
            ref=decision.id,
        )
        for decision, _ in standing.decisions
        if decision.tenant is None
    ]
    issued = standing.actions.commands
    for command in (issued[one.spec.command_id] for one in listed if one.spec.command_id in issued):
        verb = _WORDS.get(command.spec.action, command.spec.action)
        entries.append(
            TimelineEntry(
                at=from_ms(command.since_ms),
                what="commanded",
                text=f"{command.spec.mode}: {verb} {command.spec.target}",
                tenant=standing.tenant,
                ref=command.spec.command_id,
                processing=True,
            )
        )
        answer = command.latest()
        if answer is not None:
            entries.append(
                TimelineEntry(
                    at=from_ms(answer[0]),
                    what="result",
                    text=f"{verb} {command.spec.target}: {answer[1]} {answer[2]}".strip(),
                    tenant=standing.tenant,
                    ref=command.spec.command_id,
                    processing=True,
                )
            )
    proofs = {
        (one.system, one.component): one
        for one in standing.systems_row.proofs.values()
        if one.kind != CHECKED
    }
    entries += [
        TimelineEntry(
            at=proofs[task.system, task.component].occurred_at,
            what="recovered",
            text=task.text,
            tenant=standing.tenant,
            system=task.system,
            ref=task.proof,
        )
        for task in standing.tasks
        if task.kind in ON_SYSTEMS
        and task.state == "done"
        and (task.system, task.component) in proofs
    ]
    entries += [
        TimelineEntry(
            at=from_ms(state.withdrawn[0]),
            what="withdrawn",
            text=state.reason,
            tenant=standing.tenant,
            ref=state.finding,
            processing=True,
        )
        for state in standing.findings.ids.values()
        if state.withdrawn is not None and not state.active()
    ]
    return entries


def _decided(decision: Decision) -> str:
    return f"{decision.decision.value} by {decision.actor}: {decision.reason}"


def _bounded(entries: list[TimelineEntry]) -> tuple[TimelineEntry, ...]:
    """Return what occurred by time, then what Tidewatch did, in an order that no replay changes."""
    ordered = sorted(
        entries,
        key=lambda one: (
            one.processing,
            from_ms(0) if one.processing else one.at,
            one.what,
            one.tenant or "",
            one.ref or "",
            one.text,
        ),
    )
    if len(ordered) > TIMELINE:
        ordered = ordered[: TIMELINE // 2] + ordered[-TIMELINE // 2 :]
    return tuple(ordered)


def _union(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({one for many in lists for one in many}))


def _assignee(standing: Standing) -> str | None:
    assigned = [one.target for one, _ in standing.decisions if one.decision.value == "assign"]
    return assigned[-1] if assigned else None


def _next_action(
    standing: Standing, commands: Sequence[CommandView], worst: FindingView | None
) -> str:
    """Return the one thing to do next, in a sentence."""
    if standing.status == "withdrawn":
        return "Nothing: its reason was withdrawn; what was contained is being released."
    if standing.status == "false-positive":
        return "Nothing: judged a false positive; what was contained is being released."
    if standing.status == "closed":
        left = [task for task in standing.tasks if task.state != "done"]
        if left and left[0].kind == "patch":
            return f"It may come in again: {left[0].text}."
        return "Review the report and share what was learnt."
    states = dict.fromkeys(("failed", "expired", "proposed", "issued", "working"), 0)
    for command in commands:
        if command.state in states:
            states[command.state] += 1
    for command in commands:
        if command.state == "superseded" and not _replaced(command, commands):
            wrong = command.spec.rollback_version or command.spec.rollback_digest
            return (
                f"Do not use {command.spec.target} {wrong}, which was gone back to and was found "
                "to be bad since: choose a version, verify it, and switch to it by hand."
            )
    if states["failed"] or states["expired"]:
        return "Carry out by hand the containment that failed or expired; see the commands."
    if states["proposed"]:
        proposed = bucket(states["proposed"], LISTED)
        return f"Approve or reject the {proposed} proposed containment commands."
    if states["issued"] or states["working"]:
        return "Wait for the responder's answers."
    waiting = [task for task in standing.tasks if task.state != "done"]
    # What need not be verified for the incident to close is named last.
    waiting.sort(key=lambda task: task.kind == "patch")
    if waiting:
        return f"{waiting[0].text} ({bucket(len(waiting), LISTED)} tasks are open)."
    return worst.remediation if worst is not None and worst.remediation else "Investigate."


def _replaced(command: CommandView, commands: Iterable[CommandView]) -> bool:
    """Tell whether another command takes the place of one, and names a version to go back to."""
    return any(
        one.spec.replaces == command.spec.command_id and one.spec.rollback_digest is not None
        for one in commands
    )


def processing_times(standing: Standing) -> ProcessingTimes:
    """Return when Tidewatch did what it did, for the metrics; not part of comparisons."""
    seen = [one for one in (standing.findings.detected_ms, standing.systems_row.detected_ms) if one]
    if not seen:
        return ProcessingTimes()
    detected = min(seen)
    occurred = [group.first_ms for group, _ in standing.own]
    occurred += [entry.first_ms for entry in standing.entries]
    facts = [group.revision[0] for group, _ in standing.own if group.finding.evidence.get("fact")]
    start = min(occurred, default=detected)
    retro = bool(facts) and min(facts) > start
    if retro:
        start = min(facts)
    contained = standing.actions.contained_ms or None
    return ProcessingTimes(
        detected_at=from_ms(detected),
        contained_at=from_ms(contained) if contained else None,
        seconds_to_detect=max(0, detected - start) / 1000,
        seconds_to_contain=max(0, contained - detected) / 1000 if contained else None,
        retro=retro,
    )


def significance(view: AlertView | IncidentDocument) -> str:
    """Return an id of all in a document that a person would act on: without processing times."""
    plain: dict[str, Any] = msgspec.to_builtins(view)
    plain.pop("processing", None)
    for entry in plain.get("timeline", ()):
        if entry.get("processing"):
            entry.pop("at")
    for command in plain.get("commands", ()):
        command["spec"].pop("expires", None)
    return stable_id("sig", msgspec.json.encode(plain, order="sorted").decode())


# -- the operator's document -----------------------------------------------------------------------


def incident_document(case: Case, standings: Sequence[Standing]) -> IncidentDocument:
    """Return the whole incident, for the operator.

    Args:
        case: The incident.
        standings: The parts of its tenants, sorted by tenant, at most `LISTED_TENANTS`.
    """
    count = max(case.core.tenant_tally.count(), len(standings))
    total = _operator_score(standings, count)
    findings = _distinct(
        finding_view(group.finding, active=holds)
        for standing in standings
        for group, holds in standing.own
    )
    systems: list[SystemView] = [one for standing in standings for one in standing.systems]
    of_tenant = [(one, tuple(_commands(case, one))) for one in standings]
    tasks: list[TaskView] = [one for standing in standings for one in standing.tasks]
    timeline = list(
        dict.fromkeys(
            entry
            for one, many in of_tenant
            for entry in _timeline(
                one,
                (finding_view(group.finding, active=True) for group, _ in one.own),
                _listed(one, many),
                operator=True,
            )
        )
    )
    related = tuple(sorted(other for other, _, _ in case.core.related.values()))
    worst = _worst(findings)
    status = _overall_status(standings)
    open_parts = [one for one in standings if not one.ended]
    leading = max(
        open_parts or list(standings), key=lambda one: (one.score.value, one.tenant), default=None
    )
    commands = [command for one, many in of_tenant for command in _listed(one, many)]
    truncated = {
        *case.core.truncated,
        *(part for one, many in of_tenant for part in _truncated(one, len(many))),
    }
    for part, listed, most in (
        ("tenants", count, len(standings)),
        ("findings", len(findings), LISTED * 2),
        ("systems", len(systems), LISTED * 4),
        ("commands", len(commands), LISTED * 4),
        ("tasks", len(tasks), LISTED * 4),
        ("timeline", len(timeline), TIMELINE),
    ):
        if listed > most:
            truncated.add(part)
    held = sum(
        max(len(one.systems), one.systems_row.tally.count() if one.systems_row.full else 0)
        for one in standings
    )
    return IncidentDocument(
        id=case.incident,
        root=case.core.root,
        title=_title(worst, case.core.root),
        status=status,
        phase=phase_of(leading) if leading is not None else "detection",
        score=total,
        pattern="pattern" if count > 1 or related else "isolated",
        pattern_why=_operator_pattern(case, count, related),
        tenants=tuple(
            TenantPart(
                tenant=one.tenant,
                score=one.score,
                status=one.status,
                systems=bucket(len(one.systems), LISTED),
                assignee=_assignee(one),
            )
            for one in standings
        ),
        tenant_count=count,
        findings=findings[: LISTED * 2],
        systems=tuple(systems[: LISTED * 4]),
        system_count=bucket(held, LISTED * 4),
        timeline=_bounded(timeline),
        commands=tuple(commands[: LISTED * 4]),
        tasks=tuple(tasks[: LISTED * 4]),
        related=related,
        campaign=case.core.campaign or (case.incident if related else None),
        publishers=_publishers(standings),
        techniques=_union(view.techniques for view in findings if view.active),
        ssdf=_union(view.ssdf for view in findings if view.active),
        next_action=next(
            (_next_action(one, many, worst) for one, many in of_tenant if one is leading), ""
        ),
        first_seen=min(
            (
                *(view.occurred_at for view in findings),
                *(system.since for system in systems),
            ),
            default=from_ms(0),
        ),
        truncated=tuple(sorted(truncated)),
        shared=case.core.shared or status in SHARED_STATUSES,
        processing=_overall_processing(standings),
    )


def _distinct(views: Iterable[FindingView]) -> tuple[FindingView, ...]:
    """Return the findings, the worst first; of one rule and indicator the first tenant's."""
    kept: dict[tuple[str, str, bool], FindingView] = {}
    for view in views:
        kept.setdefault((view.rule_id, view.indicator_key, view.active), view)
    return tuple(
        sorted(kept.values(), key=lambda one: (-one.severity.rank, -one.confidence, one.id))
    )


def _operator_score(standings: Sequence[Standing], tenants: int) -> Score:
    evidence = [
        evidence_of(group.finding)
        for standing in standings
        for group, holds in standing.own
        if holds
    ]
    systems = [system for standing in standings for system in standing.systems]
    stated = [system.criticality for system in systems if system.criticality is not None]
    stated += [
        standing.policy.criticality[name]
        for standing in standings
        for system in standing.systems
        for name in (system.component, system.system)
        if name in standing.policy.criticality
    ]
    recovery = [
        next((term.why for term in one.score.terms if term.name == "recoverability"), "none")
        for one in standings
    ]
    order = ("clean rollback", "no signed baseline", "none")
    return score(
        evidence,
        affected=bucket(len({(one.tenant, one.system, one.component) for one in systems}), LISTED),
        exposure=max(
            (one.exposure for one in systems),
            key=lambda name: EXPOSURE_RANK[name],
            default="staged",
        ),
        tenants=tenants,
        criticality=max(stated, default=None),
        recovery=max(recovery, key=order.index, default="none"),
    )


def _operator_pattern(case: Case, count: int, related: tuple[str, ...]) -> str:
    reasons = []
    if count > 1:
        reasons.append(f"seen in {count} tenants")
    if case.core.thresholds:
        title = correlations()["TW-LEDGER-PREVALENCE"].rule.title.lower()
        reasons.append(f"{title}: {max(case.core.thresholds)} or more")
    if related:
        reasons.append(f"{len(related)} related incidents")
    return "; ".join(reasons) or "seen in one tenant, linked to nothing else"


def _overall_status(standings: Sequence[Standing]) -> str:
    """Return the status of the whole: of the part that is least far along."""
    order = (
        "new",
        "acknowledged",
        "contained",
        "recovering",
        "suppressed",
        "closed",
        "false-positive",
        "withdrawn",
    )
    return min((one.status for one in standings), key=order.index, default="new")


def _publishers(standings: Sequence[Standing]) -> tuple[str, ...]:
    names = {group.finding.publisher for one in standings for group, _ in one.own}
    names |= {entry.publisher for one in standings for entry in one.entries}
    return tuple(sorted(name for name in names if name))[:LISTED]


def _overall_processing(standings: Sequence[Standing]) -> ProcessingTimes:
    parts = [processing_times(one) for one in standings]
    detected = [one.detected_at for one in parts if one.detected_at is not None]
    contained = [one.contained_at for one in parts]
    all_contained = [one for one in contained if one is not None]
    first = min(detected, default=None)
    last = max(all_contained) if parts and len(all_contained) == len(parts) else None
    return ProcessingTimes(
        detected_at=first,
        contained_at=last,
        seconds_to_detect=min(
            (one.seconds_to_detect for one in parts if one.seconds_to_detect is not None),
            default=None,
        ),
        seconds_to_contain=(to_ms(last) - to_ms(first)) / 1000 if last and first else None,
        retro=any(one.retro for one in parts),
    )

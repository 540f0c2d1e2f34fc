"""Tells what happened in an incident, in an order that no replay changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agents.triage.incidents.command_views import LISTED, VERBS
from agents.triage.incidents.recovery import ON_SYSTEMS
from agents.triage.incidents.tenant_state import TenantState
from agents.triage.ledger.rows import from_ms
from schemas.decisions import Decision
from schemas.incidents.commands import CommandView
from schemas.incidents.states import Occurrence, TaskState
from schemas.incidents.updates import CHECKED
from schemas.incidents.views import FindingView, TimelineEntry

TIMELINE: Final = 64


def timeline_entries(
    tenant_state: TenantState,
    findings: Iterable[FindingView],
    listed: Iterable[CommandView],
    *,
    operator: bool = False,
) -> list[TimelineEntry]:
    """Return what happened; who decided, and the operator's reasons, only the operator is told."""
    entries = [
        TimelineEntry(
            at=view.occurred_at,
            what=Occurrence.FOUND,
            text=view.description,
            tenant=tenant_state.tenant,
            ref=view.id,
        )
        for view in findings
    ]
    entries += [
        TimelineEntry(
            at=system.since,
            what=Occurrence.EXPOSED,
            text=f"{system.system} has {system.component} ({system.exposure})",
            tenant=tenant_state.tenant,
            system=system.system,
        )
        for system in tenant_state.systems[:LISTED]
    ]
    entries += [
        TimelineEntry(
            at=decision.time,
            what=Occurrence.DECIDED,
            text=_decided(decision)
            if operator
            else f"{decision.decision.value}: {decision.reason}",
            tenant=decision.tenant,
            ref=decision.id,
        )
        for decision, _ in tenant_state.decisions
        if decision.tenant is not None
    ]
    entries += [
        TimelineEntry(
            at=decision.time,
            what=Occurrence.DECIDED,
            text=_decided(decision) if operator else decision.decision.value,
            ref=decision.id,
        )
        for decision, _ in tenant_state.decisions
        if decision.tenant is None
    ]
    issued = tenant_state.actions.commands
    for command in (issued[one.spec.command_id] for one in listed if one.spec.command_id in issued):
        verb = VERBS.get(command.spec.action, command.spec.action)
        entries.append(
            TimelineEntry(
                at=from_ms(command.since_ms),
                what=Occurrence.COMMANDED,
                text=f"{command.spec.mode}: {verb} {command.spec.target}",
                tenant=tenant_state.tenant,
                ref=command.spec.command_id,
                processing=True,
            )
        )
        answer = command.latest()
        if answer is not None:
            entries.append(
                TimelineEntry(
                    at=from_ms(answer[0]),
                    what=Occurrence.RESULT,
                    text=f"{verb} {command.spec.target}: {answer[1]} {answer[2]}".strip(),
                    tenant=tenant_state.tenant,
                    ref=command.spec.command_id,
                    processing=True,
                )
            )
    proofs = {
        (one.system, one.component): one
        for one in tenant_state.systems_row.proofs.values()
        if one.kind != CHECKED
    }
    entries += [
        TimelineEntry(
            at=proofs[task.system, task.component].occurred_at,
            what=Occurrence.RECOVERED,
            text=task.text,
            tenant=tenant_state.tenant,
            system=task.system,
            ref=task.proof,
        )
        for task in tenant_state.tasks
        if task.kind in ON_SYSTEMS
        and task.state is TaskState.DONE
        and (task.system, task.component) in proofs
    ]
    entries += [
        TimelineEntry(
            at=from_ms(state.withdrawn[0]),
            what=Occurrence.WITHDRAWN,
            text=state.reason,
            tenant=tenant_state.tenant,
            ref=state.finding,
            processing=True,
        )
        for state in tenant_state.findings.ids.values()
        if state.withdrawn is not None and not state.active()
    ]
    return entries


def _decided(decision: Decision) -> str:
    key = f" (key {decision.key})" if decision.key else ""
    return f"{decision.decision.value} by {decision.actor}{key}: {decision.reason}"


def bounded(entries: list[TimelineEntry]) -> tuple[TimelineEntry, ...]:
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

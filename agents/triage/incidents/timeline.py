"""Tells what happened in an incident, in an order that no replay changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agents.triage.incidents.command_views import LISTED, VERBS
from agents.triage.incidents.recovery import ON_SYSTEMS
from agents.triage.incidents.tenant_state import Standing
from agents.triage.ledger.rows import from_ms
from schemas.decisions import Decision
from schemas.incidents import CHECKED, CommandView, FindingView, TimelineEntry

TIMELINE: Final = 64


def timeline_entries(
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
        verb = VERBS.get(command.spec.action, command.spec.action)
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

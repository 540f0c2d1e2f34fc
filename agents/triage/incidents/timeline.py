"""The timeline of an incident: what happened, who decided what, and what Tidewatch did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Final

from agents.triage.incidents.command_views import LISTED, VERBS
from agents.triage.incidents.recovery import ON_SYSTEMS
from agents.triage.incidents.tenant_state import TenantState
from agents.triage.ledger.rows import from_ms
from schemas.decisions import SEVERITY_TARGETS, Decision, DecisionKind
from schemas.incidents.commands import CommandView
from schemas.incidents.states import Occurrence, TaskState
from schemas.incidents.updates import CHECKED
from schemas.incidents.views import FindingView, TimelineEntry

TIMELINE: Final = 64
_EPOCH: Final = from_ms(0)


def timeline_entries(
    tenant_state: TenantState,
    findings: Iterable[FindingView],
    listed: Iterable[CommandView],
    *,
    operator: bool = False,
    names: Mapping[str, str] | None = None,
) -> list[TimelineEntry]:
    """Return what happened in a tenant's part.

    A tenant reads actor and reason of decisions about its own part. Of a decision for all tenants
    it reads only the decision; actor and reason are for the operator.

    Args:
        tenant_state: The part.
        findings: The findings that are listed.
        listed: The commands that are listed.
        operator: Whether the operator reads it.
        names: Readable names of the incident's commands and tasks, by id; default: the part's.
    """
    if names is None:
        names = names_in(tenant_state)
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
            text=decided(decision, names),
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
            text=decided(decision, names) if operator else _announced(decision, names),
            ref=decision.id,
        )
        for decision, _ in tenant_state.decisions
        if decision.tenant is None
    ]
    issued = tenant_state.actions.commands
    for command in (
        issued[view.spec.command_id] for view in listed if view.spec.command_id in issued
    ):
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
        (proof.system, proof.component): proof
        for proof in tenant_state.systems_row.proofs.values()
        if proof.kind != CHECKED
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


def names_in(part: TenantState) -> dict[str, str]:
    """Return readable names of the commands and tasks that decisions name by id."""
    names = {
        command_id: f"{VERBS.get(command.spec.action, command.spec.action)} {command.spec.target}"
        for command_id, command in part.actions.commands.items()
    }
    return names | {task.id: task.text for task in part.tasks}


def decided(decision: Decision, names: Mapping[str, str]) -> str:
    """Return a decision in words: what, about what, by whom, and why.

    Args:
        decision: The decision.
        names: Readable names of the incident's commands and tasks, by id.
    """
    key = f" (key {decision.key})" if decision.key else ""
    return f"{_announced(decision, names)} by {decision.actor}{key}: {decision.reason}"


def _announced(decision: Decision, names: Mapping[str, str]) -> str:
    if decision.target is None:
        return decision.decision.value
    if decision.decision is DecisionKind.ASSIGN:
        return f"assign to {decision.target}"
    if decision.decision is DecisionKind.SEVERITY:
        return f"severity {decision.target}" if decision.target in SEVERITY_TARGETS else "severity"
    # An unlisted id may be another tenant's, and is useless to the reader.
    return f"{decision.decision.value} {names.get(decision.target, '')}".rstrip()


def in_stable_order(entry: TimelineEntry) -> tuple[bool, datetime, str, str, str, str]:
    """Return a sort key that no replay changes: without processing times."""
    return (
        entry.processing,
        _EPOCH if entry.processing else entry.at,
        entry.what,
        entry.tenant or "",
        entry.ref or "",
        entry.text,
    )


def bounded(entries: Iterable[TimelineEntry]) -> tuple[TimelineEntry, ...]:
    """Return the entries in order of time, at most `TIMELINE` of them.

    Which entries are dropped does not depend on processing times.
    """
    chosen = sorted(entries, key=in_stable_order)
    if len(chosen) > TIMELINE:
        chosen = chosen[: TIMELINE // 2] + chosen[-TIMELINE // 2 :]
    return tuple(sorted(chosen, key=attrgetter("at")))

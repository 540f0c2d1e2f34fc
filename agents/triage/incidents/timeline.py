"""The timeline of an incident: what happened, who decided what, and what Tidewatch did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from agents.triage.containment import ids_of
from agents.triage.incidents.command_views import LISTED, VERBS
from agents.triage.incidents.recovery import ON_SYSTEMS
from agents.triage.incidents.tenant_state import TenantState
from agents.triage.ledger.rows import from_ms
from schemas.decisions import SEVERITY_TARGETS, Decision, DecisionKind
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.states import Action, Occurrence, TaskState
from schemas.incidents.updates import CHECKED
from schemas.incidents.views import FindingView, TimelineEntry

TIMELINE: Final = 64
_EPOCH: Final = from_ms(0)
_BY_CAUSE: Final = (
    Occurrence.EXPOSED,
    Occurrence.FOUND,
    Occurrence.DECIDED,
    Occurrence.WITHDRAWN,
    Occurrence.COMMANDED,
    Occurrence.RESULT,
    Occurrence.RECOVERED,
)
"""What leads to what, for entries of the same time."""


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
    return [
        *_found(tenant_state, findings),
        *_exposed(tenant_state),
        *_decided(tenant_state, names, operator=operator),
        *_contained(tenant_state, listed),
        *_recovered(tenant_state),
        *_withdrawn(tenant_state),
    ]


def _found(part: TenantState, findings: Iterable[FindingView]) -> Iterator[TimelineEntry]:
    for view in findings:
        yield TimelineEntry(
            at=view.occurred_at,
            what=Occurrence.FOUND,
            text=view.description,
            tenant=part.tenant,
            ref=view.id,
        )


def _exposed(part: TenantState) -> Iterator[TimelineEntry]:
    for system in part.systems[:LISTED]:
        yield TimelineEntry(
            at=system.since,
            what=Occurrence.EXPOSED,
            text=f"{system.system} has {system.component} ({system.exposure})",
            tenant=part.tenant,
            system=system.system,
        )


def _decided(
    part: TenantState, names: Mapping[str, str], *, operator: bool
) -> Iterator[TimelineEntry]:
    """Yield the decisions about the part, then those for all tenants."""
    for decision, _ in sorted(part.decisions, key=lambda pair: pair[0].tenant is None):
        full = operator or decision.tenant is not None
        yield TimelineEntry(
            at=decision.time,
            what=Occurrence.DECIDED,
            text=decided(decision, names) if full else _announced(decision, names),
            tenant=decision.tenant,
            ref=decision.id,
        )


def _contained(part: TenantState, listed: Iterable[CommandView]) -> Iterator[TimelineEntry]:
    """Yield the listed commands of the part, each with its latest result."""
    for view in listed:
        command = part.actions.commands.get(view.spec.command_id)
        if command is None:
            continue
        verb = VERBS.get(command.spec.action, command.spec.action)
        yield TimelineEntry(
            at=from_ms(command.since_ms),
            what=Occurrence.COMMANDED,
            text=f"{command.spec.mode}: {verb} {command.spec.target}",
            tenant=part.tenant,
            ref=command.spec.command_id,
            processing=True,
        )
        if (answer := command.latest()) is not None:
            yield TimelineEntry(
                at=from_ms(answer[0]),
                what=Occurrence.RESULT,
                text=f"{verb} {command.spec.target}: {answer[1]} {answer[2]}".strip(),
                tenant=part.tenant,
                ref=command.spec.command_id,
                processing=True,
            )


def _recovered(part: TenantState) -> Iterator[TimelineEntry]:
    proofs = {
        (proof.system, proof.component): proof
        for proof in part.systems_row.proofs.values()
        if proof.kind != CHECKED
    }
    for task in part.tasks:
        proof = proofs.get((task.system, task.component))
        if proof is not None and task.kind in ON_SYSTEMS and task.state is TaskState.DONE:
            yield TimelineEntry(
                at=proof.occurred_at,
                what=Occurrence.RECOVERED,
                text=task.text,
                tenant=part.tenant,
                system=task.system,
                ref=task.proof,
            )


def _withdrawn(part: TenantState) -> Iterator[TimelineEntry]:
    for state in part.findings.ids.values():
        if state.withdrawn is not None and not state.active():
            yield TimelineEntry(
                at=from_ms(state.withdrawn[0]),
                what=Occurrence.WITHDRAWN,
                text=state.reason,
                tenant=part.tenant,
                ref=state.finding,
                processing=True,
            )


def names_in(part: TenantState) -> dict[str, str]:
    """Return readable names of the commands and tasks that decisions name by id."""
    names = {
        command_id: _named(command.spec.action, command.spec)
        for command_id, command in part.actions.commands.items()
    }
    names |= {task.id: task.text for task in part.tasks}
    if any(decision.target not in names for decision, _ in part.decisions if decision.target):
        # an incident that is reopened issues its commands anew, under other ids
        return _earlier_names(part) | names
    return names


def _earlier_names(part: TenantState) -> dict[str, str]:
    return {
        command_id: _named(action, command.spec)
        for command in part.actions.commands.values()
        for command_id, action in ids_of(
            command.spec, command.spec.incident, part.actions.generation
        ).items()
    }


def _named(action: Action, spec: CommandSpec) -> str:
    return f"{VERBS.get(action, action)} {spec.target}"


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
    """Return the entries in order of time and cause, at most `TIMELINE` of them.

    Which entries are dropped does not depend on processing times.

    Args:
        entries: What happened; findings and commands in the order in which they are listed.
    """
    listed = list(entries)
    if len(listed) > TIMELINE:
        stable = sorted(range(len(listed)), key=lambda at: in_stable_order(listed[at]))
        chosen = sorted(stable[: TIMELINE // 2] + stable[-TIMELINE // 2 :])
        listed = [listed[at] for at in chosen]
    return tuple(sorted(listed, key=in_order))


def in_order(entry: TimelineEntry) -> tuple[datetime, int]:
    """Return a sort key by time, and at one time causes before what they lead to."""
    return entry.at, _BY_CAUSE.index(entry.what)

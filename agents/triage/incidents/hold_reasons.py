"""The reasons and suspicions that a tenant's part sends to holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from agents.triage.bounded_sets import stable_rank
from agents.triage.containment import ids_of
from agents.triage.incidents.adoption import is_adopted
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import CommandState
from agents.triage.incidents.tenant_state import TenantState, bad_digests
from agents.triage.ledger.batch import content_hash
from agents.triage.rollback_targets import goals_of
from schemas.canonical import stable_hash
from schemas.decisions import DecisionKind
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import (
    Goal,
    HoldReason,
    ReasonState,
    Suspicion,
    hold_key,
)
from schemas.incidents.states import Action, CommandPhase, IncidentStatus, Mode
from schemas.severity import Severity

SWITCHED: Final = frozenset({"model", "image", "service", "deployment"})
"""Kinds of component of which versions are rolled back to."""

_JUSTIFIED: Final = frozenset({Action.QUARANTINE, Action.ROLLBACK, Action.BLOCK})
"""Actions whose reasons list their findings. Identities and pipelines follow from these: there may
be hundreds of them, and each would be sent again with every finding."""

Ask = Callable[[str, HoldReason | Suspicion], None]
"""Sends to the hold of a key."""


class _Content(msgspec.Struct, frozen=True):
    """The parts of a reason that are sent again when they change."""

    state: ReasonState
    goals: tuple[Goal, ...]
    closed: bool
    retries: int
    dry_run: bool
    digest: str | None
    goal: str | None
    why: str
    findings: tuple[str, ...]


def ask_holds(
    case: IncidentRows, part: TenantState, called_for: Iterable[CommandSpec], ask: Ask
) -> None:
    """Send holds the changed reasons of a tenant's part.

    Args:
        case: The incident.
        part: The tenant's part, after its commands were updated.
        called_for: The commands that it calls for now, with their findings.
        ask: Sends to a hold.
    """
    row = case.asked(part.tenant)
    changed = False
    planned = {spec.command_id: spec for spec in called_for}
    for command in _current(part.actions.commands.values()):
        reason = _reason(case, part, command)
        justified = planned.get(command.spec.command_id)
        if justified is not None and command.spec.action in _JUSTIFIED:
            reason = msgspec.structs.replace(
                reason, why=justified.reason, findings=justified.findings
            )
        rank = stable_rank(reason.spec.action, reason.spec.target)
        content = content_hash(
            _Content(
                state=reason.state,
                goals=reason.goals,
                closed=reason.closed,
                retries=reason.retries,
                dry_run=reason.spec.dry_run,
                digest=reason.spec.digest,
                goal=reason.spec.rollback_digest,
                why=reason.why,
                findings=reason.findings,
            )
        )
        if row.sent.get(rank) != content:
            row.sent[rank] = content
            changed = True
            reason = msgspec.structs.replace(reason, revision=case.next_revision())
            row.revisions[rank] = reason.revision
            ask(hold_key(part.tenant, reason.spec.hold), reason)
    for component, suspected in _suspected(part).items():
        rank = stable_rank("", component)
        content = stable_hash(*suspected) if suspected else ""
        if row.sent.get(rank, "") != content:
            row.sent[rank] = content
            changed = True
            suspicion = Suspicion(
                incident=case.incident,
                tenant=part.tenant,
                component=component,
                suspected=suspected,
                revision=case.next_revision(),
            )
            ask(hold_key(part.tenant, component), suspicion)
    if changed:
        case.save_asked(row)


def _current(commands: Iterable[CommandState]) -> list[CommandState]:
    """Return the commands that holds decide about, one for each action and target."""
    chosen: dict[tuple[str, str], CommandState] = {}
    for command in commands:
        spec = command.spec
        if not spec.hold or spec.undoes is not None:
            continue
        known = chosen.get((spec.action, spec.target))
        if known is None or known.phase is CommandPhase.SUPERSEDED:
            chosen[spec.action, spec.target] = command
    return [
        command
        for command in chosen.values()
        if command.phase is not CommandPhase.SUPERSEDED or command.lifted
    ]


def _reason(case: IncidentRows, part: TenantState, command: CommandState) -> HoldReason:
    spec, state = command.spec, reason_state(command)
    approved = part.actions.approved_before(command) if state is ReasonState.ASKED else None
    if approved is not None:
        # The person's word stands: it counts again once that version is cleared.
        state = ReasonState.APPROVED
        spec = msgspec.structs.replace(
            spec,
            rollback_version=approved.rollback_version,
            rollback_digest=approved.rollback_digest,
        )
    since = min(
        (system.since for system in part.systems if system.component == spec.target), default=None
    )
    return HoldReason(
        incident=case.incident,
        state=state,
        revision=0,
        spec=spec,
        goals=goals_of(spec.target, part.good, since) if spec.action is Action.ROLLBACK else (),
        closed=part.status is IncidentStatus.CLOSED,
        issued=is_adopted(spec) and command.phase is not CommandPhase.PROPOSED,
        by_person=part.status is IncidentStatus.FALSE_POSITIVE
        or command.phase is CommandPhase.RELEASED,
        retries=_retries(part, spec),
    )


def _retries(part: TenantState, spec: CommandSpec) -> int:
    targets = [
        decision.target for decision, _ in part.decisions if decision.decision is DecisionKind.RETRY
    ]
    if not targets:
        return 0
    ids = {spec.command_id, *ids_of(spec, spec.incident, spec.generation)}
    return sum(target in ids for target in targets)


def leave_holds(case: IncidentRows, part: TenantState, ask: Ask) -> None:
    """Make holds forget a forgotten incident, except for what it still contains.

    Args:
        case: The incident.
        part: The tenant's part.
        ask: Sends to a hold.
    """
    for command in _current(part.actions.commands.values()):
        reason = _reason(case, part, command)
        if not reason.state.stands:
            reason = msgspec.structs.replace(
                reason, state=ReasonState.REFUTED, revision=case.next_revision()
            )
            ask(hold_key(part.tenant, reason.spec.hold), reason)
    for component in _suspected(part):
        nothing = Suspicion(
            incident=case.incident,
            tenant=part.tenant,
            component=component,
            suspected=(),
            revision=case.next_revision(),
        )
        ask(hold_key(part.tenant, component), nothing)


def reason_state(command: CommandState) -> ReasonState:
    """Return how far the reason is that a command of a tenant's part stands for."""
    if command.phase is CommandPhase.RELEASED:
        return ReasonState.RELEASED
    if command.lifted or command.phase is CommandPhase.GONE:
        return ReasonState.REFUTED
    by_phase = {
        CommandPhase.PROPOSED: ReasonState.ASKED,
        CommandPhase.REJECTED: ReasonState.REJECTED,
    }
    if command.phase in by_phase:
        return by_phase[command.phase]
    if command.phase is CommandPhase.EXPIRED and command.spec.mode is Mode.PROPOSAL:
        return ReasonState.EXPIRED
    approved = command.spec.mode is Mode.APPROVED
    return ReasonState.APPROVED if approved else ReasonState.AUTOMATIC


def _suspected(part: TenantState) -> dict[str, tuple[str, ...]]:
    """Return, by component, what findings of medium or above suspect."""
    components = {entry.component for entry in part.systems_row.entries.values()}
    components |= {group.finding.component for group, _ in part.own}
    holds = not part.status.refuted and any(
        ground.severity.rank >= Severity.MEDIUM.rank for ground in part.grounds
    )
    bad = bad_digests(part.systems_row) if holds else frozenset()
    of_component: dict[str, set[str]] = {
        component: set() for component in components if component.partition(":")[0] in SWITCHED
    }
    for entry in part.entries:
        if entry.component in of_component and entry.digest in bad:
            of_component[entry.component].add(entry.digest or "")
    for ground in part.grounds if holds else ():
        if ground.component in of_component and ground.severity.rank >= Severity.MEDIUM.rank:
            if ground.version is not None:
                of_component[ground.component].add(f"@{ground.version}")
            if ground.indicator_key.startswith("sha256:"):
                of_component[ground.component].add(ground.indicator_key[7:])
    # Retracted versions only matter if a command rolls back to them.
    for command in part.actions.commands.values():
        goal = command.spec.rollback_digest
        if goal in bad and command.spec.target in of_component:
            of_component[command.spec.target].add(goal or "")
    return {component: tuple(sorted(names)) for component, names in sorted(of_component.items())}

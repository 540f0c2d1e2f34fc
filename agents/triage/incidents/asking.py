"""What an incident asks of holds, and what it hears from them, for one tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from agents.triage.bounded_sets import stable_rank
from agents.triage.containment import command_id, goals_of
from agents.triage.holds import thing_key
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import CommandState
from agents.triage.incidents.tenant_state import TenantState, bad_digests, good_of
from agents.triage.ledger.batch import content_hash
from agents.triage.ledger.rows import from_ms, to_ms
from schemas.canonical import stable_hash
from schemas.decisions import DecisionKind
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import (
    Goal,
    HoldNotice,
    HoldReason,
    HoldState,
    ReasonState,
    Suspicion,
    hold_key,
)
from schemas.severity import Severity

SWITCHED: Final = frozenset({"model", "image", "service", "deployment"})
"""Kinds of component of which versions are gone back to."""
GENERATIONS: Final = 16
"""Earlier commands of a hold by whose ids a person may still ask for it to be tried again."""
ANSWER: Final = "hold"
"""Where a command keeps the answer that its hold told of."""

Ask = Callable[[str, HoldReason | Suspicion], None]
"""Tells the hold of a key."""


class _Told(msgspec.Struct, frozen=True):
    """What of a reason a hold is told of anew when it changes."""

    state: ReasonState
    goals: tuple[Goal, ...]
    closed: bool
    retries: int
    dry_run: bool
    digest: str | None
    goal: str | None


def ask_holds(case: IncidentRows, part: TenantState, ask: Ask) -> None:
    """Tell the holds what changed in the reasons that a tenant's part gives them.

    Args:
        case: The incident.
        part: The tenant's part, after its commands were looked at.
        ask: Tells a hold.
    """
    row = case.asked(part.tenant)
    changed = False
    for command in _current(part.actions.commands.values()):
        said = _reason(case, part, command)
        place = stable_rank(said.spec.action, said.spec.target)
        told = content_hash(
            _Told(
                state=said.state,
                goals=said.goals,
                closed=said.closed,
                retries=said.retries,
                dry_run=said.spec.dry_run,
                digest=said.spec.digest,
                goal=said.spec.rollback_digest,
            )
        )
        if row.told.get(place) != told:
            row.told[place] = told
            changed = True
            said = msgspec.structs.replace(said, revision=case.next_revision())
            row.said[place] = said.revision
            ask(hold_key(part.tenant, said.spec.hold), said)
    for component, suspected in _suspected(part).items():
        place = stable_rank("", component)
        told = stable_hash(*suspected) if suspected else ""
        if row.told.get(place, "") != told:
            row.told[place] = told
            changed = True
            against = Suspicion(
                incident=case.incident,
                tenant=part.tenant,
                component=component,
                suspected=suspected,
                revision=case.next_revision(),
            )
            ask(hold_key(part.tenant, component), against)
    if changed:
        case.save_asked(row)


def _current(commands: Iterable[CommandState]) -> list[CommandState]:
    """Return the commands that holds decide about: of each thing the one that counts."""
    chosen: dict[tuple[str, str], CommandState] = {}
    for command in commands:
        spec = command.spec
        if not spec.hold or spec.undoes is not None:
            continue
        known = chosen.get((spec.action, spec.target))
        if known is None or known.phase == "superseded":
            chosen[spec.action, spec.target] = command
    return [
        command for command in chosen.values() if command.phase != "superseded" or command.lifted
    ]


def _reason(case: IncidentRows, part: TenantState, command: CommandState) -> HoldReason:
    spec = command.spec
    since = min((one.since for one in part.systems if one.component == spec.target), default=None)
    return HoldReason(
        incident=case.incident,
        state=_state(command),
        revision=0,
        spec=spec,
        goals=goals_of(spec.target, good_of(part.systems_row), since)
        if spec.action == "rollback"
        else (),
        closed=part.status == "closed",
        by_person=part.status == "false-positive" or command.phase == "released",
        retries=sum(
            one.decision is DecisionKind.RETRY and one.target in _names(spec)
            for one, _ in part.decisions
        ),
    )


def _names(spec: CommandSpec) -> set[str]:
    """Return the ids that a hold gave or gives to its command and to what takes it back."""
    names = set()
    for generation in range(max(spec.generation - GENERATIONS, 0), spec.generation + 1):
        name = command_id("", spec.tenant, spec.action, spec.target, generation)
        names |= {name, command_id("", spec.tenant, spec.undo or "", name)}
    return names


def leave_holds(case: IncidentRows, part: TenantState, ask: Ask) -> None:
    """Let the holds forget an incident that is forgotten, but for what it contains to this day.

    Args:
        case: The incident.
        part: The tenant's part.
        ask: Tells a hold.
    """
    for command in _current(part.actions.commands.values()):
        said = _reason(case, part, command)
        if not said.state.stands:
            said = msgspec.structs.replace(
                said, state=ReasonState.REFUTED, revision=case.next_revision()
            )
            ask(hold_key(part.tenant, said.spec.hold), said)
    for component in _suspected(part):
        nothing = Suspicion(
            incident=case.incident,
            tenant=part.tenant,
            component=component,
            suspected=(),
            revision=case.next_revision(),
        )
        ask(hold_key(part.tenant, component), nothing)


def _state(command: CommandState) -> ReasonState:
    if command.lifted or command.phase == "gone":
        return ReasonState.REFUTED
    by_phase = {
        "proposed": ReasonState.ASKED,
        "rejected": ReasonState.REJECTED,
        "released": ReasonState.RELEASED,
    }
    if command.phase in by_phase:
        return by_phase[command.phase]
    if command.phase == "expired" and command.spec.mode == "proposal":
        return ReasonState.EXPIRED
    approved = command.spec.mode == "approved"
    return ReasonState.APPROVED if approved else ReasonState.AUTOMATIC


def _suspected(part: TenantState) -> dict[str, tuple[str, ...]]:
    """Return by component what a finding of medium or above speaks against."""
    components = {one.component for one in part.systems_row.entries.values()}
    components |= {group.finding.component for group, _ in part.own}
    holds = part.status not in {"withdrawn", "false-positive"} and any(
        one.severity.rank >= Severity.MEDIUM.rank for one in part.grounds
    )
    bad = bad_digests(part.systems_row) if holds else frozenset()
    of_component: dict[str, set[str]] = {
        one: set() for one in components if one.partition(":")[0] in SWITCHED
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
    # Of what may no longer be gone back to, what a command goes back to: the rest is no goal.
    for command in part.actions.commands.values():
        goal = command.spec.rollback_digest
        if goal in bad and command.spec.target in of_component:
            of_component[command.spec.target].add(goal or "")
    return {component: tuple(sorted(many)) for component, many in sorted(of_component.items())}


# -- hearing ---------------------------------------------------------------------------------------


def on_notice(case: IncidentRows, notice: HoldNotice) -> bool:
    """Take in what a hold tells of a command that the tenant's part called for.

    Returns:
        Whether anything changed.
    """
    asked = case.asked(notice.tenant)
    key = thing_key(notice.action, notice.target)
    place = stable_rank(notice.action, notice.target)
    if notice.revision <= asked.heard.get(place, 0):
        return False
    if notice.answers < asked.said.get(place, 0):
        # It was told before what was said last was heard: the answer to that is under way.
        return False
    asked.heard[place] = notice.revision
    if notice.generation:
        asked.generations[key] = notice.generation
    else:
        asked.generations.pop(key, None)
    case.save_asked(asked)
    row = case.actions(notice.tenant)
    mine = [
        one
        for one in row.commands.values()
        if (one.spec.action, one.spec.target) == (notice.action, notice.target)
        and one.phase != "superseded"
    ]
    if not mine:
        return True
    command = mine[-1]
    if command.spec.command_id == notice.superseded and not command.lifted:
        command.phase = "superseded"
        if notice.command is not None:
            row.commands[notice.command.command_id] = _following(command, notice)
    elif notice.state is HoldState.RELEASED:
        _renamed(row.commands, command, notice)
        _released(row.commands, command, notice)
    else:
        _renamed(row.commands, command, notice)
        _follow(command, notice)
    case.save(row)
    return True


def _following(before: CommandState, notice: HoldNotice) -> CommandState:
    """Return the rollback that takes the place of one that was given up."""
    spec = notice.command
    assert spec is not None
    held = notice.state is HoldState.HELD
    return CommandState(
        spec=msgspec.structs.replace(spec, incident=before.spec.incident),
        phase="issued" if held else "proposed",
        since_ms=before.since_ms,
        expires_ms=to_ms(spec.expires) if spec.expires else before.expires_ms,
    )


def _renamed(commands: dict[str, CommandState], command: CommandState, notice: HoldNotice) -> None:
    """File a command under the id that its hold gives it: the generation is the hold's."""
    spec = command.spec
    name = command_id("", notice.tenant, notice.action, notice.target, notice.generation)
    if name == spec.command_id or command.lifted or command.phase in {"gone", "released"}:
        return
    command.spec = msgspec.structs.replace(spec, command_id=name, generation=notice.generation)
    kept = list(commands.items())
    commands.clear()
    commands.update((name if one is command else key, one) for key, one in kept)


def _follow(command: CommandState, notice: HoldNotice) -> None:
    told = notice.command
    if told is not None and not command.lifted:
        command.spec = msgspec.structs.replace(
            command.spec,
            rollback_version=told.rollback_version,
            rollback_digest=told.rollback_digest,
            replaces=told.replaces,
            attempt=told.attempt,
            expires=told.expires if notice.state is HoldState.HELD else command.spec.expires,
        )
    if command.phase in {"issued", "expired"} and command.spec.mode != "proposal":
        command.phase = "expired" if notice.expired else "issued"
    command.results = _answer(notice)


def _answer(notice: HoldNotice) -> dict[str, tuple[int, int, str]]:
    if notice.status is None:
        return {}
    at = to_ms(notice.answered_at) if notice.answered_at else 0
    return {ANSWER: (at, notice.status, notice.status_text)}


def _released(commands: dict[str, CommandState], command: CommandState, notice: HoldNotice) -> None:
    """Show the command that takes back what the part called for."""
    undo = notice.command
    if undo is None or not (command.lifted or command.phase == "released"):
        return
    commands[undo.command_id] = CommandState(
        spec=undo,
        phase="expired" if notice.expired else "issued",
        since_ms=to_ms(undo.expires or from_ms(0)),
        expires_ms=to_ms(undo.expires or from_ms(0)),
        results=_answer(notice),
    )

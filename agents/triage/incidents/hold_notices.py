"""Applies notices of holds about the commands that a tenant's part calls for."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.triage.bounded_sets import stable_rank
from agents.triage.containment import command_id
from agents.triage.holds.attempts import ISSUED_MS
from agents.triage.holds.rows import thing_key
from agents.triage.incidents.adoption import is_adopted
from agents.triage.incidents.hold_reasons import reason_state
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import ActionsRow, CommandState
from agents.triage.ledger.rows import from_ms, to_ms
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HoldNotice, HoldState
from schemas.incidents.states import CommandPhase, Mode

SUPERSEDED: Final = 8
"""The most rollbacks of a component that are remembered after others took their place."""
ANSWER: Final = "hold"
"""The key of the answer that a command's hold reported."""


def on_notice(case: IncidentRows, notice: HoldNotice) -> bool:
    """Apply a hold's notice about a command that the tenant's part called for.

    Returns:
        Whether anything changed that commands or documents follow from. Mostly a hold only confirms
        what was asked of it, and gives the command another time to expire.
    """
    asked = case.asked(notice.tenant)
    key = thing_key(notice.action, notice.target)
    rank = stable_rank(notice.action, notice.target)
    if notice.revision <= asked.heard.get(rank, 0):
        return False
    if notice.answers < asked.revisions.get(rank, 0):
        # The hold had not seen the latest reason yet: the answer to that is in flight.
        return False
    asked.heard[rank] = notice.revision
    renumbered = notice.generation != asked.generations.get(key, 0)
    if notice.generation:
        asked.generations[key] = notice.generation
    else:
        asked.generations.pop(key, None)
    case.save_asked(asked)
    row = case.actions(notice.tenant)
    own = [
        command
        for command in row.commands.values()
        if (command.spec.action, command.spec.target) == (notice.action, notice.target)
    ]
    if not own:
        return True
    command = next(
        (command for command in reversed(own) if command.phase is not CommandPhase.SUPERSEDED),
        own[-1],
    )
    before = _shown(row)
    following = None if notice.state is HoldState.RELEASED else notice.command
    if command.phase is CommandPhase.SUPERSEDED:
        # No version was left to go back to: now there is one.
        if following is not None and following.command_id not in row.commands:
            _replace(row, command, following, notice)
    elif command.spec.command_id == notice.superseded and reason_state(command).calls:
        command.phase = CommandPhase.SUPERSEDED
        if following is not None:
            _replace(row, command, following, notice)
    elif notice.state is HoldState.RELEASED:
        _renamed(row.commands, command, notice)
        _released(row.commands, command, notice)
    else:
        _renamed(row.commands, command, notice)
        _follow(command, notice)
        if (
            notice.state is HoldState.HELD
            and command.phase is CommandPhase.PROPOSED
            and row.approved_before(command) is not None
            and not notice.asks_again
        ):
            command.phase = CommandPhase.ISSUED
            command.spec = msgspec.structs.replace(command.spec, mode=Mode.APPROVED)
    case.save(row)
    return renumbered or _shown(row) != before


def _shown(row: ActionsRow) -> list[tuple[str, CommandState]]:
    """Return the commands without the times to expire, which are no news to a reader."""
    return [
        (
            name,
            msgspec.structs.replace(
                command, spec=msgspec.structs.replace(command.spec, expires=None)
            ),
        )
        for name, command in row.commands.items()
    ]


def _replace(row: ActionsRow, before: CommandState, spec: CommandSpec, notice: HoldNotice) -> None:
    """Let a rollback take the place of another, and forget what was replaced long ago."""
    after = row.commands[spec.command_id] = _following(before, spec, notice)
    approved = row.approved_before(after)
    replaced = sorted(
        (
            command.spec
            for command in row.commands.values()
            if (command.spec.action, command.spec.target) == (spec.action, spec.target)
            and command.phase is CommandPhase.SUPERSEDED
        ),
        key=lambda replaced: replaced.generation,
    )
    for old in replaced[:-SUPERSEDED]:
        if approved is None or old.command_id != approved.command_id:
            del row.commands[old.command_id]


def _following(before: CommandState, spec: CommandSpec, notice: HoldNotice) -> CommandState:
    """Return the rollback that takes the place of another.

    It is in force for the part if the part's own reason is: what another incident requires
    automatically approves nothing here.
    """
    mode = before.spec.mode
    if notice.state is not HoldState.HELD or notice.asks_again:
        mode = Mode.PROPOSAL
    asks = mode is Mode.PROPOSAL
    return CommandState(
        spec=msgspec.structs.replace(spec, incident=before.spec.incident, mode=mode),
        phase=CommandPhase.PROPOSED if asks else CommandPhase.ISSUED,
        since_ms=before.since_ms,
        expires_ms=to_ms(spec.expires) if spec.expires else before.expires_ms,
    )


def _renamed(commands: dict[str, CommandState], command: CommandState, notice: HoldNotice) -> None:
    """File a command under the id that its hold gives it: the generation is the hold's."""
    spec = command.spec
    renamed = command_id("", notice.tenant, notice.action, notice.target, notice.generation)
    if notice.command is not None and notice.command.undoes is None:
        renamed = notice.command.command_id
    if (
        renamed == spec.command_id
        or command.lifted
        or command.phase in {CommandPhase.GONE, CommandPhase.RELEASED}
    ):
        return
    if is_adopted(spec):
        command.former_id = spec.command_id
    command.spec = msgspec.structs.replace(spec, command_id=renamed, generation=notice.generation)
    kept = list(commands.items())
    commands.clear()
    commands.update((renamed if other is command else key, other) for key, other in kept)


def _follow(command: CommandState, notice: HoldNotice) -> None:
    issued = notice.command
    if issued is not None and not command.lifted:
        command.spec = msgspec.structs.replace(
            command.spec,
            rollback_version=issued.rollback_version,
            rollback_digest=issued.rollback_digest,
            replaces=issued.replaces,
            attempt=issued.attempt,
            expires=issued.expires if notice.state is HoldState.HELD else command.spec.expires,
        )
    if (
        command.phase in {CommandPhase.ISSUED, CommandPhase.EXPIRED}
        and command.spec.mode is not Mode.PROPOSAL
    ):
        command.phase = CommandPhase.EXPIRED if notice.expired else CommandPhase.ISSUED
    kept = command.results if is_adopted(command.spec) else {}
    command.results = _answer(notice) or kept


def _answer(notice: HoldNotice) -> dict[str, tuple[int, int, str]]:
    if notice.status is None:
        return {}
    at = to_ms(notice.answered_at) if notice.answered_at else 0
    return {ANSWER: (at, notice.status, notice.status_text)}


def _released(commands: dict[str, CommandState], command: CommandState, notice: HoldNotice) -> None:
    """Show the command that reverses what the part called for."""
    undo = notice.command
    if undo is None or not (command.lifted or command.phase is CommandPhase.RELEASED):
        return
    expires_ms = to_ms(undo.expires or from_ms(0))
    commands[undo.command_id] = CommandState(
        spec=undo,
        phase=CommandPhase.EXPIRED if notice.expired else CommandPhase.ISSUED,
        # a notice does not say when the hold issued it
        since_ms=max(expires_ms - ISSUED_MS, 0),
        expires_ms=expires_ms,
        results=_answer(notice),
    )

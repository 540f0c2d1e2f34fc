"""Moves commands from before holds were kept into the holds of their components."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from agents.triage.containment import command_id, held_component
from agents.triage.incidents.rows import ActionsRow, CommandState
from agents.triage.ledger.rows import from_ms
from schemas.canonical import stable_id
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HELD
from schemas.incidents.states import CommandPhase
from schemas.incidents.updates import ResultUpdate

_IN_FORCE = frozenset({CommandPhase.PROPOSED, CommandPhase.ISSUED, CommandPhase.EXPIRED})


def adopt(row: ActionsRow) -> list[CommandState]:
    """Move containing commands that name no hold into the holds of their components.

    They keep their ids, which name their incident, because answers and decisions refer to them.

    Returns:
        The commands that were moved.
    """
    adopted = []
    for command in row.commands.values():
        spec = command.spec
        if (
            spec.action in HELD
            and not spec.hold
            and spec.undoes is None
            and not command.lifted
            and command.phase in _IN_FORCE
        ):
            command.spec = msgspec.structs.replace(spec, hold=held_component(spec.target))
            adopted.append(command)
    return adopted


def is_adopted(spec: CommandSpec) -> bool:
    """Return whether a command was issued before holds were kept: its id is not its hold's."""
    return bool(spec.hold) and spec.command_id != command_id(
        "", spec.tenant, spec.action, spec.target, spec.generation
    )


def adopted_ids(commands: Iterable[CommandState]) -> dict[tuple[str, str], str]:
    """Return the ids of adopted commands by action and target."""
    return {
        (command.spec.action, command.spec.target): command.spec.command_id
        for command in commands
        if command.spec.undoes is None and command.phase in _IN_FORCE and is_adopted(command.spec)
    }


def known_answers(tenant: str, adopted: Iterable[CommandState]) -> Iterator[ResultUpdate]:
    """Yield the answers from before commands were adopted, for their holds."""
    for command in adopted:
        answer = command.latest()
        if answer is not None:
            at_ms, status, text = answer
            yield ResultUpdate(
                incident=command.spec.incident,
                id=stable_id("res", "adopted", command.spec.command_id, str(at_ms)),
                command_id=command.spec.command_id,
                tenant=tenant,
                status=status,
                at=from_ms(at_ms),
                status_text=text,
                hold=command.spec.hold,
            )

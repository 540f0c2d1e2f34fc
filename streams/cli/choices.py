"""Resolve the command or task that an argument names, and check that the decision applies to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from schemas.decisions import DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.commands import CommandView
from schemas.incidents.states import Action, CommandStatus, TaskState
from schemas.incidents.views import IncidentDocument, TaskView

T = TypeVar("T")
_APPLIES: Final = {
    DecisionKind.APPROVE: frozenset({CommandStatus.PROPOSED, CommandStatus.ADVISED}),
    DecisionKind.REJECT: frozenset({CommandStatus.PROPOSED}),
    DecisionKind.RETRY: frozenset({CommandStatus.FAILED, CommandStatus.EXPIRED}),
}
_SEE: Final = "see: tidewatch incidents show"


def chosen_command(
    document: IncidentDocument, named: str, kind: DecisionKind, tenant: str | None = None
) -> CommandView:
    """Return a command by its number, its ID, or a unique prefix of its ID.

    Args:
        document: The incident.
        named: The argument, as typed.
        kind: The decision.
        tenant: Only commands of this tenant; default: of all.

    Raises:
        TidewatchError: There is none, more than one, or the decision does not apply to it.
    """
    commands = [
        (number, view.spec.command_id, view)
        for number, view in enumerate(document.commands, 1)
        if tenant is None or view.spec.tenant == tenant
    ]
    view = _one(
        commands,
        named,
        "command",
        document.id,
    )
    what = f"{view.spec.action} {view.spec.target}"
    if view.state not in _APPLIES[kind]:
        done = view.state == CommandStatus.DONE
        raise TidewatchError(
            f"{what} is {'already done' if done else view.state}: there is nothing to {kind}",
            where=view.spec.command_id,
            remedy=f"{kind} applies to what is {' or '.join(sorted(_APPLIES[kind]))}",
        )
    if view.spec.action == Action.ROLLBACK and view.spec.rollback_digest is None:
        raise TidewatchError(
            f"{what} names no version to roll back to",
            where=view.spec.command_id,
            remedy="choose a version, verify it, and roll back manually",
        )
    return view


def chosen_task(document: IncidentDocument, named: str, tenant: str | None = None) -> TaskView:
    """Return an open task by its number, its id, or a unique prefix of its id.

    Raises:
        TidewatchError: There is none, more than one, or it is done already.
    """
    tasks = [
        (number, task.id, task)
        for number, task in enumerate(document.tasks, 1)
        if tenant is None or task.tenant == tenant
    ]
    chosen = _one(tasks, named, "task", document.id)
    if chosen.state == TaskState.DONE:
        raise TidewatchError(
            f"{chosen.kind} is already done: {chosen.text}",
            where=chosen.id,
            remedy=f"it was shown by {chosen.proof}" if chosen.proof else _SEE,
        )
    return chosen


def _one(choices: Sequence[tuple[int, str, T]], named: str, what: str, incident: str) -> T:
    if named.isdecimal() and len(named) <= 4:  # noqa: PLR2004 -- no incident shows more
        matching = [choice for number, _, choice in choices if number == int(named)]
    else:
        matching = [choice for _, uid, choice in choices if uid == named] or [
            choice for _, uid, choice in choices if named and uid.startswith(named)
        ]
    if len(matching) != 1:
        raise TidewatchError(
            f"{'no' if not matching else 'more than one'} {what} of {incident} is {named!r}",
            remedy=f"{_SEE} {incident}",
        )
    return matching[0]

"""Resolve the command or task that an argument names, and check that the decision applies to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from schemas.decisions import DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.commands import CommandView
from schemas.incidents.views import IncidentDocument, TaskView

T = TypeVar("T")
_APPLIES: Final = {
    DecisionKind.APPROVE: frozenset({"proposed", "advised"}),
    DecisionKind.REJECT: frozenset({"proposed"}),
    DecisionKind.RETRY: frozenset({"failed", "expired"}),
}
_SEE: Final = "see: tidewatch incidents show"


def chosen_command(
    document: IncidentDocument, named: str, kind: DecisionKind, tenant: str | None = None
) -> CommandView:
    """Return a command by its number, its id, or a unique prefix of its id.

    Args:
        document: The incident.
        named: As it was typed.
        kind: What is decided about it.
        tenant: Only commands of this tenant; None: of all.

    Raises:
        TidewatchError: There is none, more than one, or the decision does not apply to it.
    """
    commands = [
        (number, one)
        for number, one in enumerate(document.commands, 1)
        if tenant is None or one.spec.tenant == tenant
    ]
    view = _one(
        [(number, one.spec.command_id, one) for number, one in commands],
        named,
        "command",
        document.id,
    )
    what = f"{view.spec.action} {view.spec.target}"
    if view.state not in _APPLIES[kind]:
        done = view.state == "done"
        raise TidewatchError(
            f"{what} is {'already done' if done else view.state}: there is nothing to {kind}",
            where=view.spec.command_id,
            remedy=f"{kind} applies to what is {' or '.join(sorted(_APPLIES[kind]))}",
        )
    if view.spec.action == "rollback" and view.spec.rollback_digest is None:
        raise TidewatchError(
            f"{what} names no version to go back to",
            where=view.spec.command_id,
            remedy="choose a version, verify it, and roll back by hand",
        )
    return view


def chosen_task(document: IncidentDocument, named: str, tenant: str | None = None) -> TaskView:
    """Return an open task by its number, its id, or a unique prefix of its id.

    Raises:
        TidewatchError: There is none, more than one, or it is done already.
    """
    tasks = [
        (number, one.id, one)
        for number, one in enumerate(document.tasks, 1)
        if tenant is None or one.tenant == tenant
    ]
    task = _one(tasks, named, "task", document.id)
    if task.state == "done":
        raise TidewatchError(
            f"{task.kind} is already done: {task.text}",
            where=task.id,
            remedy=f"it was shown by {task.proof}" if task.proof else _SEE,
        )
    return task


def _one(choices: Sequence[tuple[int, str, T]], named: str, what: str, incident: str) -> T:
    if named.isdecimal() and len(named) <= 4:  # noqa: PLR2004 -- no incident shows more
        matching = [one for number, _, one in choices if number == int(named)]
    else:
        matching = [one for _, name, one in choices if name == named] or [
            one for _, name, one in choices if named and name.startswith(named)
        ]
    if len(matching) != 1:
        raise TidewatchError(
            f"{'no' if not matching else 'more than one'} {what} of {incident} is {named!r}",
            remedy=f"{_SEE} {incident}",
        )
    return matching[0]

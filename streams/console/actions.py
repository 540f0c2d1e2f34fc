"""The decisions about an incident: who may make them, and their effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from schemas.counting import counted
from schemas.decisions import DecisionKind
from schemas.errors import TidewatchError
from schemas.incidents.commands import CommandView
from schemas.incidents.states import Action, CommandStatus, IncidentStatus, TaskState
from schemas.incidents.views import IncidentDocument, TaskView
from streams.cli.choices import chosen_command, chosen_task
from streams.console.viewer import Role, Viewer

ABOUT_COMMANDS: Final = frozenset({DecisionKind.APPROVE, DecisionKind.REJECT, DecisionKind.RETRY})
LISTED: Final = 12
"""Commands that a page lists as affected."""
_HELD: Final = frozenset({CommandStatus.ISSUED, CommandStatus.WORKING, CommandStatus.DONE})


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that the console offers."""

    kind: DecisionKind
    title: str
    role: Role
    target: Literal["", "command", "days", "person", "severity", "task"] = ""
    """The argument besides the reason: a `command`, a `task`, a `person`, a number of `days`, a
    `severity`."""
    operator: bool = False
    """Whether only the operator may."""
    danger: bool = False
    """Whether it ends, reverses or starts containment."""


ACTS: Final = {
    act.kind: act
    for act in (
        Act(kind=DecisionKind.ACKNOWLEDGE, title="Acknowledge", role=Role.ANALYST),
        Act(kind=DecisionKind.ASSIGN, title="Assign", role=Role.ANALYST, target="person"),
        Act(kind=DecisionKind.COMMENT, title="Comment", role=Role.ANALYST),
        Act(kind=DecisionKind.EVALUATION, title="Done", role=Role.ANALYST, target="task"),
        Act(
            kind=DecisionKind.APPROVE,
            title="Approve",
            role=Role.APPROVER,
            target="command",
            danger=True,
        ),
        Act(kind=DecisionKind.REJECT, title="Reject", role=Role.APPROVER, target="command"),
        Act(
            kind=DecisionKind.RETRY,
            title="Retry",
            role=Role.APPROVER,
            target="command",
            danger=True,
        ),
        Act(
            kind=DecisionKind.SEVERITY,
            title="Set severity",
            role=Role.APPROVER,
            target="severity",
        ),
        Act(kind=DecisionKind.SUPPRESS, title="Suppress", role=Role.APPROVER, target="days"),
        Act(kind=DecisionKind.CLOSE, title="Close", role=Role.APPROVER),
        Act(
            kind=DecisionKind.FALSE_POSITIVE,
            title="False positive",
            role=Role.APPROVER,
            danger=True,
        ),
        Act(kind=DecisionKind.REOPEN, title="Reopen", role=Role.APPROVER),
        Act(
            kind=DecisionKind.SHARE,
            title="Share with partners",
            role=Role.ADMIN,
            operator=True,
            danger=True,
        ),
    )
}


Effect = str | tuple[str, ...]
"""A sentence, or a list of the items of the sentence before."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that can be made now, and its effects."""

    act: Act
    tenant: str | None
    """The tenant whose part it is for; None: the whole incident."""
    target: str | None
    about: str
    """Its subject, in words."""
    effects: tuple[Effect, ...]
    """Its effects."""
    passed: bool | None = None


def allowed(viewer: Viewer, act: Act) -> bool:
    """Return whether a viewer may make a decision.

    Args:
        viewer: The viewer.
        act: The decision.
    """
    return viewer.may(act.role) and (viewer.everything or not act.operator)


def offered(viewer: Viewer, document: IncidentDocument) -> list[Act]:
    """Return the decisions about an incident as a whole that apply to it now.

    Args:
        viewer: The viewer.
        document: The incident, as the viewer reads it.
    """
    ended = document.status.ended
    fitting: dict[DecisionKind, bool] = {
        DecisionKind.ACKNOWLEDGE: document.status == IncidentStatus.NEW,
        DecisionKind.ASSIGN: not ended,
        DecisionKind.COMMENT: True,
        DecisionKind.SEVERITY: not ended,
        DecisionKind.SUPPRESS: not ended and document.status != IncidentStatus.SUPPRESSED,
        DecisionKind.CLOSE: not ended,
        DecisionKind.FALSE_POSITIVE: not document.status.refuted,
        DecisionKind.REOPEN: document.status
        in {IncidentStatus.CLOSED, IncidentStatus.FALSE_POSITIVE, IncidentStatus.SUPPRESSED}
        or any(part.status == IncidentStatus.SUPPRESSED for part in document.tenants),
        DecisionKind.SHARE: not document.released and not document.status.refuted,
    }
    return [act for kind, act in ACTS.items() if fitting.get(kind, False) and allowed(viewer, act)]


def offered_for(viewer: Viewer, document: IncidentDocument, view: CommandView) -> list[Act]:
    """Return the decisions about one command that apply to it now.

    Args:
        viewer: The viewer.
        document: The incident.
        view: The command.
    """
    found = []
    for kind in (DecisionKind.APPROVE, DecisionKind.REJECT, DecisionKind.RETRY):
        act = ACTS[kind]
        try:
            chosen_command(document, view.spec.command_id, kind)
        except TidewatchError:
            continue
        if allowed(viewer, act):
            found.append(act)
    return found


def planned(document: IncidentDocument, act: Act, *, target: str, tenant: str | None) -> Plan:
    """Return the effects of a decision.

    Args:
        document: The incident, as the viewer reads it.
        act: The decision.
        target: The command, task, person or severity that it is about; empty where there is none.
        tenant: Whose part; None: all of the incident.

    Raises:
        TidewatchError: It does not apply: the reason says why.
    """
    if act.kind in ABOUT_COMMANDS:
        view = chosen_command(document, target, act.kind)
        return Plan(
            act=act,
            tenant=view.spec.tenant,
            target=view.spec.command_id,
            about=f"{view.spec.action} {view.spec.target} of {view.spec.tenant}",
            effects=tuple(_of_command(act.kind, view)),
        )
    if act.target == "task":
        task = chosen_task(document, target)
        return Plan(
            act=act,
            tenant=task.tenant,
            target=task.id,
            about=task.text,
            effects=tuple(_of_task(document, task)),
            passed=True,
        )
    if act.target == "person":
        return Plan(
            act=act,
            tenant=tenant,
            target=target or None,
            about=document.title,
            effects=(
                f"{_whose(document, tenant)} is assigned to the person that you name.",
                "The alert's next record names them.",
            ),
        )
    effects = _EFFECTS[act.kind](document, tenant)
    return Plan(
        act=act,
        tenant=tenant,
        target=target if act.target == "severity" and target else None,
        about=document.title,
        effects=tuple(effects),
    )


def _whose(document: IncidentDocument, tenant: str | None) -> str:
    if tenant is not None:
        return f"The part of {tenant}"
    if document.tenant_count == 1:
        return "The incident"
    return f"The incident in all of its {counted(document.tenant_count, 'tenant')}"


def _of_command(kind: DecisionKind, view: CommandView) -> Iterable[str]:
    spec = view.spec
    what = f"{spec.action} {spec.target}"
    if kind is DecisionKind.REJECT:
        yield f"{what} of {spec.tenant} is not carried out, and is no longer proposed."
        yield "The incident's other commands do not change."
        return
    attempt = f", as attempt {spec.attempt + 1}" if kind is DecisionKind.RETRY else ""
    yield f"The command is signed and issued to the responders of {spec.tenant}: {what}{attempt}."
    if spec.rollback_version or spec.rollback_digest:
        yield f"It goes back to {spec.rollback_version or spec.rollback_digest}."
    if spec.dry_run:
        yield "The tenant's policy asks for a dry run: responders only report what they would do."
    else:
        yield "Responders carry it out."
    if spec.undo is not None:
        yield f"It can be undone by {spec.undo}, which a false positive does automatically."
    elif spec.action in {Action.REVOKE, Action.CAPTURE_EVIDENCE, Action.INVESTIGATE}:
        yield "Nothing undoes it."


def _of_task(document: IncidentDocument, task: TaskView) -> Iterable[str]:
    left = sum(other.state is not TaskState.DONE for other in document.tasks if other.id != task.id)
    yield f"The task is done for {task.tenant}, as you say."
    yield (
        f"{counted(left, 'other task')} of the incident {'is' if left == 1 else 'are'} open."
        if left
        else "It is the last that is open: the incident may close automatically, by the policy."
    )


def _acknowledge(document: IncidentDocument, tenant: str | None) -> Iterable[Effect]:
    yield f"{_whose(document, tenant)} is acknowledged: a person looks at it."
    yield "The notifier escalates it no further. Containment is not changed."


def _comment(document: IncidentDocument, tenant: str | None) -> Iterable[Effect]:
    yield "Your comment is shown in the incident's timeline. It changes nothing else."
    if tenant is None and document.tenant_count > 1:
        yield "Only the operator reads it: it concerns several tenants."


def _severity(document: IncidentDocument, tenant: str | None) -> Iterable[Effect]:
    yield f"{_whose(document, tenant)} has the severity that you choose, until it is set again."
    yield f"It is {document.score.band} now, by a score of {document.score.value} of 100."
    yield "The score moves into the band of that severity, by a term of its own."
    if suppressed := _suppressed(document, tenant):
        yield (
            f"It is suppressed for {', '.join(suppressed)}: until that ends, the alert is not "
            "published with it."
        )
    else:
        yield "The alert is published again with it, and notifications follow it."
    yield "What is contained, proposed or carried out automatically does not change."
    yield "Choose computed to have the score's own severity again."
    if tenant is None and document.tenant_count > 1:
        yield "It replaces what tenants set for their parts before."


def _suppressed(document: IncidentDocument, tenant: str | None) -> list[str]:
    """Return the tenants that suppress it, among those that a decision concerns."""
    return [
        part.tenant
        for part in document.tenants
        if part.status is IncidentStatus.SUPPRESSED and tenant in {None, part.tenant}
    ]


def _suppress(document: IncidentDocument, tenant: str | None) -> Iterable[Effect]:
    yield f"{_whose(document, tenant)} is suppressed for the days that you enter."
    yield "Closing or reopening it ends that sooner."
    yield "Until then the alert is not published again, even if more is found."
    yield "Containment is not changed. What is suppressed is open, and waits again afterwards."


def _close(document: IncidentDocument, tenant: str | None) -> Iterable[Effect]:
    yield f"{_whose(document, tenant)} is closed. New findings open it again."
    held = list(_in_force(document))
    if held:
        yield "What it contained stays contained until a person releases it:"
        yield _named(held)
    left = sum(task.state is not TaskState.DONE for task in document.tasks)
    if left:
        yield f"{counted(left, 'task')} {'is' if left == 1 else 'are'} left open."


def _false_positive(document: IncidentDocument, tenant: str | None) -> Iterable[Effect]:
    yield f"{_whose(document, tenant)} is closed as a false positive."
    held = [view for view in _in_force(document) if view.spec.undo is not None]
    if held:
        yield "What it contained is released, unless another incident holds it as well:"
        yield _named(held)
    lasting = [view for view in _in_force(document) if view.spec.action is Action.REVOKE]
    if lasting:
        yield "What was revoked stays revoked: issue it again by hand."
        yield _named(lasting)
    if tenant is None:
        yield "Marks that rest on it are lifted for every tenant."
    if document.shared:
        yield "It was shared with partners: its withdrawal is shared as well."


def _reopen(document: IncidentDocument, tenant: str | None) -> Iterable[Effect]:
    yield f"{_whose(document, tenant)} is open again; a suppression of it ends."
    yield "What it calls for is contained or proposed again, as the policy says."


def _share(document: IncidentDocument, _tenant: str | None) -> Iterable[Effect]:
    yield (
        f"Partners read its indicators, though only {counted(document.tenant_count, 'tenant')} "
        f"{'is' if document.tenant_count == 1 else 'are'} affected, once it is contained."
    )
    yield "Indicators name no tenant, system or path."


_EFFECTS: Final[dict[DecisionKind, Callable[[IncidentDocument, str | None], Iterable[Effect]]]] = {
    DecisionKind.ACKNOWLEDGE: _acknowledge,
    DecisionKind.COMMENT: _comment,
    DecisionKind.SEVERITY: _severity,
    DecisionKind.SUPPRESS: _suppress,
    DecisionKind.CLOSE: _close,
    DecisionKind.FALSE_POSITIVE: _false_positive,
    DecisionKind.REOPEN: _reopen,
    DecisionKind.SHARE: _share,
}


def _in_force(document: IncidentDocument) -> Iterable[CommandView]:
    return (
        view
        for view in document.commands
        if view.state in _HELD and not view.spec.dry_run and view.spec.undoes is None
    )


def _named(held: list[CommandView]) -> tuple[str, ...]:
    named = [
        f"{command.spec.action} {command.spec.target} of {command.spec.tenant}"
        for command in held[:LISTED]
    ]
    more = len(held) - LISTED
    return (*named, f"and {more} more") if more > 0 else tuple(named)

"""Views of the commands of a tenant's part, with their outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from agents.triage.incidents.commands import importance, planned
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import CommandState
from agents.triage.incidents.tenant_state import TenantState
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.states import Action, CommandPhase, CommandStatus, Mode

LISTED: Final = 32
VERBS: Final = {
    Action.CAPTURE_EVIDENCE: "capture evidence on",
    Action.QUARANTINE: "quarantine",
    Action.ROLLBACK: "roll back",
    Action.BLOCK: "block",
    Action.REVOKE: "revoke",
    Action.HOLD_PIPELINE: "hold",
    Action.REBUILD: "rebuild",
    Action.INVESTIGATE: "investigate",
}


def most_important(
    tenant_state: TenantState, commands: Sequence[CommandView]
) -> tuple[CommandView, ...]:
    """Return the most important commands, in listing order."""
    if len(commands) <= LISTED:
        return tuple(commands)
    order = importance(tenant_state)
    first = sorted(commands, key=lambda view: order(view.spec))[:LISTED]
    chosen = {view.spec.command_id for view in first}
    return tuple(view for view in commands if view.spec.command_id in chosen)


def command_views(case: IncidentRows, tenant_state: TenantState) -> tuple[CommandView, ...]:
    """Return the commands called for now, with their outcomes, and the advice.

    Outcomes belong to the command as issued; its reason and findings, as shown here, reflect the
    current state.
    """
    plan = planned(case, tenant_state)
    if tenant_state.views is None or tenant_state.views[0] is not plan:
        tenant_state.views = (plan, tuple(_views(tenant_state, plan)))
    return tenant_state.views[1]


def _views(tenant_state: TenantState, plan: Iterable[CommandSpec]) -> list[CommandView]:
    row = tenant_state.actions
    wanted = {spec.command_id: spec for spec in plan}
    views = []
    for command_id, command in row.commands.items():
        spec = msgspec.structs.replace(
            wanted.get(command_id) or _bygone(command),
            mode=command.spec.mode,
            expires=command.spec.expires,
            attempt=command.spec.attempt,
        )
        answer = command.latest()
        views.append(
            CommandView(
                spec=_shown(spec),
                state=command.state(),
                status=answer[1] if answer else None,
                status_text=answer[2] if answer else "",
            )
        )
    if not tenant_state.ended:
        views.extend(
            CommandView(spec=_shown(spec), state=CommandStatus.ADVISED)
            for command_id, spec in wanted.items()
            if command_id not in row.commands and spec.mode is Mode.ADVISED
        )
    order = tuple(VERBS)
    return sorted(
        views,
        key=lambda view: (
            order.index(view.spec.action) if view.spec.action in order else len(order),
            view.spec.target,
            view.spec.command_id,
        ),
    )


def _bygone(command: CommandState) -> CommandSpec:
    """Return the view of a command that is no longer called for, or that reverses another.

    The findings that it was issued for are in the record of the command.
    """
    spec = command.spec
    reason = spec.reason if spec.undoes else "its reason no longer holds"
    if command.phase is CommandPhase.SUPERSEDED:
        reason = "another version to go back to took its place, or none is left"
    return msgspec.structs.replace(spec, findings=(), digest=None, reason=reason)


def _shown(spec: CommandSpec) -> CommandSpec:
    return msgspec.structs.replace(spec, after=(), paths=())

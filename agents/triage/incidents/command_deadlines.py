"""Acts on commands as time passes: repeats, expires and escalates those without a hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from agents.triage.holds.attempts import ANSWER_MS
from agents.triage.holds.rows import ATTEMPTS
from agents.triage.incidents.commands import PublishCommand
from agents.triage.incidents.tenant_state import TenantState, suppressed_until
from schemas.incidents.commands import CommandSpec
from schemas.incidents.states import (
    CommandPhase,
    CommandStatus,
    IncidentStatus,
    TaskKind,
    TaskState,
)

POLICY_MS: Final = 3_600_000
"""How often the policy is read again, since no record reports its changes here."""

Escalate = Callable[[CommandSpec, str], None]


def on_time(
    tenant_state: TenantState, now_ms: int, publish_command: PublishCommand, escalate: Escalate
) -> bool:
    """On a tick, repeat unanswered and failed commands, and expire old ones.

    Returns:
        Whether anything changed.
    """
    changed = False
    for command in tenant_state.actions.commands.values():
        if command.phase is CommandPhase.PROPOSED and now_ms >= command.expires_ms:
            command.phase = CommandPhase.EXPIRED
            escalate(command.spec, "it was neither approved nor rejected in time")
            changed = True
        if (
            command.phase is not CommandPhase.ISSUED
            or command.spec.hold
            or command.lifted
            or command.state() is CommandStatus.DONE
        ):
            continue
        if now_ms >= command.expires_ms:
            command.phase = CommandPhase.EXPIRED
            escalate(command.spec, "it expired without success")
            changed = True
        elif command.spec.attempt >= ATTEMPTS:
            if not command.escalated and now_ms >= command.next_ms:
                command.escalated = True
                escalate(command.spec, f"{ATTEMPTS} attempts failed")
                changed = True
        elif now_ms >= command.next_ms:
            attempt = command.spec.attempt + 1
            command.spec = msgspec.structs.replace(command.spec, attempt=attempt)
            command.next_ms = now_ms + ANSWER_MS * (1 << (attempt - 1))
            publish_command(command.spec, False)
            changed = True
    return changed


def next_due(tenant_state: TenantState, now_ms: int) -> int | None:
    """Return when time next matters to the tenant's part (ms), None if it does not.

    Args:
        tenant_state: The part.
        now_ms: The last tick.
    """
    due = []
    if tenant_state.status is IncidentStatus.SUPPRESSED:
        due.append(suppressed_until(tenant_state.decisions))
    left = {task.kind for task in tenant_state.tasks if task.state is not TaskState.DONE}
    if left == {TaskKind.PATCH} and not tenant_state.ended:
        # A change of the policy may close the entry point, and no record reports that here.
        due.append(now_ms + POLICY_MS)
    if not tenant_state.ended and any(
        command.spec.dry_run
        and command.phase in {CommandPhase.PROPOSED, CommandPhase.ISSUED, CommandPhase.EXPIRED}
        and not command.lifted
        for command in tenant_state.actions.commands.values()
    ):
        # Nor the end of dry runs.
        due.append(now_ms + POLICY_MS)
    for command in tenant_state.actions.commands.values():
        if command.phase is CommandPhase.PROPOSED:
            due.append(command.expires_ms)
        elif (
            command.phase is CommandPhase.ISSUED
            and not command.spec.hold
            and not command.lifted
            and command.state() is not CommandStatus.DONE
        ):
            due.append(
                command.expires_ms
                if command.escalated
                else min(command.next_ms, command.expires_ms)
            )
    return min(due, default=None)

"""The life of containment commands: proposed, approved, issued, answered, repeated, taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from agents.triage.containment import command_id, plan, reversal
from agents.triage.incidents.advice import investigation
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import COMMANDS, ActionsRow, CommandState
from agents.triage.incidents.tenant_state import TenantState, bad_digests, good_of
from agents.triage.ledger.rows import from_ms, to_ms
from agents.triage.routing import split_version
from schemas.decisions import DecisionKind
from schemas.incidents.commands import CommandSpec

ISSUED_MS: Final = 24 * 3_600_000
"""How long a command may be carried out."""
PROPOSED_MS: Final = 72 * 3_600_000
ANSWER_MS: Final = 15 * 60_000
"""A responder answers within so long; each repetition waits twice as long."""
ATTEMPTS: Final = 5
POLICY_MS: Final = 3_600_000
"""How often an incident is looked at that only waits for its entry point to be shut."""

_PRECEDENCE: Final = (
    "capture-evidence component",
    "quarantine",
    "block",
    "hold-pipeline",
    "revoke",
    "rollback",
    "rebuild",
    "capture-evidence system",
)
"""Of commands that do not all fit: which are issued first."""

Tell = Callable[[CommandSpec, bool], None]
"""Publishes a command; True: as a proposal, which no one carries out."""
Escalate = Callable[[CommandSpec, str], None]


def update_commands(
    case: IncidentRows, tenant_state: TenantState, now_ms: int, tell: Tell, escalate: Escalate
) -> bool:
    """Issue what is due, carry out decisions, take back what lost its reason.

    Args:
        case: The incident.
        tenant_state: The tenant's part.
        now_ms: The broker's timestamp of the record that led here.
        tell: Publishes commands.
        escalate: Tells the operator of a command that a person must look at.

    Returns:
        Whether anything changed.
    """
    gone = tenant_state.status in {"withdrawn", "false-positive"}
    if gone:
        changed = _take_back(tenant_state, now_ms, tell)
    else:
        changed = _supersede(case, tenant_state, escalate)
        changed = _issue(case, tenant_state, now_ms, tell) or changed
    changed = _decide(tenant_state, now_ms, tell) or changed
    if changed:
        case.save(tenant_state.actions)
    return changed


def _issue(case: IncidentRows, tenant_state: TenantState, now_ms: int, tell: Tell) -> bool:
    row = tenant_state.actions
    originals = [one for one in row.commands.values() if one.spec.undoes is None]
    if originals and all(one.lifted or one.phase == "gone" for one in originals):
        # The reason came back: what was taken back is issued anew, under new ids. What became of
        # the old commands stands on the topics.
        row.generation += 1
        row.commands.clear()
    called_for = {spec.command_id: spec for spec in planned(case, tenant_state)}
    wanted = {name: spec for name, spec in called_for.items() if spec.mode != "advised"}
    changed = _amend(row, called_for, bad_digests(tenant_state.systems_row), tell)
    room = COMMANDS - sum(1 for one in row.commands.values() if one.spec.undoes is None)
    due = [spec for spec in wanted.values() if spec.command_id not in row.commands]
    if len(due) > room:
        due = sorted(due, key=importance(tenant_state))[:room]
        case.truncate("commands")
        if not row.full:
            row.full = changed = True
    for planned_spec in due:
        automatic = planned_spec.mode == "automatic"
        lasts = ISSUED_MS if automatic else PROPOSED_MS
        spec = msgspec.structs.replace(
            planned_spec,
            expires=from_ms(now_ms + lasts),
            after=tuple(one for one in planned_spec.after if _is_awaited(one, row, due)),
        )
        row.commands[spec.command_id] = CommandState(
            spec=spec,
            phase="issued" if automatic else "proposed",
            since_ms=now_ms,
            expires_ms=now_ms + lasts,
            next_ms=now_ms + ANSWER_MS if automatic else 0,
        )
        tell(spec, not automatic)
        changed = True
    return changed


def planned(case: IncidentRows, tenant_state: TenantState) -> tuple[CommandSpec, ...]:
    """Return the commands the tenant's part calls for now; of advice, the proposal to look."""
    if tenant_state.advisory:
        return _investigations(case, tenant_state)
    policy = tenant_state.policy
    if tenant_state.by_scan_alone:
        kept = tuple(one for one in policy.automatic if one == "capture-evidence")
        policy = msgspec.structs.replace(policy, automatic=kept)
    specs = plan(
        case.incident,
        tenant_state.tenant,
        tenant_state.grounds,
        tenant_state.systems,
        good_of(tenant_state.systems_row),
        policy,
        generation=tenant_state.actions.generation,
    )
    return tuple(_in_place(spec, tenant_state.actions) for spec in specs)


def _investigations(case: IncidentRows, tenant_state: TenantState) -> tuple[CommandSpec, ...]:
    components = {one.component for one in tenant_state.systems}
    components |= {group.finding.component for group, holds in tenant_state.own if holds}
    if not components:
        return ()
    return (
        investigation(
            case.incident,
            tenant_state.tenant,
            min(components),
            tenant_state.policy,
            generation=tenant_state.actions.generation,
        ),
    )


def _in_place(spec: CommandSpec, row: ActionsRow) -> CommandSpec:
    """Return a rollback under the id that takes the place of those superseded."""
    while (held := row.commands.get(spec.command_id)) and held.phase == "superseded":
        spec = msgspec.structs.replace(
            spec,
            command_id=command_id(spec.incident, spec.tenant, spec.action, spec.command_id),
            replaces=spec.command_id,
        )
    return spec


def _supersede(case: IncidentRows, tenant_state: TenantState, escalate: Escalate) -> bool:
    """Give up rollbacks that were issued to a version found to be bad since, and tell of it."""
    bad = bad_digests(tenant_state.systems_row)
    given_up = [
        command
        for command in tenant_state.actions.commands.values()
        if command.spec.action == "rollback"
        and command.spec.rollback_digest in bad
        and command.phase in {"issued", "expired"}
        and not command.lifted
    ]
    for command in given_up:
        command.phase = "superseded"
    following = {spec.replaces: spec for spec in planned(case, tenant_state) if spec.replaces}
    for command in given_up:
        spec = command.spec
        after = following.get(spec.command_id)
        known = after is not None and after.rollback_digest is not None
        version = after.rollback_version or after.rollback_digest if known and after else None
        escalate(
            spec,
            f"{spec.rollback_version or spec.rollback_digest} was found to be bad since; "
            + (f"{version} takes its place" if known else "no other good version is known"),
        )
    return bool(given_up)


def _is_awaited(name: str, row: ActionsRow, due: list[CommandSpec]) -> bool:
    """Tell whether a command is issued or proposed: one that never is would be awaited for ever."""
    return name in row.commands or any(one.command_id == name for one in due)


def importance(
    tenant_state: TenantState,
) -> Callable[[CommandSpec], tuple[int, float, datetime, str, str]]:
    """Return by what commands are ordered where not all have room, the most important first.

    What takes the component out of use, then the most critical asset, then the one that has it
    longest; name and id decide between equals, so that it never depends on the order of arrival.
    """
    critical: dict[str, float] = {}
    since: dict[str, datetime] = {}
    for system in tenant_state.systems:
        for name in (system.system, system.component):
            stated = (system.criticality, tenant_state.policy.criticality.get(name))
            critical[name] = max(critical.get(name, 0.0), *(one or 0.0 for one in stated))
            since[name] = min(since.get(name, system.since), system.since)

    def order(spec: CommandSpec) -> tuple[int, float, datetime, str, str]:
        name = spec.target if spec.target in since else split_version(spec.target)[0]
        return (
            _PRECEDENCE.index(_step(spec)) if _step(spec) in _PRECEDENCE else len(_PRECEDENCE),
            -critical.get(name, 0.0),
            since.get(name, from_ms(0)),
            spec.target,
            spec.command_id,
        )

    return order


def _step(spec: CommandSpec) -> str:
    return f"{spec.action} {spec.target_type}" if spec.action == "capture-evidence" else spec.action


def _amend(
    row: ActionsRow, called_for: dict[str, CommandSpec], bad: frozenset[str], tell: Tell
) -> bool:
    """Propose anew, under its id, a rollback to a version that is better than the one proposed.

    One to a version found to be bad since, where no other is known, is withdrawn: the proposal
    says so, and there is nothing left to approve.
    """
    changed = False
    for name, spec in called_for.items():
        command = row.commands.get(name)
        if command is None or command.phase != "proposed":
            continue
        if spec.mode == "advised":
            if command.spec.rollback_digest in bad:
                del row.commands[name]
                tell(spec, True)
                changed = True
            continue
        goal = (spec.rollback_version, spec.rollback_digest)
        if goal != (command.spec.rollback_version, command.spec.rollback_digest):
            command.spec = msgspec.structs.replace(
                command.spec,
                rollback_version=spec.rollback_version,
                rollback_digest=spec.rollback_digest,
            )
            tell(command.spec, True)
            changed = True
    return changed


def _decide(tenant_state: TenantState, now_ms: int, tell: Tell) -> bool:
    changed = False
    for command in tenant_state.actions.commands.values():
        if command.phase != "proposed":
            continue
        for decision, received_ms in tenant_state.decisions:
            named = decision.target == command.spec.command_id
            everything = decision.target is None and command.since_ms <= received_ms
            if decision.decision is DecisionKind.APPROVE and (named or everything):
                if to_ms(decision.time) > command.expires_ms:
                    continue
                _approve(command, now_ms, tell)
                changed = True
                break
            if decision.decision is DecisionKind.REJECT and (named or everything):
                command.phase = "rejected"
                changed = True
                break
    return changed


def _approve(command: CommandState, now_ms: int, tell: Tell) -> None:
    command.spec = msgspec.structs.replace(
        command.spec, mode="approved", expires=from_ms(now_ms + ISSUED_MS)
    )
    command.phase = "issued"
    command.since_ms = now_ms
    command.expires_ms = now_ms + ISSUED_MS
    command.next_ms = now_ms + ANSWER_MS
    tell(command.spec, False)


def _take_back(tenant_state: TenantState, now_ms: int, tell: Tell) -> bool:
    row = tenant_state.actions
    changed = False
    undone: dict[str, CommandSpec] = {}
    # What takes back the last of a chain goes back to what was before the first.
    replaced = {
        one.spec.replaces
        for one in row.commands.values()
        if one.spec.replaces and one.phase in {"issued", "expired", "superseded"}
    }
    for command in tuple(row.commands.values()):
        if command.spec.undoes is not None or command.lifted:
            continue
        if command.phase == "proposed":
            command.phase = "gone"
            changed = True
            continue
        if command.phase not in {"issued", "expired", "superseded"}:
            continue
        if command.spec.command_id in replaced:
            command.lifted = changed = True
            continue
        failed = command.state() == "failed"
        command.lifted = True
        changed = True
        undo = reversal(command.spec, f"its reason no longer holds: {tenant_state.status}")
        if undo is None or failed:
            continue
        undone[undo.command_id] = undo
    for whole in undone.values():
        undo = msgspec.structs.replace(
            whole,
            expires=from_ms(now_ms + ISSUED_MS),
            after=tuple(one for one in whole.after if one in undone),
        )
        row.commands[undo.command_id] = CommandState(
            spec=undo,
            phase="issued",
            since_ms=now_ms,
            expires_ms=now_ms + ISSUED_MS,
            next_ms=now_ms + ANSWER_MS,
        )
        tell(undo, False)
    return changed


def on_time(tenant_state: TenantState, now_ms: int, tell: Tell, escalate: Escalate) -> bool:
    """On a tick: issue again what was not answered or failed, let expire what is too old.

    Returns:
        Whether anything changed.
    """
    changed = False
    for command in tenant_state.actions.commands.values():
        if command.phase == "proposed" and now_ms >= command.expires_ms:
            command.phase = "expired"
            escalate(command.spec, "nobody approved or rejected it in time")
            changed = True
        if command.phase != "issued" or command.lifted or command.state() == "done":
            continue
        if now_ms >= command.expires_ms:
            command.phase = "expired"
            escalate(command.spec, "it expired without success")
            changed = True
        elif command.spec.attempt >= ATTEMPTS:
            if not command.escalated and now_ms >= command.next_ms:
                command.escalated = True
                escalate(command.spec, f"{ATTEMPTS} attempts brought no success")
                changed = True
        elif now_ms >= command.next_ms:
            attempt = command.spec.attempt + 1
            command.spec = msgspec.structs.replace(command.spec, attempt=attempt)
            command.next_ms = now_ms + ANSWER_MS * (1 << (attempt - 1))
            tell(command.spec, False)
            changed = True
    return changed


def next_due(tenant_state: TenantState, now_ms: int) -> int | None:
    """Return when time next matters to the tenant's part (ms), None if it does not.

    Args:
        tenant_state: The part.
        now_ms: The last tick.
    """
    due = [
        to_ms(decision.expires)
        for decision, _ in tenant_state.decisions
        if tenant_state.status == "suppressed"
        and decision.decision is DecisionKind.SUPPRESS
        and decision.expires is not None
    ]
    left = {task.kind for task in tenant_state.tasks if task.state != "done"}
    if left == {"patch"} and not tenant_state.ended:
        # A change of the policy may show it shut, and no record tells of that here.
        due.append(now_ms + POLICY_MS)
    for command in tenant_state.actions.commands.values():
        if command.phase == "proposed":
            due.append(command.expires_ms)
        elif command.phase == "issued" and not command.lifted and command.state() != "done":
            due.append(
                command.expires_ms
                if command.escalated
                else min(command.next_ms, command.expires_ms)
            )
    return min(due, default=None)

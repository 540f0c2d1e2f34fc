"""The life of containment commands: proposed, approved, issued, answered, repeated, withdrawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final

import msgspec

from agents.triage.containment import as_published, plan
from agents.triage.holds.attempts import ANSWER_MS, ISSUED_MS
from agents.triage.holds.rows import thing_key
from agents.triage.incidents.adoption import adopted_ids
from agents.triage.incidents.advice import investigation
from agents.triage.incidents.hold_reasons import Ask, ask_holds
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import COMMANDS, ActionsRow, CommandState
from agents.triage.incidents.tenant_state import TenantState
from agents.triage.ledger.rows import from_ms, to_ms
from agents.triage.routing import split_version
from schemas.decisions import DecisionKind
from schemas.incidents.commands import CommandSpec
from schemas.incidents.states import (
    Action,
    CommandPhase,
    CommandStatus,
    Mode,
)

PROPOSED_MS: Final = 72 * 3_600_000

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
"""Which commands are issued first if not all fit."""

PublishCommand = Callable[[CommandSpec, bool], None]
"""Publishes a command; True: as a proposal, which isn't carried out."""


def update_commands(
    case: IncidentRows,
    tenant_state: TenantState,
    now_ms: int,
    publish_command: PublishCommand,
    ask: Ask,
) -> bool:
    """Issue what is due, carry out decisions, end reasons that no longer apply.

    Containing commands are not issued here: the hold receives the reason, and issues one command
    for all incidents that require it.

    Args:
        case: The incident.
        tenant_state: The tenant's part.
        now_ms: The broker's timestamp of the record that led here.
        publish_command: Publishes commands.
        ask: Sends to a hold.

    Returns:
        Whether anything changed.
    """
    if tenant_state.status.refuted:
        changed = _take_back(tenant_state)
    else:
        changed = tenant_state.advisory and _take_back(
            # Advice keeps no holds: what called for them no longer holds.
            tenant_state,
            {spec.command_id for spec in planned(case, tenant_state)},
        )
        changed = _issue(case, tenant_state, now_ms, publish_command) or changed
    changed = _decide(case, tenant_state, now_ms, publish_command) or changed
    if changed:
        case.save(tenant_state.actions)
    ask_holds(case, tenant_state, planned(case, tenant_state), ask)
    row = tenant_state.actions
    advised = [
        name
        for name, command in row.commands.items()
        if command.phase is CommandPhase.GONE and command.spec.mode is Mode.ADVISED
    ]
    for name in advised:
        # The hold was notified: only advice is left.
        del row.commands[name]
    if advised:
        case.save(row)
    return changed


def _issue(
    case: IncidentRows, tenant_state: TenantState, now_ms: int, publish_command: PublishCommand
) -> bool:
    row = tenant_state.actions
    changed = _begin_anew(case, tenant_state)
    called_for = {spec.command_id: spec for spec in planned(case, tenant_state)}
    wanted = {name: spec for name, spec in called_for.items() if spec.mode is not Mode.ADVISED}
    changed = _withdraw(row, called_for) or changed
    changed = _let_through(tenant_state, wanted, now_ms, publish_command) or changed
    room = COMMANDS - sum(1 for command in row.commands.values() if command.spec.undoes is None)
    due = [spec for spec in wanted.values() if spec.command_id not in row.commands]
    if len(due) > room:
        due = sorted(due, key=importance(tenant_state))[:room]
        case.truncate("commands")
        if not row.full:
            row.full = changed = True
    for planned_spec in due:
        automatic = planned_spec.mode is Mode.AUTOMATIC
        lasts = ISSUED_MS if automatic else PROPOSED_MS
        spec = msgspec.structs.replace(
            as_published(planned_spec),
            expires=from_ms(now_ms + lasts),
            after=tuple(before for before in planned_spec.after if _is_awaited(before, row, due)),
        )
        row.commands[spec.command_id] = CommandState(
            spec=spec,
            phase=CommandPhase.ISSUED if automatic else CommandPhase.PROPOSED,
            since_ms=now_ms,
            expires_ms=now_ms + lasts,
            next_ms=now_ms + ANSWER_MS if automatic else 0,
            held_back=not automatic and tenant_state.holds_back(spec.action),
        )
        if not spec.hold:
            publish_command(spec, not automatic)
        changed = True
    return changed


def _let_through(
    tenant_state: TenantState,
    wanted: Mapping[str, CommandSpec],
    now_ms: int,
    publish_command: PublishCommand,
) -> bool:
    """Issue what waited because only a scan supported it, once another basis agrees.

    A rejected command stays rejected; an expired proposal does not.
    """
    changed = False
    for name, command in tenant_state.actions.commands.items():
        spec = wanted.get(name)
        waits = command.phase is CommandPhase.PROPOSED or (
            command.phase is CommandPhase.EXPIRED and command.spec.mode is Mode.PROPOSAL
        )
        if command.held_back and waits and spec is not None and spec.mode is Mode.AUTOMATIC:
            command.held_back = False
            _begin(command, Mode.AUTOMATIC, now_ms, publish_command)
            changed = True
    return changed


def _begin_anew(case: IncidentRows, tenant_state: TenantState) -> bool:
    """Drop commands to be issued again: their reason came back, or they were dry runs.

    Their outcome remains on the topics. The new ones get new ids.
    """
    row = tenant_state.actions
    originals = [command for command in row.commands.values() if command.spec.undoes is None]
    ended = [
        command for command in originals if command.lifted or command.phase is CommandPhase.GONE
    ]
    back = (
        bool(ended)
        and not tenant_state.advisory
        and all(
            command in ended
            or command.phase is CommandPhase.REJECTED
            or command.spec.action is Action.INVESTIGATE
            for command in originals
        )
    )
    dry = not tenant_state.policy.dry_run and any(
        command.spec.dry_run
        and command.phase not in {CommandPhase.REJECTED, CommandPhase.GONE}
        and not command.lifted
        for command in originals
    )
    if not back and not dry:
        return False
    asked = case.asked(tenant_state.tenant)
    for command in originals:
        spec = command.spec
        if spec.hold and command.phase is not CommandPhase.GONE:
            key = thing_key(spec.action, spec.target)
            asked.generations[key] = max(asked.generations.get(key, 0), spec.generation + 1)
    case.save_asked(asked)
    row.generation += 1
    row.commands.clear()
    return True


def planned(case: IncidentRows, tenant_state: TenantState) -> tuple[CommandSpec, ...]:
    """Return the commands the tenant's part calls for now; for advice, the one to investigate.

    They are computed once for each state of the part.
    """
    numbered = case.asked(tenant_state.tenant).generations
    adopted = adopted_ids(tenant_state.actions.commands.values())
    key = (
        tenant_state.actions.generation,
        tuple(sorted(numbered.items())),
        tuple(sorted(adopted.values())),
    )
    if key not in tenant_state.plans:
        tenant_state.plans[key] = tuple(
            msgspec.structs.replace(
                spec, command_id=adopted.get((spec.action, spec.target), spec.command_id)
            )
            for spec in _plan(case, tenant_state, numbered)
        )
    return tenant_state.plans[key]


def _plan(
    case: IncidentRows, tenant_state: TenantState, generations: dict[str, int]
) -> tuple[CommandSpec, ...]:
    if tenant_state.advisory:
        return _investigations(case, tenant_state)
    if tenant_state.is_early:
        return ()
    policy = tenant_state.policy
    if tenant_state.by_scan_alone:
        kept = tuple(action for action in policy.automatic if action == Action.CAPTURE_EVIDENCE)
        policy = msgspec.structs.replace(policy, automatic=kept)
    return plan(
        case.incident,
        tenant_state.tenant,
        tenant_state.grounds,
        tenant_state.systems,
        tenant_state.good,
        policy,
        generation=tenant_state.actions.generation,
        held=generations,
    )


def _investigations(case: IncidentRows, tenant_state: TenantState) -> tuple[CommandSpec, ...]:
    components = {system.component for system in tenant_state.systems}
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


def _is_awaited(name: str, row: ActionsRow, due: list[CommandSpec]) -> bool:
    """Return whether a command is issued or proposed, and so awaits an answer."""
    return name in row.commands or any(spec.command_id == name for spec in due)


def importance(
    tenant_state: TenantState,
) -> Callable[[CommandSpec], tuple[int, float, datetime, str, str]]:
    """Return the sort key of commands if not all fit, the most important first.

    Commands that take the component out of use come first, then those on the most critical asset,
    then on the one that has held it longest; name and id break ties, so that the order of arrival
    never matters.
    """
    critical: dict[str, float] = {}
    since: dict[str, datetime] = {}
    for system in tenant_state.systems:
        for name in (system.system, system.component):
            stated = (system.criticality, tenant_state.policy.criticality.get(name))
            critical[name] = max(critical.get(name, 0.0), *(value or 0.0 for value in stated))
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
    return (
        f"{spec.action} {spec.target_type}"
        if spec.action is Action.CAPTURE_EVIDENCE
        else spec.action
    )


def _withdraw(row: ActionsRow, called_for: dict[str, CommandSpec]) -> bool:
    """Withdraw proposals that can now only be advised: no version to roll back to is left.

    The hold is notified, and publishes it as advice.
    """
    changed = False
    for name, spec in called_for.items():
        command = row.commands.get(name)
        if (
            command is not None
            and command.phase is CommandPhase.PROPOSED
            and spec.action is Action.ROLLBACK
            and spec.rollback_digest is None
        ):
            command.phase, command.spec = CommandPhase.GONE, spec
            changed = True
    return changed


def _decide(
    case: IncidentRows, tenant_state: TenantState, now_ms: int, publish_command: PublishCommand
) -> bool:
    row = tenant_state.actions
    changed = False
    if any(decision.decision is DecisionKind.APPROVE for decision, _ in tenant_state.decisions):
        changed = _take_advice(case, tenant_state, now_ms)
    for command in row.commands.values():
        changed = _try_again(tenant_state, command, now_ms, publish_command) or changed
        for decision, received_ms in tenant_state.decisions:
            named = decision.target in {command.spec.command_id, command.former_id}
            if decision.decision is DecisionKind.RELEASE and named:
                changed = _let_go(tenant_state, command) or changed
            if command.phase is not CommandPhase.PROPOSED:
                continue
            everything = decision.target is None and command.since_ms <= received_ms
            if decision.decision is DecisionKind.APPROVE and (named or everything):
                if to_ms(decision.time) > command.expires_ms:
                    continue
                _begin(command, Mode.APPROVED, now_ms, publish_command)
                changed = True
            elif decision.decision is DecisionKind.REJECT and (named or everything):
                command.phase = CommandPhase.REJECTED
                changed = True
    return changed


def _take_advice(case: IncidentRows, tenant_state: TenantState, now_ms: int) -> bool:
    """Propose an advised command that a person approves; the decision then issues it."""
    if tenant_state.ended:
        return False
    row = tenant_state.actions
    approved = {
        decision.target
        for decision, _ in tenant_state.decisions
        if decision.decision is DecisionKind.APPROVE
    }
    changed = False
    for spec in planned(case, tenant_state):
        goal = spec.action is not Action.ROLLBACK or spec.rollback_digest is not None
        known = row.commands.get(spec.command_id)
        if spec.mode is Mode.ADVISED and known is None and goal and spec.command_id in approved:
            row.commands[spec.command_id] = CommandState(
                spec=as_published(spec),
                phase=CommandPhase.PROPOSED,
                since_ms=now_ms,
                expires_ms=now_ms + PROPOSED_MS,
            )
            changed = True
    return changed


def _begin(command: CommandState, mode: Mode, now_ms: int, publish_command: PublishCommand) -> None:
    """Issue what was proposed."""
    command.spec = msgspec.structs.replace(
        command.spec, mode=mode, expires=from_ms(now_ms + ISSUED_MS)
    )
    command.phase = CommandPhase.ISSUED
    command.since_ms = now_ms
    command.expires_ms = now_ms + ISSUED_MS
    command.next_ms = now_ms + ANSWER_MS
    if not command.spec.hold:
        publish_command(command.spec, False)


def _let_go(tenant_state: TenantState, command: CommandState) -> bool:
    """End an ended incident's reason when a person releases it.

    A closed incident's reason outlives its findings, and reasons that the hold has no room for
    outlive all that it knows.
    """
    if (
        not command.spec.hold
        or command.spec.undoes is not None
        or command.phase not in {CommandPhase.ISSUED, CommandPhase.EXPIRED}
        or not tenant_state.ended
    ):
        return False
    command.phase = CommandPhase.RELEASED
    return True


def _try_again(
    tenant_state: TenantState, command: CommandState, now_ms: int, publish_command: PublishCommand
) -> bool:
    """Issue a failed or expired command again; holds do so for containing commands."""
    asked = sum(
        decision.decision is DecisionKind.RETRY and decision.target == command.spec.command_id
        for decision, _ in tenant_state.decisions
    )
    if command.spec.hold or asked <= command.retries:
        return False
    command.retries = asked
    issued = command.spec.mode in {Mode.AUTOMATIC, Mode.APPROVED} and not command.lifted
    if (
        not issued
        or command.phase not in {CommandPhase.ISSUED, CommandPhase.EXPIRED}
        or command.state() is CommandStatus.DONE
    ):
        return False
    command.phase, command.escalated = CommandPhase.ISSUED, False
    command.expires_ms = now_ms + ISSUED_MS
    command.next_ms = now_ms + ANSWER_MS
    command.spec = msgspec.structs.replace(
        command.spec, attempt=command.spec.attempt + 1, expires=from_ms(command.expires_ms)
    )
    publish_command(command.spec, False)
    return True


def _take_back(tenant_state: TenantState, kept: Collection[str] = ()) -> bool:
    """End the reasons that are no longer required; the hold releases what has no other reason.

    Args:
        tenant_state: The tenant's part.
        kept: The ids of commands that it still calls for.
    """
    changed = False
    for name, command in tenant_state.actions.commands.items():
        if command.spec.undoes is not None or command.lifted or name in kept:
            continue
        if command.phase is CommandPhase.PROPOSED:
            command.phase = CommandPhase.GONE
            changed = True
        elif command.phase in {CommandPhase.ISSUED, CommandPhase.EXPIRED, CommandPhase.SUPERSEDED}:
            command.lifted = changed = True
    return changed

"""Decides what a hold proposes, issues, abandons and releases. Pure: rows in, commands out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from agents.triage.containment import command_id, no_goal, reversal
from agents.triage.holds.attempts import begin, retry
from agents.triage.holds.goals import due_goal, goes_to, goes_to_bad
from agents.triage.holds.rows import ATTEMPTS, Effects, Hold, Reason, Thing
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HoldState, ReasonState
from schemas.incidents.states import Action, Mode

_ORDER: Final = (
    Action.QUARANTINE,
    Action.BLOCK,
    Action.HOLD_PIPELINE,
    Action.REVOKE,
    Action.ROLLBACK,
)
"""Actions that take a version out of use precede switches, and are reversed before them."""


def settle(hold: Hold, now_ms: int) -> Effects:
    """Issue, propose, abandon and release what is due; idempotent for an unchanged state.

    Args:
        hold: The component.
        now_ms: The broker's timestamp of the record that led here.
    """
    effects = Effects()
    for thing in sorted(
        hold.things.values(), key=lambda thing: (_ORDER.index(thing.action), thing.target)
    ):
        _settle(hold, thing, now_ms, effects)
    return effects


def _settle(hold: Hold, thing: Thing, now_ms: int, effects: Effects) -> None:
    if thing.action is Action.ROLLBACK:
        for reason in thing.reasons.values():
            # The person approved going back to that version, and to no other.
            reason.void = (
                reason.state is ReasonState.APPROVED
                and reason.spec.rollback_digest is not None
                and goes_to_bad(hold, reason.spec)
            )
    if thing.state is HoldState.HELD:
        _reconsider(hold, thing, now_ms, effects)
    if thing.state is HoldState.HELD:
        return
    if thing.given_up is not None and thing.given_up.dry_run and thing.calls_for_real:
        thing.given_up = None
    if thing.given_up is not None and not _is_needed(thing, thing.given_up):
        _release(hold, thing, thing.given_up, now_ms, effects)
    standing, asked, given_up = thing.standing(), thing.asked(), thing.given_up
    if standing and _may_begin(thing, standing):
        automatic = any(reason.state is ReasonState.AUTOMATIC for reason in standing)
        mode = Mode.AUTOMATIC if automatic else Mode.APPROVED
        if not _take_over(thing, standing, now_ms):
            _issue(hold, thing, [reason.spec for reason in standing], mode, now_ms, effects)
    elif thing.overflowed and given_up is not None:
        # The reasons that did not fit may stand: it goes to another version, on their behalf.
        _issue(hold, thing, [given_up], given_up.mode, now_ms, effects)
    elif asked and not _is_undoing(thing):
        _propose(hold, thing, asked, effects)
    elif thing.state is HoldState.PROPOSED:
        _withdraw(thing, effects)
    retry(thing, now_ms, effects)


def _is_needed(thing: Thing, spec: CommandSpec) -> bool:
    """Return whether what a command did is still called for: a dry run calls for nothing real."""
    return thing.overflowed or any(
        reason.state.stands and reason.spec.dry_run <= spec.dry_run
        for reason in thing.reasons.values()
    )


def _may_begin(thing: Thing, standing: list[Reason]) -> bool:
    """Return whether the command of these reasons may be issued.

    A dry run takes back nothing, so it waits while something real is in place.
    """
    given_up = thing.given_up
    is_dry_run = all(reason.spec.dry_run for reason in standing)
    is_in_place = _is_undoing(thing) or (given_up is not None and not given_up.dry_run)
    return not (is_dry_run and is_in_place)


def _is_outdated(hold: Hold, thing: Thing, spec: CommandSpec) -> bool:
    """Return whether a rollback in force goes elsewhere than it should."""
    if goes_to_bad(hold, spec):
        return True
    if any(reason.spec.dry_run == spec.dry_run for reason in thing.standing()):
        return not goes_to(spec, due_goal(hold, thing))
    return not thing.overflowed


def _is_undoing(thing: Thing) -> bool:
    """Return whether the release of a real command is repeated until it is answered.

    Proposals and dry runs wait for that.
    """
    return (
        thing.state is HoldState.RELEASED
        and thing.release is not None
        and not thing.release.dry_run
        and not thing.is_done
        and not thing.expired
    )


def _reconsider(hold: Hold, thing: Thing, now_ms: int, effects: Effects) -> None:
    """Check whether the reasons still require the command in force."""
    spec = thing.command
    assert spec is not None
    if spec.dry_run and thing.calls_for_real:
        # It changed nothing: there is nothing to release.
        _begin_anew(thing)
    elif not _is_needed(thing, spec):
        _release(hold, thing, spec, now_ms, effects)
    elif thing.action is Action.ROLLBACK and _is_outdated(hold, thing, spec):
        _give_up(thing, spec)
    else:
        retry(thing, now_ms, effects)


def _begin_anew(thing: Thing) -> None:
    thing.generation += 1
    thing.state = HoldState.IDLE
    # Another command: which incident it names follows from the reasons, not from who asked first.
    thing.incident = ""


def _give_up(thing: Thing, spec: CommandSpec) -> None:
    _begin_anew(thing)
    thing.command, thing.given_up = None, spec
    thing.escalated = False
    thing.superseded = spec.command_id


def warn_of_given_up(
    hold: Hold, thing: Thing, following: CommandSpec | None, effects: Effects
) -> None:
    """Escalate an abandoned rollback, once, unless a better version merely takes its place."""
    spec = thing.given_up
    if spec is None or thing.escalated:
        return
    bad = goes_to_bad(hold, spec)
    if following is not None and not bad:
        return
    thing.escalated = True
    name = following and (following.rollback_version or following.rollback_digest)
    effects.escalations.append(
        (
            spec,
            f"{spec.rollback_version or spec.rollback_digest} "
            + ("was found to be bad since; " if bad else "is no longer known to be good; ")
            + (f"{name} takes its place" if name else "no other good version is known"),
        )
    )


def _command(hold: Hold, thing: Thing, specs: list[CommandSpec]) -> CommandSpec | None:
    """Return the command that the reasons call for; None if there is nothing to roll back to."""
    base = next((spec for spec in specs if spec.incident == thing.incident), specs[0])
    thing.incident, after = base.incident, base.after
    if thing.action is Action.ROLLBACK:
        goal = due_goal(hold, thing)
        if goal is None:
            return None
        base = msgspec.structs.replace(
            base, rollback_version=goal.version, rollback_digest=goal.digest
        )
        after = (*after, *_quarantines(hold))
    return msgspec.structs.replace(
        base,
        command_id=command_id("", hold.row.tenant, thing.action, thing.target, thing.generation),
        generation=thing.generation,
        hold=hold.row.component,
        after=after,
        replaces=_replaced(thing),
        dry_run=base.dry_run,
        attempt=1,
    )


def _quarantines(hold: Hold) -> Iterable[str]:
    """Yield the quarantines of the component that are issued or proposed."""
    for _, thing in sorted(hold.things.items()):
        if (
            thing.action is Action.QUARANTINE
            and thing.state in {HoldState.HELD, HoldState.PROPOSED}
            and thing.command is not None
        ):
            yield thing.command.command_id


def _replaced(thing: Thing) -> str | None:
    """Return the command that the next one replaces, which may be pending or not undone."""
    if thing.given_up is not None:
        return thing.given_up.command_id
    if thing.state is HoldState.RELEASED and thing.release is not None and not thing.is_done:
        return thing.release.undoes
    return None if thing.command is None else thing.command.replaces


def _take_over(thing: Thing, standing: list[Reason], now_ms: int) -> bool:
    """Adopt a command from before holds were kept; return whether there is one."""
    issued = [reason for reason in standing if reason.issued]
    if not issued or thing.generation or thing.release is not None:
        return False
    thing.incident, spec = issued[0].incident, issued[0].spec
    begin(thing, spec, now_ms)
    thing.last_attempt = spec.attempt + ATTEMPTS
    thing.command, thing.state = spec, HoldState.HELD
    thing.others = {
        reason.spec.command_id: reason.spec
        for reason in issued
        if reason.spec.command_id != spec.command_id
    }
    return True


def _issue(
    hold: Hold,
    thing: Thing,
    specs: list[CommandSpec],
    mode: Mode,
    now_ms: int,
    effects: Effects,
) -> None:
    spec = _command(hold, thing, specs)
    if spec is None:
        thing.state, thing.command = HoldState.IDLE, None
        return
    spec = msgspec.structs.replace(spec, mode=mode)
    warn_of_given_up(hold, thing, spec, effects)
    thing.command = begin(thing, spec, now_ms)
    thing.state, thing.release, thing.given_up = HoldState.HELD, None, None
    effects.commands.append((thing.command, False))


def _propose(hold: Hold, thing: Thing, asked: list[Reason], effects: Effects) -> None:
    proposed = thing.command if thing.state is HoldState.PROPOSED else None
    if (
        proposed is not None
        and proposed.dry_run
        and not all(reason.spec.dry_run for reason in asked)
    ):
        _begin_anew(thing)
        proposed = None
    spec = _command(hold, thing, [reason.spec for reason in asked])
    if spec is None:
        if proposed is not None:
            effects.commands.append((_advised(thing, proposed), True))
        thing.state, thing.command = HoldState.IDLE, None
        return
    spec = msgspec.structs.replace(spec, mode=Mode.PROPOSAL, expires=asked[0].spec.expires)
    warn_of_given_up(hold, thing, spec, effects)
    if proposed is None or _goal_in(proposed) != _goal_in(spec):
        effects.commands.append((spec, True))
        thing.command = spec
    thing.state = HoldState.PROPOSED


def _goal_in(spec: CommandSpec) -> tuple[str | None, str | None]:
    return spec.rollback_version, spec.rollback_digest


def _withdraw(thing: Thing, effects: Effects) -> None:
    """Withdraw a proposal; if its action is now only advised, publish it as advice."""
    proposed = thing.command
    if proposed is not None and any(
        reason.spec.mode is Mode.ADVISED for reason in thing.reasons.values()
    ):
        effects.commands.append((_advised(thing, proposed), True))
    thing.state, thing.command = HoldState.IDLE, None


def _advised(thing: Thing, proposed: CommandSpec) -> CommandSpec:
    is_rollback = thing.action is Action.ROLLBACK
    return msgspec.structs.replace(
        proposed,
        mode=Mode.ADVISED,
        rollback_version=None,
        rollback_digest=None,
        reason=no_goal(thing.target) if is_rollback else proposed.reason,
    )


def _release(hold: Hold, thing: Thing, spec: CommandSpec, now_ms: int, effects: Effects) -> None:
    """Release a command, whatever its answers so far: the responder undoes what it changed."""
    undo = reversal(spec, "no reason for it is left")
    _begin_anew(thing)
    thing.command, thing.given_up, thing.superseded = None, None, None
    if undo is None:
        return
    if thing.action is Action.ROLLBACK:
        # A switch forward waits until its target version is restored.
        after = tuple(
            other.release.command_id
            for _, other in sorted(hold.things.items())
            if other.action is Action.QUARANTINE
            and other.state is HoldState.RELEASED
            and other.release is not None
            and not other.is_done
        )
        undo = msgspec.structs.replace(undo, after=after)
    thing.release = begin(thing, undo, now_ms)
    thing.state = HoldState.RELEASED
    effects.commands.append((thing.release, False))
    for other in thing.others.values():
        also = reversal(other, "no reason for it is left")
        if also is not None:
            also = msgspec.structs.replace(also, expires=thing.release.expires)
            effects.commands.append((also, False))
    thing.others = {}

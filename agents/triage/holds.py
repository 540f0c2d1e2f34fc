"""Holds: decides, for one component of one tenant, what is contained, and when it is released.

Incidents give reasons; the hold issues one command for all of them. The last reason that is refuted
releases it. All of it is pure: reasons, answers and time go in, commands come out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from agents.triage.bounded_sets import clip, stable_rank
from agents.triage.containment import command_id, reversal
from agents.triage.ledger.rows import from_ms, to_ms
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import Goal, HoldReason, HoldState, ReasonState, Suspicion
from schemas.incidents.updates import ResultUpdate

ISSUED_MS: Final = 24 * 3_600_000
"""How long a command may be carried out."""
ANSWER_MS: Final = 15 * 60_000
"""A responder answers within so long; each repetition waits twice as long."""
ATTEMPTS: Final = 5
THINGS: Final = 256
"""Actions on versions of one component in one tenant."""
REASONS: Final = 12
"""Incidents that one hold remembers."""
SUSPICIONS: Final = 32
SUSPECTED: Final = 24
"""Digests and versions that one incident holds against a component."""
RESULTS: Final = 6
TEXT_BYTES: Final = 120
NOTHING_LEFT: Final = "no version to go back to is free of suspicion: choose one and verify"
OK: Final = 200
_ORDER: Final = ("quarantine", "block", "hold-pipeline", "revoke", "rollback")
"""What is taken out of use comes before what is switched, and is put back before it."""


class Reason(msgspec.Struct, array_like=True):
    """What one incident says."""

    incident: str
    state: ReasonState
    revision: int
    spec: CommandSpec
    goals: tuple[Goal, ...] = ()
    closed: bool = False
    retries: int = 0

    @property
    def calls(self) -> bool:
        """Whether it asks for containment or justifies it."""
        return self.state.stands or self.state is ReasonState.ASKED


class Thing(msgspec.Struct, array_like=True):
    """One action on one thing: why, and how far it is."""

    action: str
    target: str
    reasons: dict[str, Reason] = msgspec.field(default_factory=dict)
    """By incident."""
    state: HoldState = HoldState.IDLE
    generation: int = 0
    """Of the command in force, or of the next one."""
    command: CommandSpec | None = None
    """The one that contains, as it was proposed or issued last."""
    release: CommandSpec | None = None
    given_up: CommandSpec | None = None
    """A rollback that was issued to a version found to be bad since, and that nothing replaced."""
    results: dict[str, tuple[str, int, int, str]] = msgspec.field(default_factory=dict)
    """Command, time, OpenC2 status and text, by rank of the result's id."""
    next_ms: int = 0
    expires_ms: int = 0
    last_attempt: int = ATTEMPTS
    expired: bool = False
    escalated: bool = False
    retried: int = 0
    full: bool = False
    """It has more reasons than are kept: only a person releases it."""
    told: str = ""
    superseded: str | None = None
    """The rollback that was given up last, since what it goes back to was found to be bad."""
    incident: str = ""
    """Whose reason the last command names: the next one names it too as long as it is there."""

    @property
    def key(self) -> str:
        """What it is kept under."""
        return thing_key(self.action, self.target)

    @property
    def in_force(self) -> CommandSpec | None:
        """The command that waits for an answer, or has it."""
        if self.state is HoldState.RELEASED:
            return self.release
        return self.command if self.state is HoldState.HELD else None

    def answer(self) -> tuple[int, int, str] | None:
        """Return time, status and text of the answer that counts: a success, else the last."""
        spec = self.in_force
        given = [one[1:] for one in self.results.values() if spec and one[0] == spec.command_id]
        return max(given, key=lambda one: (one[1] == OK, one), default=None)

    @property
    def is_done(self) -> bool:
        """Whether the command in force succeeded."""
        answer = self.answer()
        return answer is not None and answer[1] == OK

    @property
    def is_forgettable(self) -> bool:
        """Whether nothing was ever issued and nothing calls for it: there is no id to keep."""
        return (
            self.state is HoldState.IDLE
            and not self.generation
            and not self.full
            and self.given_up is None
            and not any(one.calls for one in self.reasons.values())
        )

    def standing(self) -> list[Reason]:
        """Return the reasons that justify containment, by incident."""
        return [one for _, one in sorted(self.reasons.items()) if one.state.stands]

    def asked(self) -> list[Reason]:
        """Return the reasons that wait for a person, by incident."""
        return [one for _, one in sorted(self.reasons.items()) if one.state is ReasonState.ASKED]


class Against(msgspec.Struct, array_like=True):
    """What one incident holds against versions of the component."""

    revision: int
    suspected: tuple[str, ...] = ()
    more: bool = False
    """There are more than are kept."""


class HoldRow(msgspec.Struct, array_like=True):
    """What concerns a component of a tenant as a whole."""

    tenant: str
    component: str
    seen: int = 0
    """Records that were taken in: the revision of what is told."""
    suspicions: dict[str, Against] = msgspec.field(default_factory=dict)
    """By incident."""
    blurred: bool = False
    """More incidents speak against versions than are kept."""
    full: bool = False
    """More is asked for than is kept."""
    told: str = ""


class Hold(msgspec.Struct):
    """A component of a tenant with all that is held of it."""

    row: HoldRow
    things: dict[str, Thing] = msgspec.field(default_factory=dict)

    @property
    def is_blurred(self) -> bool:
        """Whether more is held against versions than is kept: only a person goes back to one."""
        return self.row.blurred or any(one.more for one in self.row.suspicions.values())

    @property
    def is_forgettable(self) -> bool:
        """Whether nothing is held, nor held against it."""
        against = any(one.suspected for one in self.row.suspicions.values())
        return not (self.things or against or self.row.full or self.row.told)


class Effects(msgspec.Struct):
    """What follows from a step."""

    commands: list[tuple[CommandSpec, bool]] = msgspec.field(default_factory=list)
    """Each with whether it is only proposed."""
    escalations: list[tuple[CommandSpec, str]] = msgspec.field(default_factory=list)


def thing_key(action: str, target: str) -> str:
    """Return what an action on a thing is kept under."""
    return f"{action} {target}"


# -- taking in -------------------------------------------------------------------------------------


def on_reason(hold: Hold, said: HoldReason) -> bool:
    """Take in what an incident says; the latest revision counts.

    What a closed incident contained stays contained: that its findings are taken back later ends
    nothing, only a person does.

    Returns:
        Whether anything changed.
    """
    key = thing_key(said.spec.action, said.spec.target)
    thing = hold.things.get(key)
    calls = said.state.stands or said.state is ReasonState.ASKED
    if thing is None:
        if not calls:
            return False
        if len(hold.things) >= THINGS:
            hold.row.full = True
            return False
        thing = hold.things[key] = Thing(action=said.spec.action, target=said.spec.target)
    known = thing.reasons.get(said.incident)
    if known is not None and said.revision <= known.revision:
        return False
    new = Reason(
        incident=said.incident,
        state=said.state,
        revision=said.revision,
        spec=said.spec,
        goals=said.goals[:4],
        closed=said.closed,
        retries=said.retries,
    )
    if (
        known is not None
        and known.closed
        and known.state.stands
        and said.state is ReasonState.REFUTED
        and not said.by_person
    ):
        new.state, new.closed, new.spec, new.goals = known.state, True, known.spec, known.goals
    was_full = thing.full
    if said.by_person:
        thing.full = False
    if known is None and not calls:
        return was_full and not thing.full
    if known is None and len(thing.reasons) >= REASONS and not _make_room(thing, new):
        thing.full = thing.full or calls
        return True
    thing.reasons[said.incident] = new
    return True


def _make_room(thing: Thing, new: Reason) -> bool:
    """Forget a reason that counts for less than a new one; tell whether there was any."""

    def weight(one: Reason) -> int:
        return 2 if one.state.stands else int(one.state is ReasonState.ASKED)

    least = min(thing.reasons.values(), key=lambda one: (weight(one), one.incident))
    if weight(least) >= weight(new):
        return False
    thing.full = thing.full or least.calls
    del thing.reasons[least.incident]
    return True


def on_suspicion(hold: Hold, said: Suspicion) -> bool:
    """Take in which digests and versions an incident holds against the component.

    Returns:
        Whether anything changed.
    """
    known = hold.row.suspicions.get(said.incident)
    if known is not None and said.revision <= known.revision:
        return False
    new = Against(
        revision=said.revision,
        suspected=said.suspected[:SUSPECTED],
        more=len(said.suspected) > SUSPECTED,
    )
    if known is None and len(hold.row.suspicions) >= SUSPICIONS:
        empty = [one for one, many in hold.row.suspicions.items() if not many.suspected]
        if not empty:
            hold.row.blurred = True
            return True
        del hold.row.suspicions[min(empty)]
    hold.row.suspicions[said.incident] = new
    return True


def on_answer(hold: Hold, result: ResultUpdate) -> CommandSpec | None:
    """Take in a responder's answer.

    Returns:
        The command it answers; None if that is none of this hold's or was answered so before.
    """
    for thing in hold.things.values():
        for spec in (thing.command, thing.release, thing.given_up):
            if spec is None or spec.command_id != result.command_id:
                continue
            place = stable_rank(result.id)
            if place in thing.results:
                return None
            thing.results[place] = (
                result.command_id,
                to_ms(result.at),
                result.status,
                clip(result.status_text, TEXT_BYTES),
            )
            for extra in sorted(thing.results, key=lambda one: thing.results[one][1:])[:-RESULTS]:
                del thing.results[extra]
            return spec
    return None


# -- deciding --------------------------------------------------------------------------------------


def settle(hold: Hold, now_ms: int) -> Effects:
    """Issue, propose, give up and release what is due; the same state again does nothing.

    Args:
        hold: The component.
        now_ms: The broker's timestamp of the record that led here.
    """
    effects = Effects()
    places = {action: place for place, action in enumerate(_ORDER)}
    for thing in sorted(
        hold.things.values(), key=lambda one: (places.get(one.action, len(places)), one.target)
    ):
        _settle(hold, thing, now_ms, effects)
    return effects


def _settle(hold: Hold, thing: Thing, now_ms: int, effects: Effects) -> None:
    if thing.state is HoldState.HELD:
        _reconsider(hold, thing, now_ms, effects)
    if thing.state is HoldState.HELD:
        return
    for reason in thing.reasons.values():
        spec = reason.spec
        if (
            reason.state is ReasonState.APPROVED
            and spec.rollback_digest is not None
            and _is_bad(hold, spec.rollback_digest, spec.rollback_version)
        ):
            # What was approved was to go back to that version.
            reason.state = ReasonState.ASKED
    standing, asked = thing.standing(), thing.asked()
    if standing:
        _issue(hold, thing, standing, now_ms, effects)
    elif asked:
        _propose(hold, thing, asked, effects)
    elif thing.given_up is not None:
        _release(hold, thing, thing.given_up, now_ms, effects)
    elif thing.state is HoldState.PROPOSED:
        _withdraw(thing, effects)
    _retry(thing, now_ms, effects)


def _reconsider(hold: Hold, thing: Thing, now_ms: int, effects: Effects) -> None:
    """Look whether a command in force still is what the reasons call for."""
    spec, standing = thing.command, thing.standing()
    assert spec is not None
    if not standing:
        if not thing.full:
            _release(hold, thing, spec, now_ms, effects)
    elif spec.dry_run and not all(one.spec.dry_run for one in standing):
        # It changed nothing: there is nothing to take back.
        _begin_anew(thing)
        thing.command = None
    elif thing.action == "rollback" and _is_bad(hold, spec.rollback_digest, spec.rollback_version):
        _give_up(thing, spec)
    else:
        _retry(thing, now_ms, effects)


def _begin_anew(thing: Thing) -> None:
    thing.generation += 1
    thing.state = HoldState.IDLE


def _give_up(thing: Thing, spec: CommandSpec) -> None:
    _begin_anew(thing)
    thing.command, thing.given_up = None, spec
    thing.escalated = False
    thing.superseded = spec.command_id


def _warn(thing: Thing, following: CommandSpec | None, effects: Effects) -> None:
    """Tell once of a rollback that was given up, and what takes its place."""
    spec = thing.given_up
    if spec is None or thing.escalated:
        return
    thing.escalated = True
    name = following and (following.rollback_version or following.rollback_digest)
    effects.escalations.append(
        (
            spec,
            f"{spec.rollback_version or spec.rollback_digest} was found to be bad since; "
            + (f"{name} takes its place" if name else "no other good version is known"),
        )
    )


def is_stuck(hold: Hold, thing: Thing) -> bool:
    """Tell whether there should be a rollback, and no version to go back to is left."""
    return (
        thing.action == "rollback"
        and thing.state is HoldState.IDLE
        and bool(thing.standing())
        and best_goal(hold, thing) is None
    )


def best_goal(hold: Hold, thing: Thing) -> Goal | None:
    """Return the best version to go back to that nothing is held against; None if none is left."""
    if hold.is_blurred:
        return None
    goals = [goal for one in thing.reasons.values() if one.calls for goal in one.goals]
    return max(
        (one for one in goals if not _is_bad(hold, one.digest, one.version)),
        key=lambda one: (one.by_intel, one.signed, one.before, one.seen_ms, one.digest),
        default=None,
    )


def _is_bad(hold: Hold, digest: str | None, version: str | None) -> bool:
    names = {digest, None if version is None else f"@{version}"} - {None}
    if any(names & {*one.suspected} for one in hold.row.suspicions.values()):
        return True
    for thing in hold.things.values():
        if thing.action != "quarantine" or not any(one.calls for one in thing.reasons.values()):
            continue
        if version is not None and thing.target == f"{hold.row.component}@{version}":
            return True
        if digest is not None and any(
            one.calls and one.spec.digest == digest for one in thing.reasons.values()
        ):
            return True
    return False


def _command(hold: Hold, thing: Thing, reasons: list[Reason]) -> CommandSpec | None:
    """Return the command that reasons call for; None where there is nothing to go back to."""
    chosen = next((one for one in reasons if one.incident == thing.incident), reasons[0])
    thing.incident, base = chosen.incident, chosen.spec
    after = base.after
    if thing.action == "rollback":
        goal = best_goal(hold, thing)
        if goal is None:
            return None
        base = msgspec.structs.replace(
            base, rollback_version=goal.version, rollback_digest=goal.digest
        )
        after = (*after, *_of(hold, "quarantine", HoldState.HELD, HoldState.PROPOSED))
    return msgspec.structs.replace(
        base,
        command_id=command_id("", hold.row.tenant, thing.action, thing.target, thing.generation),
        generation=thing.generation,
        hold=hold.row.component,
        after=after,
        replaces=_replaced(thing),
        dry_run=all(one.spec.dry_run for one in reasons),
        attempt=1,
    )


def _of(hold: Hold, action: str, *states: HoldState) -> Iterable[str]:
    for _, thing in sorted(hold.things.items()):
        if thing.action == action and thing.state in states and thing.command is not None:
            yield thing.command.command_id


def _replaced(thing: Thing) -> str | None:
    """Return the command whose place the next one takes: it may still wait, or was not undone."""
    if thing.given_up is not None:
        return thing.given_up.command_id
    if thing.state is HoldState.RELEASED and thing.release is not None and not thing.is_done:
        return thing.release.undoes
    return None if thing.command is None else thing.command.replaces


def _issue(hold: Hold, thing: Thing, standing: list[Reason], now_ms: int, effects: Effects) -> None:
    spec = _command(hold, thing, standing)
    if spec is None:
        thing.state, thing.command = HoldState.IDLE, None
        return
    automatic = any(one.state is ReasonState.AUTOMATIC for one in standing)
    spec = msgspec.structs.replace(spec, mode="automatic" if automatic else "approved")
    _warn(thing, spec, effects)
    thing.command = _begin(thing, spec, now_ms)
    thing.state, thing.release, thing.given_up = HoldState.HELD, None, None
    effects.commands.append((thing.command, False))


def _begin(thing: Thing, spec: CommandSpec, now_ms: int) -> CommandSpec:
    thing.expires_ms = now_ms + ISSUED_MS
    thing.next_ms = now_ms + ANSWER_MS
    thing.last_attempt, thing.expired, thing.escalated = ATTEMPTS, False, False
    return msgspec.structs.replace(spec, expires=from_ms(thing.expires_ms))


def _propose(hold: Hold, thing: Thing, asked: list[Reason], effects: Effects) -> None:
    was = thing.command if thing.state is HoldState.PROPOSED else None
    if was is not None and was.dry_run and not all(one.spec.dry_run for one in asked):
        _begin_anew(thing)
        was = thing.command = None
    spec = _command(hold, thing, asked)
    if spec is None:
        if was is not None:
            effects.commands.append((_advised(thing, was), True))
        thing.state, thing.command = HoldState.IDLE, None
        return
    spec = msgspec.structs.replace(spec, mode="proposal", expires=asked[0].spec.expires)
    _warn(thing, spec, effects)
    if was is None or _goal_of(was) != _goal_of(spec):
        effects.commands.append((spec, True))
        thing.command = spec
    thing.state = HoldState.PROPOSED


def _goal_of(spec: CommandSpec) -> tuple[str | None, str | None]:
    return spec.rollback_version, spec.rollback_digest


def _withdraw(thing: Thing, effects: Effects) -> None:
    """Take a proposal back; one that may only be advised by now is told as that."""
    was = thing.command
    if was is not None and any(one.spec.mode == "advised" for one in thing.reasons.values()):
        effects.commands.append((_advised(thing, was), True))
    thing.state, thing.command = HoldState.IDLE, None


def _advised(thing: Thing, was: CommandSpec) -> CommandSpec:
    return msgspec.structs.replace(
        was,
        mode="advised",
        rollback_version=None,
        rollback_digest=None,
        reason=f"no known-good version of {thing.target} is known: choose one and verify"
        if thing.action == "rollback"
        else was.reason,
    )


def _release(hold: Hold, thing: Thing, spec: CommandSpec, now_ms: int, effects: Effects) -> None:
    """Take a command back, whatever was answered so far: the responder undoes what it changed."""
    undo = reversal(spec, "no reason for it is left")
    _begin_anew(thing)
    thing.command, thing.given_up, thing.superseded = None, None, None
    if undo is None:
        return
    if thing.action == "rollback":
        # A switch forward waits until what it switches to is back.
        after = tuple(
            one.release.command_id
            for _, one in sorted(hold.things.items())
            if one.action == "quarantine"
            and one.state is HoldState.RELEASED
            and one.release is not None
            and not one.is_done
        )
        undo = msgspec.structs.replace(undo, after=after)
    thing.release = _begin(thing, undo, now_ms)
    thing.state = HoldState.RELEASED
    effects.commands.append((thing.release, False))


# -- time ------------------------------------------------------------------------------------------


def on_time(hold: Hold, now_ms: int) -> Effects:
    """Issue again what was not answered or failed, let expire what is too old.

    That no version to go back to is left is told here, not at once: another may be told of by what
    is still under way.
    """
    effects = Effects()
    for _, thing in sorted(hold.things.items()):
        if is_stuck(hold, thing) and not thing.escalated:
            _warn(thing, None, effects)
            if not thing.escalated:
                thing.escalated = True
                effects.escalations.append((thing.standing()[0].spec, NOTHING_LEFT))
        spec = thing.in_force
        if spec is None or thing.is_done or thing.expired:
            continue
        if now_ms >= thing.expires_ms:
            thing.expired = True
            effects.escalations.append((spec, "it expired without success"))
        elif spec.attempt >= thing.last_attempt:
            if not thing.escalated and now_ms >= thing.next_ms:
                thing.escalated = True
                effects.escalations.append(
                    (spec, f"{thing.last_attempt} attempts brought no success")
                )
        elif now_ms >= thing.next_ms:
            _repeat(thing, spec, now_ms, effects)
    return effects


def _repeat(thing: Thing, spec: CommandSpec, now_ms: int, effects: Effects) -> None:
    attempt = spec.attempt + 1
    again = msgspec.structs.replace(spec, attempt=attempt)
    thing.next_ms = now_ms + ANSWER_MS * (1 << max(attempt - 1 - thing.last_attempt + ATTEMPTS, 0))
    if thing.state is HoldState.RELEASED:
        thing.release = again
    else:
        thing.command = again
    effects.commands.append((again, False))


def _retry(thing: Thing, now_ms: int, effects: Effects) -> None:
    """Begin anew with the attempts at a command, once for each time that a person asks for it."""
    asked = sum(one.retries for one in thing.reasons.values())
    if asked <= thing.retried:
        return
    thing.retried = asked
    spec = thing.in_force
    if spec is None or thing.is_done:
        return
    spec = _begin(thing, spec, now_ms)
    thing.last_attempt = spec.attempt + ATTEMPTS
    _repeat(thing, spec, now_ms, effects)


def next_due(hold: Hold) -> int | None:
    """Return when time next matters to a hold (ms), None if it does not."""
    due = [
        thing.expires_ms if thing.escalated else min(thing.next_ms, thing.expires_ms)
        for thing in hold.things.values()
        if thing.in_force is not None and not thing.is_done and not thing.expired
    ]
    due += [0 for thing in hold.things.values() if not thing.escalated and is_stuck(hold, thing)]
    return min(due, default=None)

"""Takes reasons, suspicions and answers into the rows of a hold."""

from __future__ import annotations

from typing import Final

from agents.triage.bounded_sets import clip, stable_rank
from agents.triage.containment import FINDINGS
from agents.triage.holds.rows import THINGS, Hold, Reason, Suspects, Thing, thing_key
from agents.triage.ledger.rows import to_ms
from agents.triage.rollback_targets import GOALS
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HoldReason, HoldState, ReasonState, Suspicion
from schemas.incidents.updates import ResultUpdate

REASONS: Final = 12
"""The most incidents that a hold remembers."""
SUSPICIONS: Final = 32
SUSPECTED: Final = 24
"""The most digests and versions that an incident may suspect."""
RESULTS: Final = 6
TEXT_BYTES: Final = 120
WHY_BYTES: Final = 300


def on_reason(hold: Hold, message: HoldReason) -> bool:
    """Record an incident's reason; the latest revision wins.

    Whatever a closed incident contained stays contained, even if its findings are withdrawn later;
    only a person releases it.

    Returns:
        Whether anything changed.
    """
    key = thing_key(message.spec.action, message.spec.target)
    thing = hold.things.get(key)
    calls = message.state.calls
    if thing is None:
        if not calls:
            return False
        if len(hold.things) >= THINGS:
            hold.row.things_overflowed = True
            return False
        thing = hold.things[key] = Thing(action=message.spec.action, target=message.spec.target)
    known = thing.reasons.get(message.incident)
    if known is not None and message.revision <= known.revision:
        return False
    reason = Reason(
        incident=message.incident,
        state=message.state,
        revision=message.revision,
        spec=message.spec,
        goals=message.goals[:GOALS],
        closed=message.closed,
        retries=message.retries,
        issued=message.issued,
        why=clip(message.why, WHY_BYTES),
        findings=message.findings[:FINDINGS],
    )
    if (
        known is not None
        and known.closed
        and known.state.stands
        and message.state is ReasonState.REFUTED
        and not message.by_person
    ):
        reason.state, reason.closed = known.state, True
        reason.spec, reason.goals = known.spec, known.goals
        reason.why, reason.findings = known.why, known.findings
    had_overflowed = thing.overflowed
    others = [other for other in thing.standing() if other.incident != message.incident]
    if message.by_person and message.state is ReasonState.RELEASED and not others:
        # Only this speaks of the hold: a false positive ends the reason of one incident, and those
        # that are not kept may stand.
        thing.overflowed = False
    if known is None and not calls:
        return had_overflowed and not thing.overflowed
    if known is None and len(thing.reasons) >= REASONS and not _make_room(thing, reason):
        thing.overflowed = thing.overflowed or calls
        return thing.overflowed != had_overflowed
    thing.reasons[message.incident] = reason
    if reason.issued and reason.state.stands:
        _note_issued(thing, reason.spec)
    return True


def _note_issued(thing: Thing, spec: CommandSpec) -> None:
    """Record a command that was issued before holds were kept, in addition to the one in force."""
    held = thing.command if thing.state is HoldState.HELD else None
    if held is not None and spec.command_id != held.command_id:
        thing.others[spec.command_id] = spec


def _make_room(thing: Thing, new: Reason) -> bool:
    """Drop a reason that matters less than a new one; return whether there was one."""

    def weight(reason: Reason) -> int:
        if not reason.calls:
            return 0
        return 1 + reason.state.stands + 2 * (not reason.spec.dry_run)

    least = min(thing.reasons.values(), key=lambda reason: (weight(reason), reason.incident))
    if weight(least) >= weight(new):
        return False
    thing.overflowed = thing.overflowed or least.calls
    del thing.reasons[least.incident]
    return True


def on_suspicion(hold: Hold, message: Suspicion) -> bool:
    """Record which digests and versions of the component an incident suspects.

    Returns:
        Whether anything changed.
    """
    suspicions = hold.row.suspicions
    known = suspicions.get(message.incident)
    if known is not None and message.revision <= known.revision:
        return False
    if known is None and len(suspicions) >= SUSPICIONS:
        empty = [incident for incident, suspects in suspicions.items() if not suspects.names]
        if not empty:
            hold.row.suspicions_overflowed = True
            return True
        del suspicions[min(empty)]
    suspicions[message.incident] = Suspects(
        revision=message.revision,
        names=message.suspected[:SUSPECTED],
        truncated=len(message.suspected) > SUSPECTED,
    )
    return True


def on_answer(hold: Hold, result: ResultUpdate) -> CommandSpec | None:
    """Record a responder's answer.

    Returns:
        The command that it answers; None if the command is not this hold's or already has this
        answer.
    """
    for thing in hold.things.values():
        for spec in (thing.command, thing.release, thing.given_up):
            if spec is None or spec.command_id != result.command_id:
                continue
            rank = stable_rank(result.id)
            if rank in thing.results:
                return None
            thing.results[rank] = (
                result.command_id,
                to_ms(result.at),
                result.status,
                clip(result.status_text, TEXT_BYTES),
            )
            oldest = sorted(thing.results, key=lambda key: thing.results[key][1:])
            for extra in oldest[:-RESULTS]:
                del thing.results[extra]
            return spec
    return None

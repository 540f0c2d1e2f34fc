"""Acts on a hold as time passes: repeats, expires and escalates its commands."""

from __future__ import annotations

from typing import Final

from agents.triage.holds.attempts import repeat
from agents.triage.holds.goals import is_stuck
from agents.triage.holds.rows import Effects, Hold
from agents.triage.holds.settling import settle, warn_of_given_up

NOTHING_LEFT: Final = "no version to roll back to is free of suspicion: choose one and verify"


def on_time(hold: Hold, now_ms: int) -> Effects:
    """Repeat unanswered and failed commands, and expire old ones.

    A rollback without a target is escalated here and not at once: a message that is still in flight
    may bring a target.
    """
    effects = Effects()
    expired = False
    for _, thing in sorted(hold.things.items()):
        if is_stuck(hold, thing) and not thing.escalated:
            warn_of_given_up(hold, thing, None, effects)
            if not thing.escalated:
                thing.escalated = True
                effects.escalations.append((thing.standing()[0].spec, NOTHING_LEFT))
        spec = thing.in_force
        if spec is None or thing.is_done or thing.expired:
            continue
        if now_ms >= thing.expires_ms:
            thing.expired = expired = True
            effects.escalations.append((spec, "it expired without success"))
        elif spec.attempt >= thing.last_attempt:
            if not thing.escalated and now_ms >= thing.next_ms:
                thing.escalated = True
                effects.escalations.append((spec, f"{thing.last_attempt} attempts failed"))
        elif now_ms >= thing.next_ms:
            repeat(thing, spec, now_ms, effects)
    if expired:
        # A proposal may have waited for a release.
        due = settle(hold, now_ms)
        effects.commands += due.commands
        effects.escalations += due.escalations
    return effects


def next_due(hold: Hold) -> int | None:
    """Return when time next matters to a hold (ms), None if it does not."""
    due = [
        thing.expires_ms if thing.escalated else min(thing.next_ms, thing.expires_ms)
        for thing in hold.things.values()
        if thing.in_force is not None and not thing.is_done and not thing.expired
    ]
    due += [0 for thing in hold.things.values() if not thing.escalated and is_stuck(hold, thing)]
    return min(due, default=None)

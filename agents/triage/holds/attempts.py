"""Issues and repeats a hold's command, with deadlines for its answers."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.triage.holds.rows import ATTEMPTS, Effects, Thing
from agents.triage.ledger.rows import from_ms
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HoldState

ISSUED_MS: Final = 24 * 3_600_000
"""How long a command may take to be carried out."""
ANSWER_MS: Final = 15 * 60_000
"""How long a responder has to answer; each repetition waits twice as long."""


def begin(thing: Thing, spec: CommandSpec, now_ms: int) -> CommandSpec:
    """Return a command as it is issued now; its attempts and its time start over."""
    thing.expires_ms = now_ms + ISSUED_MS
    thing.next_ms = now_ms + ANSWER_MS
    thing.last_attempt, thing.expired, thing.escalated = ATTEMPTS, False, False
    return msgspec.structs.replace(spec, expires=from_ms(thing.expires_ms))


def repeat(thing: Thing, spec: CommandSpec, now_ms: int, effects: Effects) -> None:
    """Issue the command in force once more."""
    attempt = spec.attempt + 1
    again = msgspec.structs.replace(spec, attempt=attempt)
    thing.next_ms = now_ms + ANSWER_MS * (1 << max(attempt - 1 - thing.last_attempt + ATTEMPTS, 0))
    if thing.state is HoldState.RELEASED:
        thing.release = again
    else:
        thing.command = again
    effects.commands.append((again, False))


def retry(thing: Thing, now_ms: int, effects: Effects) -> None:
    """Start the attempts at a command over, once for each request by a person."""
    asked = sum(reason.retries for reason in thing.reasons.values())
    if asked <= thing.retried:
        return
    thing.retried = asked
    spec = thing.in_force
    if spec is None or thing.is_done:
        return
    spec = begin(thing, spec, now_ms)
    thing.last_attempt = spec.attempt + ATTEMPTS
    repeat(thing, spec, now_ms, effects)

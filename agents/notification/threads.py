"""Decides when a route sends a message about an incident: grouping, quiet hours, escalation.

Functions over a thread; time is passed in. A written message keeps its id and its bytes until every
destination has taken it, so that receivers recognise repetitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from agents.notification.config import ALERT, OPERATOR_ALERT, PROPOSAL
from agents.notification.quiet_hours import speaks_from
from agents.notification.rendering import render, severity_of
from schemas.canonical import stable_id
from schemas.notifications import (
    Leg,
    Notification,
    NotificationEvent,
    NotificationThread,
    Proposed,
    Standing,
)
from schemas.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Collection

    from agents.notification.config import Escalation, Retries, Route

DAY_MS: Final = 24 * 3_600_000
RETAIN_MS: Final = 7 * DAY_MS
"""How long an ended thread is kept, to recognise repeated records."""
STALE_MS: Final = DAY_MS
"""An incident that ended longer ago than this before its first message is not sent."""
PROPOSALS: Final = 20
"""Proposals that wait in a thread one by one; the rest is counted."""
ASKED: Final = 200
MESSAGES: Final = 8
"""Messages of one thread that may wait for a destination; the oldest gives way."""
REFUSALS: Final = 5
"""How often a destination may refuse a message before it is given up."""
LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds; a destination that asks for a longer pause is tried after this one."""
SUPERSEDED: Final = "later messages of the same incident wait as well"


class DeliveryOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one attempt to deliver a message."""

    taken: bool
    refused: bool = False
    """The destination is there, and refuses this message."""
    retry_after: float | None = None
    """Seconds that the destination asks to wait."""
    detail: str = ""
    """The error, without anything that may be secret."""


class GivenUp(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a destination will not get: it becomes a dead letter."""

    message: Notification
    destination: str
    why: str


class ThreadStep(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a step of a thread."""

    thread: NotificationThread | None
    """The thread; None: it is finished."""
    given_up: tuple[GivenUp, ...] = ()
    stale: bool = False
    """It ended long before its first message, and is not sent."""


def with_standing(
    thread: NotificationThread,
    route: Route,
    standing: Standing,
    now_ms: int,
    settled: Collection[str] = (),
) -> NotificationThread:
    """Return a thread updated with an alert's current state; the same thread if nothing changed.

    Args:
        thread: The thread.
        route: Its route.
        standing: The alert's state.
        now_ms: Milliseconds since the epoch.
        settled: Ids of commands that no longer wait for a decision.
    """
    before, sent = thread.now, thread.sent
    if before is not None and standing.revision <= before.revision:
        return thread
    left = tuple(proposal for proposal in thread.proposals if proposal.command_id not in settled)
    if len(left) < len(thread.proposals):
        thread = msgspec.structs.replace(thread, proposals=left, changed_ms=now_ms)
        if not left and before is not None and sent is not None and sent.digest == before.digest:
            thread = msgspec.structs.replace(thread, due_ms=None)
    if before is not None and standing.digest == before.digest:
        return thread
    reopened = before is not None and before.ended and not standing.ended
    thread = msgspec.structs.replace(thread, now=standing, changed_ms=now_ms)
    if reopened or standing.ended:
        thread = msgspec.structs.replace(thread, sent_ms=None, step=0)
    kind = OPERATOR_ALERT if thread.tenant is None else ALERT
    if kind not in route.kinds:
        return thread
    if sent is None and thread.due_ms is None and _below(standing.severity, route):
        return thread
    if sent is not None and sent.digest == standing.digest and not thread.proposals:
        # it is again as it was sent
        return msgspec.structs.replace(thread, due_ms=None)
    urgent = sent is None or reopened or standing.severity.rank > sent.severity.rank
    wait = route.group_wait_seconds if urgent else route.group_interval_seconds
    return _due(thread, now_ms, wait)


def with_proposal(
    thread: NotificationThread, route: Route, proposed: Proposed, at_ms: int, now_ms: int
) -> NotificationThread:
    """Return a thread with a proposal to send; the same thread if there is nothing to send.

    Args:
        thread: The thread.
        route: Its route.
        proposed: The proposal.
        at_ms: The broker's timestamp of its record.
        now_ms: Milliseconds since the epoch.
    """
    name = f"{proposed.command_id}:{proposed.attempt}:{proposed.mode}"
    if PROPOSAL not in route.kinds or name in thread.asked:
        return thread
    ended = thread.now is not None and thread.now.ended and at_ms <= thread.now.revision[0]
    more = msgspec.structs.replace(thread, proposals=(*thread.proposals, proposed))
    if ended or _below(severity_of(more), route):
        return thread
    if len(more.proposals) > PROPOSALS:
        more = msgspec.structs.replace(
            thread, more_proposals=thread.more_proposals + 1, proposals=thread.proposals
        )
    more = msgspec.structs.replace(more, asked=(*thread.asked, name)[-ASKED:], changed_ms=now_ms)
    return _due(more, now_ms, route.group_wait_seconds)


def next_ms(thread: NotificationThread, route: Route | None, now_ms: int) -> int | None:
    """Return when a thread is next due: to be sent, escalated or forgotten.

    Args:
        thread: The thread.
        route: Its route; None if it is no longer configured.
        now_ms: Milliseconds since the epoch.
    """
    times = []
    if route is not None:
        severity = severity_of(thread)
        if thread.due_ms is not None:
            times.append(speaks_from(route, severity, max(thread.due_ms, now_ms)))
        escalation = _next_step(thread, route)
        if escalation is not None and thread.sent_ms is not None:
            at_ms = thread.sent_ms + _ms(escalation[1].after_seconds)
            times.append(speaks_from(route, severity, max(at_ms, now_ms)))
    if not times and not thread.messages:
        if route is None:
            return now_ms
        if _over(thread):
            return thread.changed_ms + RETAIN_MS
    return min(times, default=None)


def act(
    thread: NotificationThread, route: Route | None, key: str, link: str, now_ms: int
) -> ThreadStep:
    """Write the messages that are due, and drop what is finished.

    Args:
        thread: The thread.
        route: Its route; None if it is no longer configured.
        key: Its key, of which the ids of its messages are made.
        link: The address of its incident for a person; empty: none.
        now_ms: Milliseconds since the epoch.
    """
    if route is None:
        return ThreadStep(thread=thread if thread.messages else None)
    severity = severity_of(thread)
    stale = False
    if thread.due_ms is not None and speaks_from(route, severity, max(thread.due_ms, now_ms)) <= (
        now_ms
    ):
        stale = _is_stale(thread, now_ms)
        if not stale:
            thread = _write(thread, key, _event(thread, route), route.send_to, link, now_ms)
        open_ = thread.now is None or not thread.now.ended
        thread = msgspec.structs.replace(
            thread,
            due_ms=None,
            sent=thread.sent if stale else thread.now,
            sent_ms=(thread.sent_ms or now_ms) if open_ and not stale else None,
            proposals=(),
            more_proposals=0,
        )
    escalation = _next_step(thread, route)
    while escalation is not None and thread.sent_ms is not None:
        number, step = escalation
        at_ms = thread.sent_ms + _ms(step.after_seconds)
        if speaks_from(route, severity, max(at_ms, now_ms)) > now_ms or at_ms > now_ms:
            break
        thread = _write(
            thread, key, NotificationEvent.ESCALATED, step.send_to, link, now_ms, step=number + 1
        )
        thread = msgspec.structs.replace(thread, step=number + 1)
        escalation = _next_step(thread, route)
    given_up: list[GivenUp] = []
    while len(thread.messages) > MESSAGES:
        oldest, *rest = thread.messages
        given_up += [
            GivenUp(message=oldest, destination=leg.destination, why=SUPERSEDED)
            for leg in oldest.legs
        ]
        thread = msgspec.structs.replace(thread, messages=tuple(rest))
    done = next_ms(thread, route, now_ms)
    forgotten = done is not None and done <= now_ms and _over(thread) and not thread.messages
    return ThreadStep(thread=None if forgotten else thread, given_up=tuple(given_up), stale=stale)


def settle(
    thread: NotificationThread,
    message_id: str,
    destination: str,
    outcome: DeliveryOutcome,
    retries: Retries,
    now_ms: int,
) -> ThreadStep:
    """Return a thread after an attempt: the message removed, or its next attempt scheduled.

    Args:
        thread: The thread.
        message_id: The message.
        destination: Where it was sent.
        outcome: The result of the attempt.
        retries: How often to try.
        now_ms: Milliseconds since the epoch.
    """
    messages: list[Notification] = []
    given_up: list[GivenUp] = []
    for message in thread.messages:
        legs: list[Leg] = []
        for leg in message.legs:
            if message.id != message_id or leg.destination != destination:
                legs.append(leg)
                continue
            if outcome.taken:
                continue
            tried = _tried(leg, message, outcome, retries, now_ms)
            # a message replayed from the dead letters starts over
            since = thread.changed_ms if not thread.route else message.at_ms
            if tried.refusals >= REFUSALS or now_ms - since >= _ms(retries.give_up_seconds):
                why = f"{outcome.detail} (attempt {tried.attempts})"
                given_up.append(GivenUp(message=message, destination=destination, why=why))
            else:
                legs.append(tried)
        if legs:
            messages.append(msgspec.structs.replace(message, legs=tuple(legs)))
    return ThreadStep(
        thread=msgspec.structs.replace(thread, messages=tuple(messages)), given_up=tuple(given_up)
    )


def back_off(failures: int, retries: Retries, salt: str) -> float:
    """Return the seconds to wait after a number of failures, spread by up to a quarter.

    Args:
        failures: How many in a row, at least 1.
        retries: The first and the longest wait.
        salt: What the spread is derived from.
    """
    wait = min(retries.longest_seconds, retries.first_seconds * 2.0 ** min(failures - 1, 40))
    spread = int(stable_id("wait", salt, str(failures))[-2:], 16) / 255
    return float(wait * (1 + spread / 4))


def undelivered(lost: GivenUp) -> NotificationThread:
    """Return the row that delivers a given-up message once more, when it is brought back."""
    leg = Leg(destination=lost.destination)
    return NotificationThread(
        route="",
        subject=lost.message.id,
        tenant=lost.message.tenant,
        messages=(msgspec.structs.replace(lost.message, legs=(leg,)),),
    )


def _tried(
    leg: Leg, message: Notification, outcome: DeliveryOutcome, retries: Retries, now_ms: int
) -> Leg:
    attempts = leg.attempts + 1
    wait = back_off(attempts, retries, message.id)
    if outcome.retry_after is not None:
        wait = min(max(wait, outcome.retry_after), LONGEST_RETRY_AFTER)
    return msgspec.structs.replace(
        leg,
        attempts=attempts,
        refusals=leg.refusals + outcome.refused,
        next_ms=now_ms + _ms(wait),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _below(severity: Severity, route: Route) -> bool:
    return severity.rank < route.min_severity.rank


def _due(thread: NotificationThread, now_ms: int, wait: float) -> NotificationThread:
    due = now_ms + _ms(wait)
    if thread.due_ms is not None:
        due = min(due, thread.due_ms)
    return msgspec.structs.replace(thread, due_ms=due)


def _is_stale(thread: NotificationThread, now_ms: int) -> bool:
    now = thread.now
    return (
        thread.sent is None
        and not thread.proposals
        and now is not None
        and now.ended
        and now_ms - now.revision[0] > STALE_MS
    )


def _over(thread: NotificationThread) -> bool:
    """Return whether nothing more is expected of a thread, so that it may be forgotten in time."""
    if thread.due_ms is not None or thread.messages:
        return False
    quiet = thread.sent is None
    return quiet or thread.tenant is None or thread.now is None or thread.now.ended


def _event(thread: NotificationThread, route: Route) -> NotificationEvent:
    now, sent = thread.now, thread.sent
    if thread.tenant is None:
        return NotificationEvent.OPERATOR
    if now is None:
        return NotificationEvent.PROPOSED
    if sent is None:
        if thread.proposals and ALERT not in route.kinds:
            return NotificationEvent.PROPOSED
        return NotificationEvent.CLOSED if now.ended else NotificationEvent.OPENED
    if thread.proposals and sent.digest == now.digest:
        return NotificationEvent.PROPOSED
    if sent.ended and not now.ended:
        return NotificationEvent.REOPENED
    newly_ended = now.ended and not sent.ended
    return NotificationEvent.CLOSED if newly_ended else NotificationEvent.UPDATED


def _next_step(thread: NotificationThread, route: Route) -> tuple[int, Escalation] | None:
    """Return the next step of escalation and its number; None where there is nothing to escalate.

    An operator alert and a folded thread have no one who could acknowledge them.
    """
    now = thread.now
    if thread.sent_ms is None or thread.incident is None or thread.folded:
        return None
    if now is not None and (now.acknowledged or now.ended):
        return None
    severity = severity_of(thread)
    for number, step in enumerate(route.escalation[thread.step :], thread.step):
        if severity.rank >= step.min_severity.rank:
            return number, step
    return None


def _write(
    thread: NotificationThread,
    key: str,
    event: NotificationEvent,
    send_to: tuple[str, ...],
    link: str,
    now_ms: int,
    step: int = 0,
) -> NotificationThread:
    """Return a thread with one more message, for each destination once."""
    title, body = render(thread, event, now_ms, link)
    revision = thread.now.revision if thread.now is not None else ()
    message = Notification(
        id=stable_id("ntf", key, str(thread.written), *map(str, revision)),
        event=event,
        at_ms=now_ms,
        route=thread.route,
        severity=severity_of(thread),
        title=title,
        body=body,
        tenant=thread.tenant,
        # a thread that represents many is about none of them
        incident=None if thread.folded else thread.incident,
        status=thread.now.status if thread.now is not None else "",
        link=link,
        step=step,
        legs=tuple(Leg(destination=name) for name in dict.fromkeys(send_to)),
    )
    return msgspec.structs.replace(
        thread, messages=(*thread.messages, message), written=thread.written + 1
    )

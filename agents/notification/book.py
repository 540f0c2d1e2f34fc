"""Keeps the threads of a notifier: due ones, the next message, changes."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import quote

import msgspec

from agents.notification.config import PROPOSAL, NotifyConfig, Route
from agents.notification.notices import Notice
from agents.notification.threads import (
    DeliveryOutcome,
    GivenUp,
    act,
    back_off,
    next_ms,
    settle,
    undelivered,
    with_proposal,
    with_standing,
)
from schemas.canonical import stable_id
from schemas.counting import counted
from schemas.notifications import Notification, NotificationThread, Standing
from schemas.severity import Severity

THREADS: Final = 1000
"""Incidents of one tenant that get messages of their own on a route; others share one."""
FOLDED: Final = "+"
"""The subject of the thread that represents further incidents."""
UNDELIVERED: Final = "!"
"""Used as the route in the row of a message that was replayed from the dead letters."""
_SERVED: Final = 10_000
_SLACK: Final = 1000
NO_DESTINATION: Final = "the configuration has no such destination any more"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to be made."""

    key: str
    message: Notification
    destination: str


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a destination will not get, and the row that would deliver it again."""

    given_up: GivenUp
    key: str
    row: NotificationThread
    source: str
    """The key of the thread it was part of."""


class Book:
    """The threads of one notifier, in memory; its owner makes the changes durable."""

    def __init__(self, config: NotifyConfig) -> None:
        """Begin without threads."""
        self._config = config
        self._routes = {route.name: route for route in config.routes}
        self._threads: dict[str, NotificationThread] = {}
        self._of_tenant: dict[tuple[str, str], dict[str, None]] = {}
        self._heap: list[tuple[int, str]] = []
        self._due: dict[str, int] = {}
        self._waiting: dict[str, dict[str, None]] = {}
        self._pauses: dict[str, tuple[int, int]] = {}
        self._served: dict[tuple[str, str | None], int] = {}
        self._turn = 0
        self._changed: dict[str, None] = {}
        self._lost: list[Lost] = []
        self.evicted = 0
        """How many threads were dropped early because a tenant had too many."""
        self.stale = 0
        """The number of threads that ended long before a message could be sent."""

    def __len__(self) -> int:
        """Return how many threads there are."""
        return len(self._threads)

    def owns(self, key: str) -> bool:
        """Return whether a row is this notifier's."""
        return key.startswith(f"{self._config.name}|")

    def thread(self, key: str) -> NotificationThread | None:
        """Return a thread, None if there is none."""
        return self._threads.get(key)

    def load(self, key: str, thread: NotificationThread, now_ms: int) -> None:
        """Load a stored thread, unchanged."""
        self._put(key, thread, now_ms, changed=False)

    def adopt(self, key: str, thread: NotificationThread, now_ms: int) -> None:
        """Deliver a message that was replayed from the dead letters."""
        if key not in self._threads and not thread.route and thread.messages:
            self._put(key, msgspec.structs.replace(thread, changed_ms=now_ms), now_ms)

    def take(self, notice: Notice, at_ms: int, now_ms: int) -> int:
        """Process a record.

        Args:
            notice: Its content.
            at_ms: The broker's timestamp of it.
            now_ms: Milliseconds since the epoch.

        Returns:
            How many routes are for its tenant.
        """
        serving = [
            route
            for route in self._config.routes
            if route.serves(notice.tenant)
            # a proposal has the severity and the standing of its incident's alert
            and (notice.kind in route.kinds or (notice.incident and PROPOSAL in route.kinds))
        ]
        for route in serving:
            self._note_for(route, notice, at_ms, now_ms)
        return len(serving)

    def act(self, now_ms: int) -> None:
        """Write the messages that are due."""
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, key = heapq.heappop(self._heap)
            if self._due.get(key) == at_ms:
                del self._due[key]
                due.append(key)
        for key in due:
            thread = self._threads[key]
            step = act(thread, self._routes.get(thread.route), key, self._link(thread), now_ms)
            self.stale += step.stale
            self._lose(key, step.given_up)
            self._put(key, step.thread, now_ms, changed=step.thread is not thread)

    def ready(self, busy: Collection[str], now_ms: int) -> Iterator[Attempt]:
        """Yield the attempts to make now: one for each destination that is not busy.

        The tenant whose turn was longest ago goes first, so that no tenant's messages delay
        another's.

        Args:
            busy: Destinations at which an attempt is under way.
            now_ms: Milliseconds since the epoch.
        """
        for destination in list(self._waiting):
            if destination not in self._config.destinations:
                self._give_up_all(destination, now_ms)
                continue
            paused = self._pauses.get(destination, (0, 0))[1]
            if destination in busy or paused > now_ms:
                continue
            best: tuple[tuple[int, int, str], Attempt] | None = None
            for key in self._waiting[destination]:
                thread = self._threads[key]
                found = _first(thread, destination)
                if found is None or found[1] > now_ms:
                    continue
                turn = self._served.get((destination, thread.tenant), 0)
                rank = (turn, found[0].at_ms, key)
                if best is None or rank < best[0]:
                    delivery = Attempt(key=key, message=found[0], destination=destination)
                    best = (rank, delivery)
            if best is not None:
                self._turn += 1
                if len(self._served) >= _SERVED:
                    self._served.clear()
                self._served[destination, best[1].message.tenant] = self._turn
                yield best[1]

    def settle(self, delivery: Attempt, outcome: DeliveryOutcome, now_ms: int) -> None:
        """Record the outcome of an attempt; a failing destination pauses as a whole."""
        retries = self._config.retries
        failures = self._pauses.get(delivery.destination, (0, 0))[0]
        if outcome.taken or outcome.refused:
            self._pauses.pop(delivery.destination, None)
        else:
            wait = back_off(failures + 1, retries, delivery.destination)
            if outcome.retry_after is not None:
                wait = outcome.retry_after
            limit = max(retries.longest_seconds, 3600.0)
            until = now_ms + round(min(wait, limit) * 1000)
            self._pauses[delivery.destination] = (failures + 1, until)
        thread = self._threads.get(delivery.key)
        if thread is None:
            return
        step = settle(thread, delivery.message.id, delivery.destination, outcome, retries, now_ms)
        self._lose(delivery.key, step.given_up)
        self._put(delivery.key, step.thread, now_ms)

    def changes(self) -> dict[str, NotificationThread | None]:
        """Return the threads that changed since the last call; None: finished."""
        changed = {key: self._threads.get(key) for key in self._changed}
        self._changed.clear()
        return changed

    def lost(self) -> list[Lost]:
        """Return the messages that were given up since the last call."""
        lost, self._lost = self._lost, []
        return lost

    def waiting(self) -> int:
        """Return how many messages wait for at least one destination."""
        keys = {key for many in self._waiting.values() for key in many}
        return sum(len(self._threads[key].messages) for key in keys)

    def _link(self, thread: NotificationThread) -> str:
        if not self._config.incident_url or thread.incident is None or thread.folded:
            return ""
        return self._config.incident_url.format(
            incident=quote(thread.incident, safe=""), tenant=quote(thread.tenant or "", safe="")
        )

    def _key(self, route: Route, tenant: str | None, subject: str) -> str:
        whose = quote(tenant, safe="@") if tenant is not None else ""
        return f"{self._config.name}|{route.name}|{whose}|{subject}"

    def _note_for(self, route: Route, notice: Notice, at_ms: int, now_ms: int) -> None:
        key = self._key(route, notice.tenant, notice.subject)
        known = self._threads.get(key)
        thread = known or NotificationThread(
            route=route.name,
            subject=notice.subject,
            tenant=notice.tenant,
            incident=notice.incident,
        )
        after = thread
        if notice.standing is not None:
            after = with_standing(thread, route, notice.standing, now_ms, notice.settled)
        if notice.proposed is not None:
            after = with_proposal(thread, route, notice.proposed, at_ms, now_ms)
        if after is thread:
            return
        if known is None:
            if after.due_ms is None and PROPOSAL not in route.kinds:
                return  # neither it nor a proposal of it is sent
            if not self._room(route, notice.tenant):
                self._fold(route, notice, after, now_ms)
                return
        self._put(key, after, now_ms)

    def _room(self, route: Route, tenant: str | None) -> bool:
        """Make room for one more thread of a tenant; return False if all its threads are in use."""
        keys = self._of_tenant.get((route.name, tenant or ""), {})
        if len(keys) < THREADS:
            return True
        for key in keys:
            thread = self._threads[key]
            over = thread.sent is None or (thread.now is not None and thread.now.ended)
            if over and thread.due_ms is None and not thread.messages:
                self.evicted += 1
                self._put(key, None, 0)
                return True
        return False

    def _fold(self, route: Route, notice: Notice, single: NotificationThread, now_ms: int) -> None:
        """Let a thread represent one more incident, unless it would not be sent."""
        if single.due_ms is None:
            return
        key = self._key(route, notice.tenant, FOLDED)
        thread = self._threads.get(key) or NotificationThread(
            route=route.name, subject=FOLDED, tenant=notice.tenant, incident=FOLDED
        )
        if notice.subject in thread.asked:
            return
        count = thread.folded + 1
        severity = notice.severity or Severity.MEDIUM
        revision = notice.standing.revision if notice.standing is not None else (now_ms, 0)
        if thread.now is not None:
            severity = max(severity, thread.now.severity, key=lambda level: level.rank)
            revision = max(revision, (thread.now.revision[0], thread.now.revision[1] + 1))
        many = counted(count, "further incident")
        standing = Standing(
            revision=revision,
            digest=stable_id("std", FOLDED, str(count)),
            title=f"{many} of {notice.tenant or 'the operator'}",
            why=f"{many} beyond the first {THREADS:,} that have messages of their own.",
            severity=severity,
            status="open",
            next_action="List them: tidewatch incidents list.",
        )
        thread = msgspec.structs.replace(
            thread, folded=count, asked=(*thread.asked, notice.subject)[-200:]
        )
        self._put(key, with_standing(thread, route, standing, now_ms), now_ms)

    def _lose(self, source: str, given_up: Collection[GivenUp]) -> None:
        for delivery in given_up:
            key = f"{self._config.name}|{UNDELIVERED}|{delivery.message.id}|{delivery.destination}"
            self._lost.append(
                Lost(given_up=delivery, key=key, row=undelivered(delivery), source=source)
            )

    def _give_up_all(self, destination: str, now_ms: int) -> None:
        for key in list(self._waiting.get(destination, ())):
            thread = self._threads[key]
            given_up = [
                GivenUp(message=message, destination=destination, why=NO_DESTINATION)
                for message in thread.messages
                if any(leg.destination == destination for leg in message.legs)
            ]
            self._lose(key, given_up)
            left = [
                msgspec.structs.replace(
                    message,
                    legs=tuple(leg for leg in message.legs if leg.destination != destination),
                )
                for message in thread.messages
            ]
            messages = tuple(message for message in left if message.legs)
            self._put(key, msgspec.structs.replace(thread, messages=messages), now_ms)

    def _put(
        self, key: str, thread: NotificationThread | None, now_ms: int, *, changed: bool = True
    ) -> None:
        before = self._threads.pop(key, None)
        if before is not None:
            for destination in _destinations(before):
                keys = self._waiting[destination]
                keys.pop(key, None)
                if not keys:
                    del self._waiting[destination]
            whose = (before.route, before.tenant or "")
            self._of_tenant[whose].pop(key, None)
            if not self._of_tenant[whose]:
                del self._of_tenant[whose]
        self._due.pop(key, None)
        if changed:
            self._changed[key] = None
        if thread is None:
            return
        self._threads[key] = thread
        for destination in _destinations(thread):
            self._waiting.setdefault(destination, {})[key] = None
        self._of_tenant.setdefault((thread.route, thread.tenant or ""), {})[key] = None
        due = next_ms(thread, self._routes.get(thread.route), now_ms)
        if due is not None:
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
        if len(self._heap) > 4 * len(self._due) + _SLACK:
            # most entries were overtaken by later changes
            self._heap = [(at_ms, key) for key, at_ms in self._due.items()]
            heapq.heapify(self._heap)


def _destinations(thread: NotificationThread) -> set[str]:
    return {leg.destination for message in thread.messages for leg in message.legs}


def _first(thread: NotificationThread, destination: str) -> tuple[Notification, int] | None:
    """Return the oldest message of a thread for a destination, and when it may be tried."""
    for message in thread.messages:
        for leg in message.legs:
            if leg.destination == destination:
                return message, leg.next_ms
    return None

"""Keeps the slow work of pushes under way beyond the chunk of records that asked for it.

A push may take hours, and the requests behind it in its partition must not wait for it. So a chunk
waits for its requests for a short time; those that are not done by then are put back at the end of
the partition while their work goes on, and are answered when they are read again. After a crash
the work begins anew: the request is still on the topic.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Final, Generic, TypeVar

import msgspec

from agents.fair_turns import FairTurns
from schemas.scans import ScanRequest

HOLD_SECONDS: Final = 15.0
"""The longest that a chunk waits for the slow work of its requests."""
PUSHES: Final = 64
"""Pushes that a process has under way at a time; further ones wait for their turn."""
PUSHES_OF_TENANT: Final = 8
"""Of these, of one tenant."""
FORGOTTEN_SECONDS: Final = 1800.0
"""After this time without being asked for, work ends: another worker has taken its partition."""

T = TypeVar("T")


class UnderWay(Generic[T]):
    """The work for one request."""

    def __init__(self, task: asyncio.Task[T], asked: float) -> None:
        """Note that it was asked for.

        Args:
            task: The work.
            asked: When, on the monotonic clock.
        """
        self.task = task
        self.asked = asked
        self.begun = False
        """Whether it has had its turn to begin."""


class ScansUnderWay(Generic[T]):
    """The work of a process, by request; of each tenant some pushes at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Have nothing under way.

        Args:
            clock: Returns monotonic seconds.
        """
        self._clock = clock
        self._turns = FairTurns(PUSHES, PUSHES_OF_TENANT)
        self._by_request: dict[bytes, UnderWay[T]] = {}
        """By the digest of the request: a tenant may reuse the id of an event."""

    def __len__(self) -> int:
        """Return how many requests are under way or not yet collected."""
        return len(self._by_request)

    def ask(self, request: ScanRequest, work: Callable[[], Awaitable[T]]) -> UnderWay[T]:
        """Return the work for a request: what is under way, or what begins now.

        Args:
            request: What to do.
            work: Does it.
        """
        key = sha256(msgspec.json.encode(request)).digest()
        known = self._by_request.get(key)
        if known is None or known.task.cancelled():
            known = self._by_request[key] = UnderWay(
                asyncio.create_task(self._at_turn(key, request.tenant, work)), self._clock()
            )
        known.asked = self._clock()
        return known

    async def _at_turn(self, key: bytes, tenant: str, work: Callable[[], Awaitable[T]]) -> T:
        async with self._turns.turn(tenant):
            self._by_request[key].begun = True
            return await work()

    async def wait(self, asked: Sequence[UnderWay[T]], pause: float) -> None:
        """Wait until the work for some requests is done, but not for long.

        Args:
            asked: The work.
            pause: The most seconds to wait if none of it could begin; else `HOLD_SECONDS`.
        """
        tasks = {one.task for one in asked}
        if not tasks:
            return
        _, waiting = await asyncio.wait(tasks, timeout=pause)
        if any(one.begun and one.task in waiting for one in asked):
            await asyncio.wait(tasks, timeout=max(HOLD_SECONDS - pause, 0))

    def release(self, asked: Sequence[UnderWay[T]]) -> None:
        """Forget what is done or could not begin, and end what nobody has asked for any more.

        Args:
            asked: What was asked for, and whose results are collected.
        """
        now = self._clock()
        for key, known in list(self._by_request.items()):
            over = now - known.asked > FORGOTTEN_SECONDS
            if over or (known in asked and (known.task.done() or not known.begun)):
                known.task.cancel()
                del self._by_request[key]

"""Shares slow work fairly between tenants: the one with the least work in progress is next."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class FairTurns:
    """A fixed number of turns at a time; a free one goes to the waiting tenant with the fewest.

    Equals take their turns in rotation, and no tenant holds more than its share. So a tenant never
    waits for the turns of one other tenant, if the share is less than all; for those of several
    it waits until one of them ends, regardless of what they have queued.
    """

    def __init__(self, width: int, share: int | None = None) -> None:
        """Give no turn yet.

        Args:
            width: The number of turns at a time.
            share: The most turns of one tenant at a time; all of them by default.
        """
        self._free = width
        self._share = share or width
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By tenant, in the order in which they are next."""

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn of a tenant, and hold it within the block."""
        # while a turn is free, those who wait hold their share
        if self._free and self._held[tenant] < self._share:
            self._free -= 1
            self._held[tenant] += 1
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._end(tenant)

    async def _wait(self, tenant: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end(tenant)  # the turn was given at the same moment
            else:
                self._forget(tenant, turn)
            raise

    def _forget(self, tenant: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(tenant, deque())
        if turn in queue:  # else it was passed over
            queue.remove(turn)
            if not queue:
                del self._waiting[tenant]

    def _end(self, tenant: str) -> None:
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        while waiting := [name for name in self._waiting if self._held[name] < self._share]:
            following = min(waiting, key=lambda name: self._held[name])
            queue = self._waiting.pop(following)
            turn = queue.popleft()
            if queue:
                self._waiting[following] = queue  # behind the others that wait
            if not turn.cancelled():  # who waited may be cancelled, and not know it yet
                self._held[following] += 1
                turn.set_result(None)
                return
        self._free += 1


class TimedTurns:
    """The turns of one piece of work, and the time in which it held at least one of them."""

    def __init__(
        self, turns: FairTurns, tenant: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Hold no turn yet.

        Args:
            turns: The turns of all tenants.
            tenant: The tenant of the work.
            clock: Returns monotonic seconds.
        """
        self._turns = turns
        self._tenant = tenant
        self._clock = clock
        self._held = 0
        self._since = 0.0
        self.seconds = 0.0
        """The time in which it held a turn; waiting for one does not count."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it within the block."""
        async with self._turns.turn(self._tenant):
            if not self._held:
                self._since = self._clock()
            self._held += 1
            try:
                yield
            finally:
                self._held -= 1
                if not self._held:
                    self.seconds += self._clock() - self._since

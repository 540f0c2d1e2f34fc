"""The latest assessments of tenants that may query them, and the requests that wait for one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final

from aiokafka.errors import KafkaError

from agents.logs import Logger
from schemas.assessments import Assessment
from schemas.errors import TidewatchError
from streams import metrics
from streams.gates import STAGES, Assessed, AssessmentFollower, following
from streams.http.problems import HttpError
from streams.kafka.awaiting import passes
from streams.settings import Settings

log = Logger()

PER_TENANT: Final = 10_000
"""Events of a tenant whose assessments are held."""
SOURCES: Final = 16
"""Sources of one event id that are distinguished."""
WAITING: Final = 100
"""Requests of a tenant that may wait at the same time."""
BACK_SECONDS: Final = 3600.0
"""How far back assessments are read at the start."""
AGAIN_SECONDS: Final = 2.0
REOPEN_SECONDS: Final = 300.0
"""How often it looks for new partitions, which it reads from their beginning."""


class AssessmentIndex:
    """Assessments by tenant; each tenant's oldest make room for its own newer ones."""

    def __init__(self, tenants: Iterable[str]) -> None:
        """Hold those of `tenants` and no others."""
        self._events: dict[str, OrderedDict[str, dict[str, Assessed]]] = {
            tenant: OrderedDict() for tenant in tenants
        }
        """Per tenant, by the event's id and then by its source."""
        self._waits: dict[str, set[tuple[str, asyncio.Event]]] = {
            tenant: set() for tenant in self._events
        }
        self._count = 0
        self._closed = False

    def take(self, assessment: Assessment) -> None:
        """Take an assessment, and wake those who wait for one of its tenant."""
        events = self._events.get(assessment.tenant)
        if events is None or assessment.stage not in STAGES:
            return
        event_id, source = assessment.event_id, assessment.source
        by_source = events.pop(event_id, {})
        known = by_source.pop(source, None)
        stages = {**(known.stages if known else {}), assessment.stage: assessment}
        self._count += 1
        by_source[source] = Assessed(stages=stages, newest=self._count)
        if len(by_source) > SOURCES:
            del by_source[next(iter(by_source))]
        events[event_id] = by_source
        while len(events) > PER_TENANT:
            events.popitem(last=False)
            metrics.EVICTIONS.labels("gateway-assessments").inc()
        self._wake(assessment.tenant, event_id)

    def close(self) -> None:
        """Release all waiting requests: the gateway stops."""
        self._closed = True
        for tenant in self._waits:
            self._wake(tenant, None)

    def _wake(self, tenant: str, event_id: str | None) -> None:
        for awaited, woken in self._waits[tenant]:
            if event_id in {None, awaited}:
                woken.set()

    async def wait(
        self, tenant: str, event_id: str, source: str | None, seconds: float
    ) -> Assessed | None:
        """Return the assessments of a tenant's event, once final or after the wait.

        Args:
            tenant: The tenant of the event, one of those that are held.
            event_id: Its id.
            source: Its source, needed only where several have an event of that id.
            seconds: How long to wait.

        Raises:
            HttpError: 409 several sources have such an event, 429 too many of the tenant wait.
        """
        found = self._find(tenant, event_id, source)
        if seconds <= 0 or (found is not None and found.final):
            return found
        waits = self._waits[tenant]
        if len(waits) >= WAITING:
            raise HttpError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many requests of the tenant are waiting",
                remedy="ask again later",
                reason="pressed",
                headers={"retry-after": "1"},
            )
        woken = asyncio.Event()
        waits.add((event_id, woken))
        try:
            async with asyncio.timeout(seconds):
                while not (self._closed or (found is not None and found.final)):
                    await woken.wait()
                    woken.clear()
                    found = self._find(tenant, event_id, source)
        except TimeoutError:
            pass
        finally:
            waits.discard((event_id, woken))
        return found

    def _find(self, tenant: str, event_id: str, source: str | None) -> Assessed | None:
        by_source = self._events[tenant].get(event_id, {})
        if source is not None:
            return by_source.get(source)
        found = list(by_source.values())
        if len(found) > 1:
            raise HttpError(
                HTTPStatus.CONFLICT,
                "several sources have an event of this id",
                where="source",
                remedy="name the event's source as ?source=…",
            )
        return found[0] if found else None


async def follow(
    settings: Settings,
    index: AssessmentIndex,
    stop: asyncio.Event,
    *,
    opened: Callable[..., Any] = following,
) -> None:
    """Keep an index up to date until `stop` is set; wait for an unavailable broker.

    Args:
        settings: Which broker.
        index: The index.
        stop: Ends it.
        opened: Opens a follower of the topic.
    """
    back = BACK_SECONDS
    while not stop.is_set():
        try:
            async with opened(settings, since_seconds=back) as follower:
                await _read(follower, index, stop)
            back = 2 * REOPEN_SECONDS
        except (TidewatchError, KafkaError, OSError) as error:
            if not passes(error):
                log.warning("assessments-unread", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), AGAIN_SECONDS)


async def _read(follower: AssessmentFollower, index: AssessmentIndex, stop: asyncio.Event) -> None:
    until = time.monotonic() + REOPEN_SECONDS
    while not stop.is_set() and time.monotonic() < until:
        for assessment in await follower.next():
            index.take(assessment)

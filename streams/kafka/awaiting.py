"""Tries again while brokers come and go, and gives up only where none answers for long."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.kafka.client import BrokerUnreachableError
from streams.kafka.connection_diagnosis import any_answers, unreachable

if TYPE_CHECKING:
    from streams.settings import Settings

log = structlog.get_logger()

FIRST_SECONDS: Final = 0.5
MAX_SECONDS: Final = 10.0
_Made = TypeVar("_Made")


def passes(error: BaseException) -> bool:
    """Return whether an error is one that goes away by itself: a broker that is not there now."""
    if isinstance(error, BrokerUnreachableError):
        return error.passes
    if isinstance(error, KafkaError):
        return bool(error.retriable) or isinstance(error, KafkaTimeoutError)
    # not any OSError: a disk that is full is no broker's fault
    return isinstance(error, ConnectionError | TimeoutError | socket.gaierror)


async def until_answered(
    work: Callable[[], Awaitable[_Made]],
    settings: Settings,
    stop: asyncio.Event,
    *,
    limit_seconds: float | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> _Made | None:
    """Do `work`; again, with growing pauses, while brokers that it needs are away.

    Args:
        work: Speaks to brokers; can be done again.
        settings: Where they are.
        stop: Ends the wait, and the work.
        limit_seconds: How long no broker at all may answer; `broker_wait_seconds` by default.
        meanwhile: Called before each attempt.

    Returns:
        What `work` gives; None if `stop` came first.

    Raises:
        BrokerUnreachableError: No broker at all answered for so long, or one refuses this client.
        Exception: Whatever else `work` raises.
    """
    limit = settings.broker_wait_seconds if limit_seconds is None else limit_seconds
    pause = FIRST_SECONDS
    silent_since: float | None = None
    while not stop.is_set():
        meanwhile()
        began = time.monotonic()
        try:
            return await _unless_stopped(work(), stop)
        except Exception as error:
            if not passes(error):
                raise
            if await _unless_stopped(any_answers(settings), stop):
                silent_since = None
            else:
                silent_since = began if silent_since is None else silent_since
                told = await unreachable(settings, error)
                if not told.passes or time.monotonic() - silent_since >= limit:
                    raise told from error
            log.warning(
                "broker-awaited",
                error=str(error) or type(error).__name__,
                some_answer=silent_since is None,
                again_in_seconds=pause,
            )
        await _unless_stopped(asyncio.sleep(pause), stop)
        pause = min(pause * 2, MAX_SECONDS)
    return None


async def _unless_stopped(work: Awaitable[_Made], stop: asyncio.Event) -> _Made | None:
    """Return what `work` gives, or None, with the work cancelled, if `stop` comes first."""
    doing = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        return None
    finally:
        for task in (doing, stopping):
            task.cancel()
        await asyncio.gather(doing, stopping, return_exceptions=True)

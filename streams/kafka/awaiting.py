"""Retries while brokers are unavailable, and gives up only if none answers for long."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from aiokafka.errors import KafkaError, KafkaTimeoutError

from agents.logs import Logger
from streams.kafka.client import BrokerUnreachableError
from streams.kafka.connection_diagnosis import any_answers, unreachable

if TYPE_CHECKING:
    from streams.settings import Settings

log = Logger()

FIRST_SECONDS: Final = 0.5
MAX_SECONDS: Final = 10.0
_Made = TypeVar("_Made")


def passes(error: BaseException) -> bool:
    """Return whether an error is transient: a broker is unavailable."""
    if isinstance(error, BrokerUnreachableError):
        return error.passes
    if isinstance(error, KafkaError):
        return bool(error.retriable) or isinstance(error, KafkaTimeoutError)
    # not any OSError: a full disk is not the broker's fault
    return isinstance(error, ConnectionError | TimeoutError | socket.gaierror)


async def until_answered(
    work: Callable[[], Awaitable[_Made]],
    settings: Settings,
    stop: asyncio.Event,
    *,
    limit_seconds: float | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> _Made | None:
    """Do `work`; retry with growing pauses while its brokers are unavailable.

    Args:
        work: Connects to brokers; can be repeated.
        settings: Which brokers.
        stop: Ends the wait, and the work.
        limit_seconds: How long all brokers may be unavailable; default: `broker_wait_seconds`.
        meanwhile: Called before each attempt.

    Returns:
        The result of `work`; None if `stop` came first.

    Raises:
        BrokerUnreachableError: No broker answered within the limit, or one refuses this client.
        Exception: Any other error of `work`.
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
                diagnosis = await unreachable(settings, error)
                if not diagnosis.passes or time.monotonic() - silent_since >= limit:
                    raise diagnosis from error
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
    """Return the result of `work`, or cancel it and return None if `stop` comes first."""
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

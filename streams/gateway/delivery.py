"""Delivers records to the broker: acknowledged in time, or answered 503 to be retried."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiokafka
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordTooLargeError

from agents.logs import Logger
from schemas import dead_letters as reasons
from schemas.channels import Channel
from streams.http.problems import HttpError
from streams.kafka.awaiting import until_answered
from streams.kafka.client import client_options
from streams.kafka.topics import ensure_topics

if TYPE_CHECKING:
    from streams.settings import Settings

log = Logger()

AGAIN_SECONDS: Final = 5
LINGER_MS: Final = 2
AWAY: Final = "broker-away"
_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordTooLargeError)


class GatewayRecord(NamedTuple):
    """A record to write."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def broker_away() -> HttpError:
    """Return the answer while the broker does not acknowledge."""
    return HttpError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the broker did not acknowledge in time",
        remedy="send the same again: what arrived already is the same event",
        reason=AWAY,
        headers={"retry-after": str(AGAIN_SECONDS)},
    )


class RecordWriter:
    """One idempotent producer, and its records in flight.

    A record that is not acknowledged in time stays in flight, and its memory stays reserved;
    meanwhile further requests are answered 503 at once, so that nothing piles up.
    """

    def __init__(self, settings: Settings, channels: Sequence[Channel], seconds: float) -> None:
        """Prepare; nothing is connected yet.

        Args:
            settings: Which broker.
            channels: The channels to write to.
            seconds: How long a request waits for the broker.
        """
        self._settings = settings
        self._channels = tuple(channels)
        self._seconds = seconds
        self._producer: Any = None
        self._broken = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether the broker acknowledges records."""
        return self._producer is not None and not self._late

    async def run(self, stop: asyncio.Event, connected: Callable[[], None]) -> None:
        """Keep a producer connected until `stop` is set, then flush and close it.

        Args:
            stop: Ends it.
            connected: Called each time the broker is reached.

        Raises:
            BrokerUnreachableError: No broker answered when it started.
        """
        limit: float | None = None
        try:
            while not stop.is_set():
                self._broken.clear()
                self._producer = await until_answered(
                    self._connect, self._settings, stop, limit_seconds=limit
                )
                limit = math.inf  # once started, it waits for the broker for as long as it takes
                if self._producer is None:
                    return
                connected()
                await _first(stop.wait(), self._broken.wait())
                if not stop.is_set():
                    await self._close()
        finally:
            await self._close()

    async def _connect(self) -> Any:  # noqa: ANN401 -- aiokafka's own, untyped
        await ensure_topics(self._settings, channels=self._channels)
        producer = aiokafka.AIOKafkaProducer(
            **client_options(self._settings),
            enable_idempotence=True,
            acks="all",
            linger_ms=LINGER_MS,
            compression_type="lz4",
            max_request_size=self._settings.max_event_bytes * 6,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._settings.drain_seconds)
        for task in tuple(self._under_way):
            task.cancel()
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(producer.stop(), self._settings.drain_seconds)

    async def deliver(self, records: Sequence[GatewayRecord], done: Callable[[], None]) -> None:
        """Write records, and return when the broker acknowledged all of them.

        Args:
            records: The records.
            done: Called once none of them is in flight, which may be after the return.

        Raises:
            HttpError: 503 they were not acknowledged in time, 413 one is too large for its topic.
        """
        producer = self._producer
        if producer is None or self._late:
            done()
            raise broker_away()
        task = asyncio.ensure_future(_write(producer, records))
        self._under_way.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            self._late.discard(task)
            if not task.cancelled() and _is_brokers(task.exception()):
                # an idempotent producer can't continue after a record whose fate is unknown
                self._broken.set()
            done()

        task.add_done_callback(ended)
        await asyncio.wait({task}, timeout=self._seconds)
        if not task.done():
            self._late.add(task)
            log.warning("broker-late", records=len(records))
            raise broker_away()
        if task.cancelled():
            raise broker_away()
        error = task.exception()
        if isinstance(error, _TOO_LARGE):
            raise HttpError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "an event is too large for its topic",
                reason=reasons.TOO_LARGE,
            )
        if _is_brokers(error):
            log.warning("broker-refused", error=repr(error))
            raise broker_away() from error
        if error is not None:
            raise error


async def _write(producer: Any, records: Sequence[GatewayRecord]) -> None:  # noqa: ANN401 -- untyped
    futures = [
        await producer.send(topic, value=value, key=key, headers=list(headers))
        for topic, key, value, headers in records
    ]
    for outcome in await asyncio.gather(*futures, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _is_brokers(error: BaseException | None) -> bool:
    """Return whether an error is the broker's, rather than one record's or our own."""
    return isinstance(error, KafkaError | OSError) and not isinstance(error, _TOO_LARGE)


async def _first(*waits: Any) -> None:  # noqa: ANN401 -- coroutines of any result
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

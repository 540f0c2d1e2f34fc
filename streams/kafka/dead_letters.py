"""The dead letters: what could not be read, kept whole, bounded in rate, listed and replayed."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import aiokafka
import msgspec
import orjson

from agents.ports import Headers, Record
from schemas.channels import Channel
from schemas.errors import TidewatchError
from streams.kafka.bytes_json import as_json
from streams.kafka.client import client_options
from streams.kafka.publisher import delivering
from streams.kafka.topics import open_admin, partition_counts, topic_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from streams.settings import Settings

MAX_ERROR_CHARS = 2000
"""Of the error text kept in a header."""
ALL = 1_000_000_000
"""More dead letters than any topic holds."""


class DeadLetterLimitError(TidewatchError):
    """So much is unreadable that going on would drain a topic into the dead letters."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the dead-letter topic."""

    offset: int
    """Its own offset, within its partition."""
    partition: int
    timestamp_ms: int
    source_topic: str
    source_partition: int
    source_offset: int
    reason: str
    error: str
    app: str
    original_key: bytes | None
    original_headers: Headers
    value: bytes | None
    truncated_from: int | None = None
    """Bytes the record had, when it was too large to keep whole."""

    @property
    def key(self) -> str:
        """The source topic-partition-offset, which names this dead letter."""
        return f"{self.source_topic}-{self.source_partition}-{self.source_offset}"


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A dead letter as it is written."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


def dead_letter(
    record: Record, *, reason: str, error: str, app: str, limit: int, suffix: str = ""
) -> Envelope:
    """Return the dead letter of `record`.

    Args:
        record: What could not be read.
        reason: The reason code, of `schemas.dead_letters`.
        error: The detail.
        app: The app that refused it.
        limit: Bytes of the value to keep; the rest is cut and its size told.
        suffix: Tells apart several dead letters of one record.

    Returns:
        Key, value and headers to write; the same on every replay.
    """
    value = record.value
    headers = [
        ("source_topic", record.topic.encode()),
        ("source_partition", str(record.partition).encode()),
        ("source_offset", str(record.offset).encode()),
        ("reason", reason.encode()),
        ("error", error[:MAX_ERROR_CHARS].encode("utf-8", "replace")),
        ("app", app.encode()),
        ("original_headers", orjson.dumps([[k, as_json(v)] for k, v in record.headers])),
    ]
    if record.key is not None:
        headers.append(("original_key", record.key))
    if value is not None and len(value) > limit:
        headers.append(("truncated_from", str(len(value)).encode()))
        value = value[:limit]
    key = f"{record.topic}-{record.partition}-{record.offset}{suffix}".encode()
    return Envelope(key=key, value=value, headers=headers)


def _raw(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        try:
            return base64.b64decode(value["base64"], validate=True)
        except binascii.Error:
            return b""
    return b""


class DeadLetterLimit:
    """Stops a worker that would send (nearly) all of a topic to the dead letters.

    Most unreadable records are a producer's mistake, few among many. When nearly everything is
    unreadable, the mistake is ours: a wrong topic, a wrong schema, a bad deployment. Writing a
    whole topic to the dead letters then only moves the damage, so the worker stops, with
    nothing of the offending chunk acknowledged, and a person looks. Two limits, in the manner
    of Sentry's Arroyo (`DlqLimit`): a ratio over a window, and a run without a single readable
    record.
    """

    def __init__(self, *, ratio: float, window: int, consecutive: int) -> None:
        """Set the limits: share of the last `window` records, and records in a row."""
        self._ratio = ratio
        self._window = window
        self._consecutive = consecutive
        self._chunks: deque[tuple[int, int]] = deque()
        self._seen = 0
        self._bad = 0
        self._run = 0

    def count(self, unreadable: list[bool], where: str) -> None:
        """Count a chunk.

        Args:
            unreadable: For each record, in order, whether it was unreadable.
            where: The topic and partition, for the error.

        Raises:
            DeadLetterLimitError: A limit is reached.
        """
        for bad in unreadable:
            self._run = self._run + 1 if bad else 0
            if self._run >= self._consecutive:
                self._stop(f"{self._run} unreadable records in a row", where)
        bad_count = sum(unreadable)
        self._chunks.append((len(unreadable), bad_count))
        self._seen += len(unreadable)
        self._bad += bad_count
        while self._chunks and self._seen - self._chunks[0][0] >= self._window:
            seen, bad_before = self._chunks.popleft()
            self._seen -= seen
            self._bad -= bad_before
        if self._seen >= self._window and self._bad >= self._ratio * self._seen:
            self._stop(f"{self._bad} of the last {self._seen} records unreadable", where)

    @staticmethod
    def _stop(what: str, where: str) -> None:
        raise DeadLetterLimitError(
            what,
            where=where,
            remedy="see them with: tidewatch dead-letters list; correct the producer or the "
            "topic, or raise TIDEWATCH_DEAD_LETTER_RATIO and _CONSECUTIVE, and start again",
        )


def read_dead_letter(record: Any) -> DeadLetter:  # noqa: ANN401 -- aiokafka's record
    """Return a record of the dead-letter topic as typed; missing headers read as empty."""
    headers: dict[str, bytes] = dict(record.headers)

    def text(name: str) -> str:
        return headers.get(name, b"").decode("utf-8", "replace")

    def number(name: str) -> int:
        raw = text(name)
        return int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 20 else -1  # noqa: PLR2004

    try:
        listed = orjson.loads(headers.get("original_headers", b"[]"))
        originals = tuple((str(k), _raw(v)) for k, v in listed)
    except (ValueError, TypeError):
        originals = ()
    return DeadLetter(
        offset=record.offset,
        partition=record.partition,
        timestamp_ms=record.timestamp,
        source_topic=text("source_topic"),
        source_partition=number("source_partition"),
        source_offset=number("source_offset"),
        reason=text("reason"),
        error=text("error"),
        app=text("app"),
        original_key=headers.get("original_key"),
        original_headers=originals,
        value=record.value,
        truncated_from=number("truncated_from") if "truncated_from" in headers else None,
    )


async def list_dead_letters(
    settings: Settings, *, limit: int = 1000, reason: str | None = None
) -> AsyncGenerator[DeadLetter, None]:
    """Yield the dead letters now on the broker, oldest first within each partition.

    Args:
        settings: Where the broker is.
        limit: At most so many.
        reason: Only those with this reason code.

    Yields:
        Typed dead letters.
    """
    topic = topic_name(settings, Channel.DEAD_LETTER)
    admin = await open_admin(settings)
    try:
        count = (await partition_counts(admin, [topic])).get(topic, 0)
    finally:
        await admin.close()
    if not count:
        return
    tps = [aiokafka.TopicPartition(topic, number) for number in range(count)]
    client = aiokafka.AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False)
    await client.start()
    try:
        client.assign(tps)
        await client.seek_to_beginning(*tps)
        remaining = dict(await client.end_offsets(tps))
        given = 0
        while remaining:
            for tp in list(remaining):
                if await client.position(tp) >= remaining[tp]:
                    del remaining[tp]
                    client.pause(tp)
            fetched = await client.getmany(timeout_ms=200) if remaining else {}
            for records in fetched.values():
                for record in records:
                    letter = read_dead_letter(record)
                    if reason is not None and letter.reason != reason:
                        continue
                    yield letter
                    given += 1
                    if given >= limit:
                        return
    finally:
        # a client's task that is cancelled before it ever ran lets the cancellation out of stop()
        await asyncio.sleep(0)
        await client.stop()


async def show_dead_letter(settings: Settings, key: str) -> DeadLetter:
    """Return the dead letter named `key` (source topic-partition-offset).

    Raises:
        TidewatchError: There is none.
    """
    async with aclosing(list_dead_letters(settings, limit=1_000_000_000)) as letters:
        async for letter in letters:
            if letter.key == key:
                return letter
    raise TidewatchError(
        "no such dead letter", where=key, remedy="list them with: tidewatch dead-letters list"
    )


async def replay_dead_letters(
    settings: Settings, *, reason: str | None = None, keys: frozenset[str] | None = None
) -> int:
    """Write dead letters back to the topics they came from, as they were.

    Args:
        settings: Where the broker is.
        reason: Only those with this reason code.
        keys: Only those of these source topic-partition-offsets.

    Returns:
        How many were delivered. Those cut for their size are left alone.

    Raises:
        BrokerUnreachableError: No broker answers, or it refuses the records.
    """
    sent = 0
    async with (
        delivering(settings) as publisher,
        aclosing(list_dead_letters(settings, limit=ALL, reason=reason)) as letters,
    ):
        async for letter in letters:
            if letter.truncated_from is not None or not letter.source_topic:
                continue
            if keys is not None and letter.key not in keys:
                continue
            await publisher.put(
                letter.source_topic, letter.original_key, letter.value, letter.original_headers
            )
            sent += 1
    return sent

"""The dead letters: unreadable records, kept whole, limited in rate, listed and replayed."""

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
from schemas.counting import counted
from schemas.errors import TidewatchError
from streams.kafka.batches import RefusedBatch
from streams.kafka.bytes_json import as_json
from streams.kafka.client import client_options
from streams.kafka.publisher import delivering
from streams.kafka.topic_metadata import partition_counts
from streams.kafka.topics import existing_partitions, open_admin, topic_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from streams.settings import Settings

MAX_ERROR_CHARS = 2000
"""Characters of the error text kept in a header."""
HEADER_SHARE = 8
"""The share of the value's limit up to which key and headers are each kept, so that a letter fits
its topic."""
SAMPLE_BYTES = 64 * 1024
"""Bytes kept of the sample of a range."""
ALL = 1_000_000_000
"""More dead letters than any topic holds."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the dead-letter topic: of one refused record, or of a range of them."""

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
    source_last_offset: int | None = None
    """The last offset of a range; the value is then a sample, and `reason` describes it."""
    records: int = 1
    """How many were refused; 0: unknown, for a range."""
    reasons: dict[str, int] = {}
    """For a range: the count by reason code."""

    @property
    def key(self) -> str:
        """The source topic-partition-offset, or -first..last, which names this dead letter."""
        key = f"{self.source_topic}-{self.source_partition}-{self.source_offset}"
        last = self.source_last_offset
        return key if last is None else f"{key}..{last}"


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A dead letter in the form in which it is written."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


def dead_letter(
    record: Record, *, reason: str, error: str, app: str, limit: int, suffix: str = ""
) -> Envelope:
    """Return the dead letter of `record`.

    Args:
        record: The unreadable record.
        reason: The reason code, of `schemas.dead_letters`.
        error: The details.
        app: The app that refused it.
        limit: Bytes of the value to keep; the rest is cut, and so are key and headers beyond their
            share of it; the letter then gives the size of the value.
        suffix: Distinguishes several dead letters of one record.

    Returns:
        Key, value and headers to write; the same on every replay.
    """
    headers, cut = _headers(record, reason=reason, error=error, app=app, room=limit // HEADER_SHARE)
    key = f"{record.topic}-{record.partition}-{record.offset}{suffix}".encode()
    return Envelope(key=key, value=_kept(record, headers, limit, cut=cut), headers=headers)


def range_letter(
    sample: Record,
    *,
    first: int,
    last: int,
    records: int,
    refused: Mapping[str, int],
    reason: str,
    error: str,
    app: str,
    limit: int,
) -> Envelope:
    """Return the one dead letter of consecutive offsets.

    Args:
        sample: One of the records, whose beginning is kept.
        first: The first offset.
        last: The last offset.
        records: How many records these are; 0 if unknown.
        refused: The count by reason code.
        reason: Why they share a dead letter.
        error: The detail of the sample.
        app: The app that refused them.
        limit: Bytes kept of a single record.

    Returns:
        Key, value and headers to write.
    """
    headers, cut = _headers(
        msgspec.structs.replace(sample, offset=first),
        reason=reason,
        error=error,
        app=app,
        room=limit // HEADER_SHARE,
    )
    headers += [
        ("source_last_offset", str(last).encode()),
        ("records", str(records).encode()),
        ("reasons", orjson.dumps(dict(sorted(refused.items())))),
    ]
    value = _kept(sample, headers, min(limit, SAMPLE_BYTES), cut=cut)
    key = f"{sample.topic}-{sample.partition}-{first}..{last}".encode()
    return Envelope(key=key, value=value, headers=headers)


def _headers(
    record: Record, *, reason: str, error: str, app: str, room: int
) -> tuple[list[tuple[str, bytes]], bool]:
    """Return the headers of a letter, and whether not all of the record's own are among them."""
    originals = _within(record.headers, room)
    headers = [
        ("source_topic", record.topic.encode()),
        ("source_partition", str(record.partition).encode()),
        ("source_offset", str(record.offset).encode()),
        ("reason", reason.encode()),
        ("error", error[:MAX_ERROR_CHARS].encode("utf-8", "replace")),
        ("app", app.encode()),
        ("original_headers", orjson.dumps(originals)),
    ]
    if record.key is not None:
        headers.append(("original_key", record.key[:room]))
    cut = len(originals) < len(record.headers) or len(record.key or b"") > room
    return headers, cut


def _within(headers: Headers, room: int) -> list[list[Any]]:
    """Return as many of the headers as fit, in JSON."""
    kept: list[list[Any]] = []
    for name, raw in headers:
        pair = [name, as_json(raw)]
        room -= len(orjson.dumps(pair)) + 1
        if room < 0:
            break
        kept.append(pair)
    return kept


def _kept(
    record: Record, headers: list[tuple[str, bytes]], limit: int, *, cut: bool
) -> bytes | None:
    """Return the kept part of the value; note its size if it, or another part, was cut."""
    value = record.value
    size = len(value or b"")
    if cut or size > limit:
        headers.append(("truncated_from", str(size).encode()))
    return None if value is None else bytes(value[:limit])


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
    """Notices that (nearly) all of one partition of a topic is unreadable.

    Most unreadable records are a producer's mistake, few among many. When nearly everything is
    unreadable, continuing does not help: a wrong topic, a wrong schema, an attack. Two limits, as
    in Sentry's Arroyo (`DlqLimit`): a ratio over a window, and a run without a single readable
    record. The engine decides how to react.
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
        self._reached = False

    def count(self, unreadable: Sequence[int]) -> str | None:
        """Count a chunk.

        Args:
            unreadable: For each record, in order, 0 if it was readable; else how many records it
                represents.

        Returns:
            The limit that was reached, once; None otherwise.
        """
        seen = bad = longest = 0
        if unreadable and not any(unreadable):  # nearly always
            self._run, seen = 0, len(unreadable)
            unreadable = ()
        for count in unreadable:
            self._run = self._run + count if count else 0
            longest = max(longest, self._run)
            seen += count or 1
            bad += count
        self._chunks.append((seen, bad))
        self._seen += seen
        self._bad += bad
        while self._chunks and self._seen - self._chunks[0][0] >= self._window:
            seen, bad = self._chunks.popleft()
            self._seen -= seen
            self._bad -= bad
        what = None
        if longest >= self._consecutive:
            what = f"{longest} unreadable records in a row"
        elif self._seen >= self._window and self._bad >= self._ratio * self._seen:
            what = f"{self._bad} of the last {counted(self._seen, 'record')} unreadable"
        if what is not None and not self._reached:
            self._reached = True
            return what
        if what is None and self._seen >= self._window:
            self._reached = False
        return None


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
        source_last_offset=number("source_last_offset")
        if "source_last_offset" in headers
        else None,
        records=number("records") if "records" in headers else 1,
        reasons=_counts(headers.get("reasons", b"{}")),
    )


def _counts(raw: bytes) -> dict[str, int]:
    try:
        return msgspec.json.decode(raw, type=dict[str, int])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


async def list_dead_letters(
    settings: Settings, *, limit: int = 1000, reason: str | None = None
) -> AsyncGenerator[DeadLetter, None]:
    """Yield the dead letters now on the broker, oldest first within each partition.

    Args:
        settings: Where the broker is.
        limit: The most to list.
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
    """Write dead letters unchanged to the topics they came from.

    The records of a range are read from their topic again, if it still has them.

    Args:
        settings: Where the broker is.
        reason: Only those with this reason code.
        keys: Only those of these source topic-partition-offsets.

    Returns:
        How many were delivered. Truncated records, unreadable batches, and records without a topic
        are skipped.

    Raises:
        BrokerUnreachableError: No broker answers, or it refuses the records.
    """
    sent = 0
    async with (
        delivering(settings) as publisher,
        aclosing(list_dead_letters(settings, limit=ALL, reason=reason)) as letters,
    ):
        async for letter in letters:
            if not letter.source_topic or (keys is not None and letter.key not in keys):
                continue
            if letter.source_last_offset is not None:
                async for record in _range_records(settings, letter):
                    await publisher.put(
                        letter.source_topic, record.key, record.value, record.headers
                    )
                    sent += 1
                continue
            if letter.truncated_from is not None or letter.source_partition < 0:
                continue
            await publisher.put(
                letter.source_topic, letter.original_key, letter.value, letter.original_headers
            )
            sent += 1
    return sent


async def _range_records(settings: Settings, letter: DeadLetter) -> AsyncGenerator[Any, None]:
    """Yield the records of a range that its topic still has, except unreadable batches."""
    tp = aiokafka.TopicPartition(letter.source_topic, letter.source_partition)
    first, last = letter.source_offset, letter.source_last_offset
    if last is None or tp not in await existing_partitions(settings, [tp.topic]):
        return
    client = aiokafka.AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False)
    await client.start()
    try:
        client.assign([tp])
        begins = (await client.beginning_offsets([tp]))[tp]
        last = min(last, (await client.end_offsets([tp]))[tp] - 1)
        client.seek(tp, max(first, begins))
        while await client.position(tp) <= last:
            for record in (await client.getmany(timeout_ms=200)).get(tp, ()):
                if record.offset <= last and not isinstance(record.value, RefusedBatch):
                    yield record
    finally:
        # a client's task that is cancelled before it ever ran lets the cancellation out of stop()
        await asyncio.sleep(0)
        await client.stop()

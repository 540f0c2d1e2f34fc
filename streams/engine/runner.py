"""Runs agents on chunks, in the order of *nothing lost*: outputs, changelog, store, ack.

Each partition number of a binding has a runner. In it, chunks run one after another; their
outputs are handed to the producer when the agent returns, and the next chunk starts while they
are in flight. A second task settles chunks in order: it waits for a chunk's outputs, then
sends its rows (merged with those of the chunks behind it whose outputs are delivered too), then
writes the store, then acknowledges. So no changelog overtakes an earlier chunk's outputs, and a
process killed at any point repeats chunks but loses none.

A chunk that publishes too much at once is taken in parts: its agent runs again on fewer records,
and each part is delivered, and what it covers committed, in the same order. If the outputs of
a single record are still too much, they are not delivered; that record goes to the dead letters.

Over 500 lines, since it is one state machine; its separable parts are in `changelog`, `outbox`,
`router` and `unreadable`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import compress
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

import msgspec

from agents.logs import Logger
from agents.measures import Measure
from agents.messages import operator_message
from agents.ports import Delivery, Message, Record
from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.errors import UnreadableRecordError
from schemas.version import SOURCE
from streams import metrics
from streams.engine.binding import Binding, Chunk
from streams.engine.changelog import ChangelogWriter
from streams.engine.context import RunnerContext
from streams.engine.crash import crash
from streams.engine.delivery import BatchDelivery, Outgoing
from streams.engine.outbox import (
    PART_BYTES,
    PART_MESSAGES,
    TOO_MANY,
    Outbox,
    OutboxFullError,
)
from streams.engine.router import CARRIES_ENTERED, entered_ms
from streams.engine.rows import PartitionRows
from streams.engine.tables import DiskFullError
from streams.engine.unreadable import Unreadable, UnreadableRuns, unreadable_topic_alert
from streams.kafka.batches import RefusedBatch
from streams.kafka.dead_letters import DeadLetterLimit, Envelope, dead_letter
from streams.kafka.records import record_of
from streams.kafka.topics import TopicOrigin

if TYPE_CHECKING:
    from faust.types import EventT

log = Logger()

TURN_MESSAGES = 2_000
"""Messages after which the event loop gets a turn, for other partitions and for deliveries."""
_CHANNEL = attrgetter("channel")
NOTICES = 32
"""Refused records of one source in one chunk that are reported; a day's alert needs fewer."""


@dataclass(kw_only=True)
class _Flight:
    """A chunk, or part of one, whose outputs are in flight."""

    span: dict[str, Any]
    batch_delivery: BatchDelivery = field(default_factory=BatchDelivery)
    batch: int = 0
    changes: dict[bytes, bytes | None] = field(default_factory=dict)
    since: float
    outputs: Counter[Channel] = field(default_factory=Counter)
    measures: list[tuple[Measure, int]] = field(default_factory=list)
    """The measures to count on delivery, and when their cause entered Kafka."""
    done: Sequence[Any] = ()
    """Messages of the transport that are acknowledged with it."""
    upto: tuple[Any, int] | None = None
    """For a message that is not finished: the offset up to which it is."""


@dataclass(kw_only=True)
class _Work:
    """A chunk in processing."""

    span: dict[str, Any]
    topic: str
    message: Any
    """The transport's."""
    before: list[Any]
    """Messages of earlier chunks that are done once the letters in `outgoing` are delivered."""
    ends: bool = True
    """The message is done with its last part; else the open run holds it back."""
    outgoing: list[Outgoing] = field(default_factory=list)
    """Dead letters and notices, delivered with the first part."""
    notices: list[Message] = field(default_factory=list)
    upto: int | None = None
    """Where an open run begins: all records before it are done."""


def _span(records: Sequence[Any]) -> dict[str, Any]:
    """Return the offsets of these records, for the log."""
    return {"topic": records[0].topic, "offsets": [records[0].offset, records[-1].offset]}


class PartitionRunner:
    """The chunks of one partition number of one binding."""

    def __init__(self, context: RunnerContext, binding: Binding, partition: int) -> None:
        """Start the two tasks of the runner."""
        self._context = context
        self._binding = binding
        self._partition = partition
        self._queue: asyncio.Queue[EventT[Any] | None] = asyncio.Queue()
        self._flights: deque[_Flight] = deque()
        self._landed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._running = False
        self._sending = False
        self._limits: dict[str, DeadLetterLimit] = {}
        self._runs: dict[str, UnreadableRuns] = {}
        self._held: dict[str, list[Any]] = {}
        """By topic, the messages whose records are all in its open run."""
        self._parked: dict[str, deque[EventT[Any]]] = {}
        """By topic that is paused, its chunks; the transport's window bounds how many."""
        self._part = context.settings.chunk_records
        """Records to take together, reduced after an overflow."""
        self._store = context.store(binding, partition) if binding.rows else None
        self._rows = PartitionRows(self._store) if self._store is not None else None
        self._changelog = (
            ChangelogWriter(context, binding, partition, self._store, self._rows)
            if self._store is not None and self._rows is not None
            else None
        )
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._settle())]

    def submit(self, event: EventT[Any]) -> None:
        """Accept a chunk; the transport's window bounds their number."""
        self._idle.clear()
        self._queue.put_nowait(event)

    # -- running -----------------------------------------------------------------------------

    def resume(self, topic: str) -> None:
        """Resume the chunks of a topic that is no longer paused, and reset its fault counts."""
        self._limits.pop(topic, None)
        self._queue.put_nowait(None)

    async def _work(self) -> None:
        coming: asyncio.Task[EventT[Any] | None] | None = None
        try:
            while True:
                event = self._unparked()
                if event is None:
                    coming = coming or asyncio.create_task(self._queue.get())
                    quiet = None if self._closing else self._quiet_seconds()
                    await asyncio.wait({coming}, timeout=quiet)
                    if coming.done():
                        event, coming = self._unless_paused(coming.result()), None
                if self._closing:
                    continue
                self._running = True
                try:
                    await self._close_runs(but=event)
                    if event is not None:
                        await self._run(event)
                except Exception as error:  # noqa: BLE001 -- nothing lost: the unexpected ends the process
                    self._crash("agent-failed", error, _span(event.value) if event else {})
                finally:
                    self._running = False
                self._landed.set()
        finally:
            if coming is not None:
                coming.cancel()

    def _crash(self, reason: str, error: BaseException, span: Mapping[str, Any]) -> None:
        crash(
            reason,
            error,
            app=self._context.name,
            binding=self._binding.name,
            partition=self._partition,
            **span,
        )

    async def _run(self, event: EventT[Any]) -> None:
        context, message = self._context, event.message
        raw = cast("list[Any]", event.value)
        topic = raw[0].topic
        origin = context.origins[topic]
        metrics.EVENTS_IN.labels(context.name, origin.channel).inc(len(raw))
        entries, deliveries = self._read(raw, origin)
        runs, held = self._runs_of(topic)
        was_open = runs.open
        letters = runs.take(entries)
        too_much = self._limit_of(topic).count(
            [0 if entry is None else max(1, entry.records) for entry in entries]
        )
        pause = too_much is not None and origin.tenant is not None
        if pause:
            letters += runs.close()
        before: list[Any] = []
        if was_open is not None and runs.open is not was_open:
            before, held[:] = list(held), []
        work = _Work(span=_span(raw), topic=topic, message=message, before=before)
        work.outgoing = [context.addresses.address_letter(letter) for letter in letters]
        if too_much is not None:
            await self._report(work, origin, too_much)
        work.notices = self._notices([entry.record for entry in entries if entry is not None])
        if runs.open is not None:
            held.append(message)
            work.ends = False
            if runs.open.first > raw[0].offset:
                work.upto = runs.open.first
        if not await self._take_in_parts(work, deliveries):
            return
        if runs.open is not None:
            context.hold(message)
        if pause:
            context.pause(topic)

    def _unless_paused(self, event: EventT[Any] | None) -> EventT[Any] | None:
        """Park a chunk of a topic that is paused, or that has parked chunks."""
        if event is None:
            return None
        topic = cast("list[Any]", event.value)[0].topic
        if self._context.is_paused(topic) or topic in self._parked:
            self._parked.setdefault(topic, deque()).append(event)
            return None
        return event

    def _unparked(self) -> EventT[Any] | None:
        """Return the next chunk of a topic that was paused and no longer is."""
        for topic, events in self._parked.items():
            if not self._context.is_paused(topic):
                event = events.popleft()
                if not events:
                    del self._parked[topic]
                return event
        return None

    # -- unreadable records -------------------------------------------------------------------

    def _read(
        self, raw: Sequence[Any], origin: TopicOrigin
    ) -> tuple[list[Unreadable | None], list[Delivery[Any]]]:
        """Return each record's problem, if any, and the readable records."""
        context = self._context
        entries: list[Unreadable | None] = []
        deliveries: list[Delivery[Any]] = []
        internal = origin.channel in CARRIES_ENTERED
        for record in raw:
            own = record_of(record, entered_ms(record, internal=internal))
            batch = record.value
            if isinstance(batch, RefusedBatch):
                entry = Unreadable(
                    record=own,
                    reason=batch.reason,
                    error=batch.error,
                    first=batch.first,
                    records=batch.records,
                    whole=False,
                )
            else:
                try:
                    deliveries.append(Delivery(record=own, value=self._binding.decode(own, origin)))
                    entries.append(None)
                    continue
                except UnreadableRecordError as error:
                    entry = Unreadable(
                        record=own, reason=error.reason, error=error.error, first=own.offset
                    )
            entries.append(entry)
            metrics.DEAD_LETTERS.labels(context.name, origin.channel, entry.reason).inc(
                max(1, entry.records)
            )
        return entries, deliveries

    def _limit_of(self, topic: str) -> DeadLetterLimit:
        limit = self._limits.get(topic)
        if limit is None:
            settings = self._context.settings
            limit = self._limits[topic] = DeadLetterLimit(
                ratio=settings.dead_letter_ratio,
                window=settings.dead_letter_window,
                consecutive=settings.dead_letter_consecutive,
            )
        return limit

    def _runs_of(self, topic: str) -> tuple[UnreadableRuns, list[Any]]:
        """Return a topic's runs, and the messages whose last records are in the open one."""
        runs = self._runs.get(topic)
        if runs is None:
            runs = self._runs[topic] = UnreadableRuns(
                self._context.name,
                whole=self._context.settings.dead_letter_whole,
                limit=self._context.letter_limit,
            )
        return runs, self._held.setdefault(topic, [])

    def _quiet_seconds(self) -> float | None:
        """Return how long to wait for a chunk before an open run ends; None if none is open."""
        due = [runs.open.due() for runs in self._runs.values() if runs.open is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    async def _close_runs(self, but: EventT[Any] | None) -> None:
        """Deliver the dead letters of runs without recent additions.

        Args:
            but: The next chunk, which may continue its topic's run.
        """
        now = time.monotonic()
        further = cast("list[Any]", but.value)[0].topic if but is not None else None
        for topic, runs in self._runs.items():
            run = runs.open
            if run is None or run.due(quiet=topic != further) > now:
                continue
            span = {"topic": topic, "offsets": [run.first, run.last]}
            letters = [self._context.addresses.address_letter(letter) for letter in runs.close()]
            done, self._held[topic] = self._held[topic], []
            await self._send(_Flight(since=time.monotonic(), span=span, done=done), letters)

    def _notices(self, refused: Sequence[Record]) -> list[Message]:
        """Return the notices of dead letters, by source."""
        notice = self._binding.refused
        if notice is None:
            return []
        notices: list[Message] = []
        of_source: Counter[str] = Counter()
        for message in map(notice, refused):
            of_source[message.key] += 1
            if of_source[message.key] <= NOTICES:
                notices.append(message)
        return notices

    async def _report(self, work: _Work, origin: TopicOrigin, too_much: str) -> None:
        """Report to the operator that nearly all of a topic is unreadable."""
        context, topic = self._context, work.topic
        seconds = context.settings.dead_letter_pause_seconds
        alert = unreadable_topic_alert(
            context.group,
            topic,
            self._partition,
            offset=work.span["offsets"][1],
            too_much=too_much,
            tenant=origin.tenant,
            pause_seconds=seconds,
        )
        log.error(alert.kind, app=context.name, topic=topic, detail=alert.detail)
        metrics.DEAD_LETTER_LIMITS.labels(context.name, topic).inc()
        source = f"{SOURCE}/{context.name}"
        await context.addresses.address(operator_message(alert, source), work.outgoing)

    # -- taking chunks -----------------------------------------------------------------------

    async def _take_in_parts(self, work: _Work, deliveries: Sequence[Delivery[Any]]) -> bool:
        """Process a chunk, in parts if it publishes too much for one delivery.

        Returns:
            Whether all of it was processed; the runner may close in between.
        """
        context, at = self._context, 0
        while True:
            part = deliveries[at : at + self._part]
            alone = len(part) <= 1 or self._binding.slow  # slow work is not repeated
            outbox = Outbox() if alone else Outbox(PART_MESSAGES, PART_BYTES)
            try:
                if not await self._ask(part, work, outbox):
                    if len(part) > 1:
                        self._part = len(part) // 2
                        metrics.SPLIT_CHUNKS.labels(context.name).inc()
                        log.warning(
                            "chunk-split", app=context.name, **work.span, records=self._part
                        )
                        continue
                    outbox = Outbox()
                    outbox.refuse(part[0].record, reasons.TOO_MANY_OUTPUTS, TOO_MANY)
                at += len(part)
                await self._ship_part(work, part, outbox, last=at >= len(deliveries))
                outbox.shipped()
            finally:
                outbox.abandon()
            self._part = self._next_part(len(part), outbox)
            if at >= len(deliveries):
                return True
            if self._closing:
                return False

    def _next_part(self, records: int, outbox: Outbox) -> int:
        """Return how many records to take next: half of an estimate of the limit."""
        most = self._context.settings.chunk_records
        filled = outbox.filled()
        return most if filled * most <= records / 2 else max(1, int(records / 2 / filled))

    async def _ask(self, part: Sequence[Delivery[Any]], work: _Work, outbox: Outbox) -> bool:
        """Run the agent on records; if they publish too much, undo it.

        Returns:
            Whether its messages can be delivered.
        """
        if not part:
            return True
        chunk = Chunk(
            topic=work.topic,
            partition=self._partition,
            deliveries=part,
        )
        began = time.monotonic()
        try:
            if self._rows is not None:
                await self._binding.agent(chunk, outbox, self._rows)
            else:
                await self._binding.agent(chunk, outbox)
        except OutboxFullError:
            if not outbox.full:
                raise
        metrics.CHUNK_SECONDS.labels(self._context.name).observe(time.monotonic() - began)
        if outbox.full and self._rows is not None:
            self._rows.drop_changes()
        return not outbox.full

    async def _ship_part(
        self, work: _Work, part: Sequence[Delivery[Any]], outbox: Outbox, *, last: bool
    ) -> None:
        context = self._context
        outgoing, work.outgoing = work.outgoing, []
        notices, work.notices = work.notices, []
        done, work.before = work.before, []
        if last and work.ends:
            done = [*done, work.message]
        channel = context.origins[work.topic].channel
        for record, reason, detail in outbox.refused:
            letter = context.letter(record, reason, detail)
            outgoing.append(context.addresses.address_letter(letter))
            metrics.DEAD_LETTERS.labels(context.name, channel, reason).inc()
        notices += self._notices([record for record, _, _ in outbox.refused])
        flight = _Flight(since=time.monotonic(), span=work.span, done=done)
        source = part[0].record if part else None
        await self._address_outputs(flight, notices, [0] * len(notices), source, outgoing)
        await self._address_outputs(flight, outbox.messages, outbox.entered, source, outgoing)
        if not last:
            flight.upto = (work.message, part[-1].record.offset + 1)
        elif work.upto is not None:
            flight.upto = (work.message, work.upto)
        await self._send(flight, outgoing)

    async def _send(self, flight: _Flight, outgoing: Sequence[Outgoing]) -> None:
        """Start the delivery of a flight, with its changed rows."""
        self._sending = True
        flight.batch_delivery = await self._context.shipper.ship(outgoing)
        if self._rows is not None:
            flight.batch, flight.changes = self._rows.take_changes()
        self._flights.append(flight)
        self._landed.set()
        self._sending = False

    async def _address_outputs(
        self,
        flight: _Flight,
        messages: Sequence[Message],
        entered: Sequence[int],
        source: Record | None,
        outgoing: list[Outgoing],
    ) -> None:
        addresses = self._context.addresses
        own_topics = self._context.settings.tenant_topics
        for begin in range(0, len(messages), TURN_MESSAGES):
            if begin:
                await asyncio.sleep(0)
            some = messages[begin : begin + TURN_MESSAGES]
            since = entered[begin : begin + TURN_MESSAGES]
            if source is not None and any(map(addresses.too_large, some)):
                large = [addresses.too_large(message) for message in some]
                letters = (self._refuse_output(one, source) for one in compress(some, large))
                outgoing += map(addresses.address_letter, letters)
                fits = [not is_large for is_large in large]
                some, since = list(compress(some, fits)), list(compress(since, fits))
            if own_topics:
                for message, at_ms in zip(some, since, strict=True):
                    await addresses.address(message, outgoing, at_ms)
            else:
                outgoing += map(addresses.record, some, since)
            flight.outputs.update(map(_CHANNEL, some))
            flight.measures += [
                (message.measure, at_ms)
                for message, at_ms in zip(some, since, strict=True)
                if message.measure is not None
            ]

    def _refuse_output(self, message: Message, source: Record) -> Envelope:
        context, size = self._context, len(message.value or b"")
        metrics.DEAD_LETTERS.labels(context.name, message.channel, reasons.OUTPUT_TOO_LARGE).inc()
        log.error("output-too-large", channel=message.channel, key=message.key[:200], bytes=size)
        digest = sha256(message.value or b"").hexdigest()[:16]
        refused = msgspec.structs.replace(source, value=message.value, headers=message.headers)
        return dead_letter(
            refused,
            reason=reasons.OUTPUT_TOO_LARGE,
            error=f"{size} bytes for {message.channel.value} {message.key[:500]}",
            app=context.name,
            limit=context.letter_limit,
            suffix=f"-output-{digest}",
        )

    # -- settling ----------------------------------------------------------------------------

    async def _settle(self) -> None:
        full = False
        while True:
            await self._landed.wait()
            self._landed.clear()
            while self._flights:
                flights = [self._flights[0]]
                try:
                    await flights[0].batch_delivery.delivered()
                    for later in list(self._flights)[1:]:
                        if not later.batch_delivery.done():
                            break
                        await later.batch_delivery.delivered()
                        flights.append(later)
                    if not full:
                        await self._write_rows(flights)
                except DiskFullError as error:
                    # Deliveries in flight must complete before the runner may close, and none of
                    # it is acknowledged: the next process reads it again.
                    full = self._closing = True
                    self._context.stop_with(error)
                except Exception as error:  # noqa: BLE001 -- nothing lost: not delivered, not acked
                    self._crash("delivery-failed", error, flights[0].span)
                for flight in flights:
                    self._flights.popleft()
                    if full:
                        continue
                    self._context.acknowledge(flight.done, flight.upto)
                    metrics.DELIVERY_SECONDS.labels(self._context.name).observe(
                        time.monotonic() - flight.since
                    )
                    for measure, since in flight.measures:
                        self._binding.count(measure, since)
                    for channel, count in flight.outputs.items():
                        metrics.EVENTS_OUT.labels(self._context.name, channel).inc(count)
            if self._queue.empty() and not self._running:
                self._idle.set()

    async def _write_rows(self, flights: Sequence[_Flight]) -> None:
        changes: dict[bytes, bytes | None] = {}
        for flight in flights:
            changes.update(flight.changes)
        if changes and self._changelog is not None:
            await self._changelog.write(flights[-1].batch, changes)

    # -- ending ------------------------------------------------------------------------------

    async def close(self, seconds: float) -> None:
        """Finish the chunks in flight, or abandon them after `seconds`.

        A chunk whose agent still works is abandoned: nothing of it was sent. Deliveries under way
        can't be recalled; then the process ends, so that none of them arrives after another worker
        has taken over.
        """
        self._closing = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._landed.set()
        try:
            if self._running or self._flights:
                self._idle.clear()
                await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            if self._flights or self._sending:
                crash("drain-timeout", app=self._context.name, partition=self._partition)
            log.warning("chunk-abandoned", app=self._context.name, partition=self._partition)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

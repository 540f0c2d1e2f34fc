"""Runs agents on chunks in rule 1's order: outputs delivered, changelog delivered, store, ack.

Each partition number of a binding has a runner. In it, chunks run one after another; their
outputs are handed to the producer when the agent returns, and the next chunk starts while they
are on their way. A second task settles chunks in order: it waits for a chunk's outputs, then
sends its rows (merged with those of the chunks behind it whose outputs are delivered too), then
writes the store, then acknowledges. So no changelog overtakes an earlier chunk's outputs, and a
process killed anywhere repeats chunks but loses none.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.ports import Delivery, Message, Record
from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.errors import TidewatchError, UnreadableRecordError
from streams import metrics
from streams.engine.crash import crash
from streams.engine.delivery import BatchDelivery, Outgoing, Shipper
from streams.engine.tables import DiskFullError, PartitionRows
from streams.kafka.client import client_options
from streams.kafka.dead_letters import DeadLetterLimit, Envelope, dead_letter
from streams.kafka.topics import (
    TENANT_CHANNELS,
    TOPICS,
    Origin,
    ensure_topics,
    tenant_slug,
    tenant_topic_name,
    topic_name,
)

if TYPE_CHECKING:
    from faust.types import EventT

    from streams.engine.app import TidewatchApp
    from streams.settings import Settings

log = structlog.get_logger()

Decode = Callable[[Record, Origin], Any]
"""Reads a record of a topic as what it carries; raises UnreadableRecordError."""
Agent = Callable[..., Awaitable[None]]
"""`async def agent(batch, publish)`, or `(batch, publish, rows)` for a binding with rows."""

WATERMARK_ROW: Final = "\x00watermark:"
MAX_OUTBOX = 200_000
"""Messages one chunk may publish; more is an agent gone wild, not a big event."""
SLOW_CHUNK_RECORDS = 16
SLOW_WINDOW_CHUNKS = 1


@dataclass(frozen=True, kw_only=True)
class Binding:
    """An agent, the channels it reads, and whether it keeps rows."""

    name: str
    """A short name, unique in the app; the rows' table is called so."""
    channels: tuple[Channel, ...]
    """Read together: chunks of one partition number run one after another."""
    agent: Agent
    decode: Decode
    rows: bool = False
    slow: bool = False
    """Its chunks may take many minutes: small chunks, one at a time, never a rebalance."""
    refused: Callable[[Record], Message] | None = None
    """What else is told of a record that went to the dead letters."""


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive readable records of one partition. Implements `agents.ports.Batch`."""

    topic: str
    partition: int
    deliveries: Sequence[Delivery[Any]]
    watermark_ms: int


@dataclass(kw_only=True)
class _Flight:
    """A chunk whose outputs are on their way."""

    event: EventT[Any]
    batch_delivery: BatchDelivery
    batch: int
    changes: dict[bytes, bytes | None]
    since: float
    outputs: dict[Channel, int] = field(default_factory=dict)


class Outbox:
    """Collects what an agent publishes. Implements `agents.ports.Publish`."""

    def __init__(self) -> None:
        """Start empty."""
        self.messages: list[Message] = []
        self.refused: list[tuple[Record, str, str]] = []

    def __call__(self, message: Message) -> None:
        """Take `message` for delivery with this chunk.

        Raises:
            TidewatchError: The chunk published more than any real one would.
        """
        if len(self.messages) >= MAX_OUTBOX:
            raise TidewatchError(
                f"an agent published more than {MAX_OUTBOX} messages for one chunk",
                where=message.channel.value,
                remedy="bound the fan-out of the agent",
            )
        self.messages.append(message)

    def refuse(self, record: Record, reason: str, error: str) -> None:
        """Take `record` for the dead letters with this chunk."""
        self.refused.append((record, reason, error))


class TopicRouter:
    """Says which topics a message goes to, as the settings have it."""

    def __init__(self, settings: Settings) -> None:
        """Know the operator's topics; tenants' own are made when first needed."""
        self._settings = settings
        self._names = {channel: topic_name(settings, channel) for channel in Channel}
        self._limits = {
            channel: settings.max_event_bytes * spec.size_factor for channel, spec in TOPICS.items()
        }
        self._tenants: set[str] = set()

    def too_large(self, message: Message) -> bool:
        """Say whether the broker would refuse `message` for its size."""
        return message.value is not None and len(message.value) > self._limits[message.channel]

    async def address(self, message: Message, outgoing: list[Outgoing]) -> None:
        """Add the records of `message` to `outgoing`."""
        key = message.key.encode("utf-8", "surrogatepass")
        channel = message.channel
        outgoing.append(Outgoing(self._names[channel], key, message.value, message.headers))
        if (
            message.tenant is not None
            and self._settings.tenant_topics
            and channel in TENANT_CHANNELS
        ):
            tenant = tenant_slug(message.tenant)
            if await self._has_topics(tenant):
                own = tenant_topic_name(tenant, channel)
                outgoing.append(Outgoing(own, key, message.value, message.headers))

    async def _has_topics(self, tenant: str) -> bool:
        """Make a tenant's own topics when it is first met, for so many tenants as may have them.

        A producer that makes up tenants must not flood the broker with topics; what is left out is
        on the operator's topic all the same, and is counted.
        """
        if tenant in self._tenants:
            return True
        if len(self._tenants) >= self._settings.max_tenants:
            metrics.EVICTIONS.labels("tenant-topics").inc()
            return False
        await ensure_topics(self._settings, channels=(), tenants=(tenant,))
        self._tenants.add(tenant)
        return True

    def address_letter(self, letter: Envelope) -> Outgoing:
        """Return the record of a dead letter."""
        return Outgoing(self._names[Channel.DEAD_LETTER], letter.key, letter.value, letter.headers)


class PartitionRunner:
    """The chunks of one partition number of one binding."""

    def __init__(self, engine: Engine, binding: Binding, partition: int) -> None:
        """Start the two tasks of the runner."""
        self._engine = engine
        self._binding = binding
        self._partition = partition
        self._queue: asyncio.Queue[EventT[Any]] = asyncio.Queue()
        self._flights: deque[_Flight] = deque()
        self._landed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._running = False
        self._sending = False
        self._watermarks: dict[str, int] = {}
        settings = engine.settings
        self._limit = DeadLetterLimit(
            ratio=settings.dead_letter_ratio,
            window=settings.dead_letter_window,
            consecutive=settings.dead_letter_consecutive,
        )
        self._store = engine.store(binding, partition) if binding.rows else None
        self._rows = PartitionRows(self._store) if self._store is not None else None
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._settle())]

    def submit(self, event: EventT[Any]) -> None:
        """Take a chunk; the transport's window bounds how many there are."""
        self._idle.clear()
        self._queue.put_nowait(event)

    # -- running -----------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            event = await self._queue.get()
            if self._closing:
                continue
            self._running = True
            try:
                await self._run(event)
            except _StopError as error:
                self._engine.stop_with(error.cause)
                return
            except Exception as error:  # noqa: BLE001 -- rule 1: the unexpected ends the process
                self._crash("agent-failed", event, error)
            finally:
                self._running = False
            self._landed.set()

    def _crash(self, reason: str, event: EventT[Any], error: BaseException) -> None:
        records = cast("list[Any]", event.value)
        crash(
            reason,
            error,
            app=self._engine.name,
            binding=self._binding.name,
            topic=records[0].topic,
            partition=self._partition,
            offsets=[records[0].offset, records[-1].offset],
        )

    async def _run(self, event: EventT[Any]) -> None:
        engine, binding = self._engine, self._binding
        raw = cast("list[Any]", event.value)
        topic = raw[0].topic
        origin = engine.origins[topic]
        deliveries: list[Delivery[Any]] = []
        letters: list[Envelope] = []
        unreadable: list[bool] = []
        refused: list[Record] = []
        watermark = self._watermark(topic)
        for record in raw:
            watermark = max(watermark, record.timestamp)
            own = Record(
                topic=topic,
                partition=record.partition,
                offset=record.offset,
                timestamp_ms=record.timestamp,
                key=record.key,
                value=record.value,
                headers=tuple(record.headers),
            )
            try:
                value = binding.decode(own, origin)
            except UnreadableRecordError as error:
                letters.append(engine.letter(own, error.reason, error.error))
                metrics.DEAD_LETTERS.labels(engine.name, origin.channel, error.reason).inc()
                unreadable.append(True)
                refused.append(own)
                continue
            deliveries.append(Delivery(record=own, value=value))
            unreadable.append(False)
        self._count(unreadable, topic)
        metrics.EVENTS_IN.labels(engine.name, origin.channel).inc(len(raw))
        outbox = Outbox()
        if binding.refused is not None:
            for record in refused:
                outbox(binding.refused(record))
        began = time.monotonic()
        if deliveries:
            chunk = Chunk(
                topic=topic,
                partition=self._partition,
                deliveries=deliveries,
                watermark_ms=watermark,
            )
            if self._rows is not None:
                await binding.agent(chunk, outbox, self._rows)
            else:
                await binding.agent(chunk, outbox)
        since = time.monotonic()
        metrics.CHUNK_SECONDS.labels(engine.name).observe(since - began)
        for unchecked, reason, detail in outbox.refused:
            letters.append(engine.letter(unchecked, reason, detail))
            metrics.DEAD_LETTERS.labels(engine.name, origin.channel, reason).inc()
        self._count([True] * len(outbox.refused), topic)
        outgoing = [engine.addresses.address_letter(letter) for letter in letters]
        outputs = await self._address_outputs(outbox, deliveries, outgoing)
        self._sending = True
        batch_delivery = await engine.shipper.ship(outgoing)
        batch = 0
        changes: dict[bytes, bytes | None] = {}
        if self._rows is not None:
            if watermark > self._watermark(topic):
                self._rows.put(WATERMARK_ROW + topic, str(watermark).encode())
            batch, changes = self._rows.take_changes()
        self._watermarks[topic] = watermark
        self._flights.append(
            _Flight(
                event=event,
                batch_delivery=batch_delivery,
                batch=batch,
                changes=changes,
                since=since,
                outputs=outputs,
            )
        )
        self._sending = False

    def _count(self, unreadable: list[bool], topic: str) -> None:
        try:
            self._limit.count(unreadable, f"{topic}-{self._partition}")
        except TidewatchError as error:
            raise _StopError(error) from error

    async def _address_outputs(
        self, outbox: Outbox, deliveries: Sequence[Delivery[Any]], outgoing: list[Outgoing]
    ) -> dict[Channel, int]:
        addresses = self._engine.addresses
        outputs: dict[Channel, int] = {}
        for message in outbox.messages:
            if addresses.too_large(message):
                letter = self._refuse_output(message, deliveries[0].record)
                outgoing.append(addresses.address_letter(letter))
                continue
            await addresses.address(message, outgoing)
            outputs[message.channel] = outputs.get(message.channel, 0) + 1
        return outputs

    def _refuse_output(self, message: Message, source: Record) -> Envelope:
        engine, size = self._engine, len(message.value or b"")
        metrics.DEAD_LETTERS.labels(engine.name, message.channel, reasons.OUTPUT_TOO_LARGE).inc()
        log.error("output-too-large", channel=message.channel, key=message.key[:200], bytes=size)
        digest = sha256(message.value or b"").hexdigest()[:16]
        refused = msgspec.structs.replace(source, value=message.value, headers=message.headers)
        return dead_letter(
            refused,
            reason=reasons.OUTPUT_TOO_LARGE,
            error=f"{size} bytes for {message.channel.value} {message.key[:500]}",
            app=engine.name,
            limit=engine.letter_limit,
            suffix=f"-output-{digest}",
        )

    def _watermark(self, topic: str) -> int:
        known = self._watermarks.get(topic)
        if known is not None:
            return known
        kept = self._rows.get(WATERMARK_ROW + topic) if self._rows is not None else None
        return int(kept) if kept else 0

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
                        await self._make_durable(flights)
                except DiskFullError as error:
                    # What is under way still has to land before the runner may close, and none of
                    # it is acknowledged: the next process reads it again.
                    full = self._closing = True
                    self._engine.stop_with(error)
                except Exception as error:  # noqa: BLE001 -- rule 1: not delivered, not acked
                    self._crash("delivery-failed", flights[0].event, error)
                for flight in flights:
                    self._flights.popleft()
                    if full:
                        continue
                    self._engine.acknowledge(flight.event)
                    metrics.DELIVERY_SECONDS.labels(self._engine.name).observe(
                        time.monotonic() - flight.since
                    )
                    for channel, count in flight.outputs.items():
                        metrics.EVENTS_OUT.labels(self._engine.name, channel).inc(count)
            if self._queue.empty() and not self._running:
                self._idle.set()

    async def _make_durable(self, flights: Sequence[_Flight]) -> None:
        if self._rows is None or self._store is None:
            return
        changes: dict[bytes, bytes | None] = {}
        for flight in flights:
            changes.update(flight.changes)
        if not changes:
            return
        offsets = await self._send_rows(changes)
        offsets = await self._repair(offsets)
        known = [offset for offset in offsets if offset >= 0]
        position = self._store.position()
        last = max(known, default=position[0] if position else -1)
        self._rows.settle(flights[-1].batch, changes, last)

    async def _send_rows(self, changes: dict[bytes, bytes | None]) -> list[int]:
        engine = self._engine
        topic = engine.changelog(self._binding)
        batch_delivery = await engine.shipper.ship(
            Outgoing(topic, key, value, partition=self._partition) for key, value in changes.items()
        )
        await batch_delivery.delivered()
        return batch_delivery.offsets()

    async def _repair(self, offsets: list[int]) -> list[int]:
        """Undo what a worker that lost this partition still wrote to its changelog.

        This runner is the only writer, so its offsets are consecutive. A gap is a late write of a
        predecessor that was cut off without knowing it: its rows would win in the next
        recovery. The current rows of those keys are written once more.
        """
        store, rows = self._store, self._rows
        if store is None or rows is None or not offsets:
            return offsets
        if min(offsets) < 0:
            store.next_offset = None
            return offsets
        expected = store.next_offset
        store.next_offset = max(offsets) + 1
        if expected is None:
            return offsets
        gap = sorted(set(range(expected, max(offsets))) - set(offsets))
        if not gap:
            return offsets
        keys = await self._engine.changelog_keys(self._binding, self._partition, gap)
        log.warning(
            "foreign-changelog-writes",
            app=self._engine.name,
            partition=self._partition,
            offsets=gap[:10],
            rows=len(keys),
        )
        metrics.STATE_REPAIRS.labels(self._engine.name).inc(len(keys))
        again = await self._send_rows({key: rows.now(key) for key in keys})
        return [*offsets, *await self._repair(again)]

    # -- ending ------------------------------------------------------------------------------

    async def close(self, seconds: float) -> None:
        """Finish the chunks under way, or abandon them after `seconds`.

        A chunk whose agent still works is abandoned: nothing of it was sent. One whose
        deliveries are under way can't be taken back; then the process ends, so that nothing of
        it arrives after another worker has taken over.
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
                crash("drain-timeout", app=self._engine.name, partition=self._partition)
            log.warning("chunk-abandoned", app=self._engine.name, partition=self._partition)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


class _StopError(TidewatchError):
    """Carries an error that stops the worker in good order rather than crash it."""

    def __init__(self, cause: TidewatchError) -> None:
        self.cause = cause
        super().__init__(cause.what)


class Engine:
    """The lanes of one app, and what they share."""

    def __init__(self, app: TidewatchApp, name: str, bindings: Sequence[Binding]) -> None:
        """Keep the app; lanes are made as chunks come."""
        self.app = app
        self.name = name
        self.settings: Settings = app.tidewatch_settings
        self.origins: dict[str, Origin] = dict(app.origins)
        self.addresses = TopicRouter(self.settings)
        self.shipper = Shipper(lambda: app.tidewatch_producer.client)
        self.letter_limit = self.settings.max_event_bytes * 4
        self._bindings = {binding.name: binding for binding in bindings}
        self._lanes: dict[tuple[str, int], PartitionRunner] = {}
        self._open = False

    def open(self) -> None:
        """Take chunks from now on: the assigned partitions are recovered."""
        self._open = True

    def submit(self, binding: Binding, event: EventT[Any]) -> None:
        """Give a chunk to its runner; one of an assignment that is over is dropped."""
        if not self._open or event.message.generation_id != self.app.consumer_generation_id:
            return
        key = (binding.name, event.message.partition)
        runner = self._lanes.get(key)
        if runner is None:
            runner = self._lanes[key] = PartitionRunner(self, binding, event.message.partition)
        runner.submit(event)

    def acknowledge(self, event: EventT[Any]) -> None:
        """Let the transport commit a chunk when all before it are acknowledged too."""
        event.message.ack(self.app.consumer)

    def letter(self, record: Record, reason: str, error: str) -> Envelope:
        """Return the dead letter of a record this app refused."""
        return dead_letter(
            record, reason=reason, error=error, app=self.name, limit=self.letter_limit
        )

    def store(self, binding: Binding, partition: int) -> Any:  # noqa: ANN401 -- PartitionStore
        """Return the store of a binding's partition, recovered before records flow."""
        return self.app.row_table(binding.name).data.partitions[partition]

    def changelog(self, binding: Binding) -> str:
        """Return the changelog topic of a binding's rows."""
        name: str = self.app.row_table(binding.name).changelog_topic.get_topic_name()
        return name

    async def changelog_keys(
        self, binding: Binding, partition: int, offsets: Sequence[int]
    ) -> set[bytes]:
        """Return the keys of the changelog records at `offsets`."""
        client = AIOKafkaConsumer(**client_options(self.settings), enable_auto_commit=False)
        await client.start()
        keys: set[bytes] = set()
        wanted = set(offsets)
        try:
            tp = TopicPartition(self.changelog(binding), partition)
            client.assign([tp])
            client.seek(tp, min(offsets))
            while await client.position(tp) <= max(offsets):
                fetched = await client.getmany(timeout_ms=500)
                for record in fetched.get(tp, ()):
                    if record.offset in wanted and record.key is not None:
                        keys.add(record.key)
        finally:
            await client.stop()
        return keys

    def stop_with(self, error: TidewatchError) -> None:
        """Stop the worker in good order, with `error` as its reason."""
        self.app.stop_with(error)

    async def drain(self) -> None:
        """Finish or abandon all chunks within the drain time."""
        self._open = False
        lanes, self._lanes = list(self._lanes.values()), {}
        if lanes:
            await asyncio.gather(*(runner.close(self.settings.drain_seconds) for runner in lanes))


def check_agent(binding: Binding) -> None:
    """Refuse a binding whose agent does not take what it will be given.

    Raises:
        TidewatchError: It is not a coroutine function of (batch, publish[, rows]).
    """
    wanted = 3 if binding.rows else 2
    takes = len(inspect.signature(binding.agent).parameters)
    if not inspect.iscoroutinefunction(binding.agent) or takes != wanted:
        raise TidewatchError(
            f"agent of binding {binding.name} must be async and take {wanted} arguments",
            where=getattr(binding.agent, "__qualname__", repr(binding.agent)),
            remedy="async def agent(batch, publish) or, with rows, (batch, publish, rows)",
        )

"""The Faust transport: hands whole chunks to agents, commits exactly what was acknowledged.

Stock Faust spends four asyncio tasks on each record, and acknowledges records whose processing
failed. Here the consumer thread hands the records of a fetch to the main loop at once, as lists;
the main loop cuts chunks and gives each to Faust's conductor as one message whose value is the
list of records. Only chunks that were acknowledged, in order, are committed.

Why the latency is low: aiokafka sends no fetch to a broker while records of one of its
partitions are unread, and answers a fetch only on data or at the end of the wait. So the records of
a fetch are drained in the task that received them, before the next fetch is built: every
partition takes part in every fetch, and a quiet one delays none. A partition with too much
buffered is paused at that moment, so that no fetched record is discarded: those not taken stay
compressed until there is room.

Over 500 lines, since consumer and its thread share the internals of one pinned Faust version.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import aiokafka
from aiokafka.consumer.fetcher import FetchError, FetchResult

from streams import metrics
from streams.engine.crash import crash
from streams.engine.faust_parts import TP, TRANSPORTS, ConsumerMessage, Service, driver
from streams.kafka.client import client_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from streams.settings import Settings

SCHEME = "tidewatch"
FAUST_VERSION = "0.15.3"
"""The version whose internals this module uses; tests/streams/engine checks them."""
FETCH_MAX_WAIT_MS = 100
"""A waiting fetch is answered at the first record, so this only bounds how long a resumed
partition waits to be fetched again."""
CALM_FETCH_MAX_WAIT_MS = 1_000
"""The same when idle: then no partition is paused, and none will be resumed."""
CALM_SECONDS = 2.0
"""How long nothing has arrived before fetches wait longer."""
BUFFER_CHUNKS = 8
"""Chunks of a partition read ahead of the window before the partition is paused."""
BUFFER_BYTES = 8 * 1024 * 1024
"""Bytes of a partition read ahead before it is paused."""
EARLIEST = -2
"""Asks a broker for the offset of the oldest record of a partition (ListOffsets of Kafka)."""
RECORD_BYTES = 100
"""Approximate memory overhead of a record, and of each of its headers."""
LOOK_SECONDS = 10.0
"""How long to wait for the broker to return the end offsets."""

Block = tuple[TP, list[Any], int, bool]
"""Records of one partition from one fetch, their bytes, and whether the partition was paused."""

TRANSPORTS.aliases.setdefault(SCHEME, "streams.engine.transport:Transport")


def _weight(record: Any) -> int:  # noqa: ANN401 -- aiokafka's record
    """Return the approximate memory of a record in bytes."""
    weight = RECORD_BYTES + len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:
        weight += RECORD_BYTES + len(name) + len(value or b"")
    return weight


class Lag(NamedTuple):
    """The lag of one partition."""

    records: int
    """Records not yet committed."""
    seconds: float
    """Age of the oldest record read and not yet committed."""
    stalled_seconds: float
    """How long there has been lag without committed progress."""


class FetchPace:
    """How long the broker may hold the next fetch back, by when records arrived last."""

    def __init__(self, now: float) -> None:
        """Begin as if something had just arrived.

        Args:
            now: The monotonic time.
        """
        self._arrived = now

    def wait_ms(self, now: float, *, arrived: bool, paused: bool) -> int:
        """Return the wait of the next fetch.

        Args:
            now: The monotonic time.
            arrived: Whether the fetch before it brought records.
            paused: Whether a partition waits until there is room for its records.
        """
        if arrived or paused:
            self._arrived = now
        calm = now - self._arrived > CALM_SECONDS
        return CALM_FETCH_MAX_WAIT_MS if calm else FETCH_MAX_WAIT_MS


class _Intake:
    """Records of one partition read but not yet handed out, and chunks in flight."""

    __slots__ = (
        "bytes",
        "chunks",
        "committed",
        "end",
        "held",
        "next_offset",
        "paused",
        "progress",
        "records",
    )

    def __init__(self) -> None:
        self.records: deque[Any] = deque()
        self.bytes = 0
        self.paused = False
        self.chunks: deque[tuple[int, ConsumerMessage]] = deque()
        """Chunks handed out and not yet committable: (offset after the chunk, message)."""
        self.held: set[int] = set()
        """Ids of the messages among them that do not count against the window."""
        self.next_offset: int | None = None
        self.committed: int | None = None
        self.progress = monotonic()
        """When it was last idle or committed."""
        self.end = 0
        """The offset after the broker's last record, as last asked for."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs aiokafka in its own thread, so that heartbeats continue while an agent works."""

    mundane_level = "debug"
    consumer: Consumer
    _assignment: Any = None
    _generation = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- Faust's signature
        """Start with no offset out of range."""
        super().__init__(*args, **kwargs)
        self._out_of_range: dict[Any, int] = {}
        """Requested offsets that the broker does not have."""
        self._untaken: dict[TP, FetchResult] = {}
        """Fetched records that there was no room for; their partitions are paused."""

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        del transport
        conf, settings = self.app.conf, self.consumer.settings
        self._assignor = self.app.assignor
        return aiokafka.AIOKafkaConsumer(
            **client_options(settings),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            # how often aiokafka looks for something to fetch without an event
            consumer_timeout_ms=CALM_FETCH_MAX_WAIT_MS,
            max_partition_fetch_bytes=1024 * 1024,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
        )

    async def on_start(self) -> None:
        """Start the client, and drain each fetch where it arrives."""
        await super().on_start()
        client = self._ensure_consumer()
        fetcher = client._fetcher  # noqa: SLF001 -- pinned: the place where a fetch arrives
        receive = fetcher._proc_fetch_request  # noqa: SLF001
        ask_offsets = fetcher._proc_offset_request  # noqa: SLF001
        pace = FetchPace(monotonic())

        async def receive_and_drain(assignment: Any, node: int, request: Any) -> bool:  # noqa: ANN401
            got = bool(await receive(assignment, node, request))
            if got:
                self._drain(client, fetcher, assignment)
            self._look_for_gaps(assignment, request)
            fetcher._fetch_max_wait_ms = pace.wait_ms(  # noqa: SLF001
                monotonic(), arrived=got, paused=bool(self._untaken)
            )
            return False
            # False: nothing waits for records inside aiokafka any more.

        async def ask_and_tell(node: int, topics: Any) -> Any:  # noqa: ANN401
            offsets = await ask_offsets(node, topics)
            for topic, partitions in topics.items():
                for partition, asked in partitions:
                    tp = aiokafka.TopicPartition(topic, partition)
                    if asked == EARLIEST and tp in offsets:
                        await self._tell_of_gap(tp, offsets[tp][0])
            return offsets

        fetcher._proc_fetch_request = receive_and_drain  # noqa: SLF001
        fetcher._proc_offset_request = ask_and_tell  # noqa: SLF001
        # An open fetch context shows aiokafka that its caller is alive, however long an agent
        # works: the watchdog, not the group, checks its progress.
        client._subscription._fetch_count += 1  # noqa: SLF001

    def _look_for_gaps(self, assignment: Any, request: Any) -> None:  # noqa: ANN401
        """Record which requested offsets are out of range; aiokafka resets them."""
        if not assignment.active:
            return
        for topic, partitions in request.topics:
            for partition, offset, *_ in partitions:
                tp = aiokafka.TopicPartition(topic, partition)
                if assignment.state_value(tp).awaiting_reset:
                    self._out_of_range[tp] = offset

    async def _tell_of_gap(self, tp: Any, begins: int) -> None:  # noqa: ANN401
        """Have the gap reported, before reading restarts at the oldest record there is."""
        reached = self._out_of_range.get(tp)
        if reached is not None or begins > 0:
            report = self.consumer.gap(TP(tp.topic, tp.partition), reached, begins)
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(report, self.parent_loop))
        self._out_of_range.pop(tp, None)

    def _drain(self, client: aiokafka.AIOKafkaConsumer, fetcher: Any, assignment: Any) -> None:  # noqa: ANN401
        if client._subscription.reassignment_in_progress:  # noqa: SLF001
            return
        if assignment is not self._assignment:
            self._assignment = assignment
            self._generation += 1
            self._untaken.clear()
        blocks: list[Block] = []
        for tp, fetched in list(fetcher._records.items()):  # noqa: SLF001
            del fetcher._records[tp]  # noqa: SLF001
            if isinstance(fetched, FetchError):
                self.parent_loop.call_soon_threadsafe(self.consumer.fetch_failed, tp, fetched)
            elif isinstance(fetched, FetchResult) and fetched.check_assignment(tp):
                self._take(client, TP(tp.topic, tp.partition), fetched, blocks)
        if blocks:
            self.parent_loop.call_soon_threadsafe(self.consumer.arrived, self._generation, blocks)

    def _take(
        self, client: aiokafka.AIOKafkaConsumer, tp: TP, fetched: FetchResult, blocks: list[Block]
    ) -> None:
        """Take as many records as there is room for; pause the partition if some are left."""
        room, room_bytes = self.consumer.room(tp)
        records: list[Any] = []
        size = 0
        more = False
        for record in fetched._partition_records:  # noqa: SLF001 -- pinned: inflates batch by batch
            records.append(record)
            size += _weight(record)
            if len(records) >= room or size >= room_bytes:
                more = True
                break
        fetched._update_position()  # noqa: SLF001
        if more:
            self._untaken[tp] = fetched
            client.pause(aiokafka.TopicPartition(tp.topic, tp.partition))
        if records:
            blocks.append((tp, records, size, more))

    def resume(self, tp: TP) -> None:
        """Fetch `tp` again; called from the main loop."""
        self.thread_loop.call_soon_threadsafe(self._resume, tp)

    def _resume(self, tp: TP) -> None:
        client = self._ensure_consumer()
        aio = aiokafka.TopicPartition(tp.topic, tp.partition)
        if aio not in client.assignment():
            return
        fetched = self._untaken.pop(tp, None)
        blocks: list[Block] = []
        if fetched is not None and self._assignment.active:
            self._take(client, tp, fetched, blocks)
        if tp not in self._untaken:
            client.resume(aio)
        if blocks:
            self.parent_loop.call_soon_threadsafe(self.consumer.arrived, self._generation, blocks)

    def end_offset(self, tp: TP) -> int | None:
        """Return the offset after the last record of `tp`, as of the last fetch."""
        client = self._ensure_consumer()
        aio = aiokafka.TopicPartition(tp.topic, tp.partition)
        if aio not in client.assignment():
            return None
        end: int | None = client.highwater(aio)
        return end

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust's detector reads paths this transport does not use."""


class Consumer(driver.Consumer):
    """Cuts chunks from fetched records, and commits acknowledged ones in order."""

    mundane_level = "debug"
    app: Any
    _thread: ConsumerThread
    settings: Settings
    drain: Callable[[], Awaitable[None]]
    """Set by the engine: finishes or abandons the chunks in flight, within a bounded time."""
    gap: Callable[[TP, int | None, int], Coroutine[Any, Any, None]]
    """Set by the engine: reports, durably, that records were deleted before they were read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- Faust's signature
        """Take settings and limits from the app."""
        super().__init__(*args, **kwargs)
        self.settings = self.app.tidewatch_settings
        self.drain = self.app.drain_chunks
        self.gap = self.app.tell_of_gap
        self._intakes: dict[TP, _Intake] = {}
        self._generation = 0
        self._wake = asyncio.Event()
        self._progressed = asyncio.Event()
        """Set when there may be something to commit."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- incoming records --------------------------------------------------------------------

    def room(self, tp: TP) -> tuple[int, int]:
        """Return, in the consumer thread, how many records and bytes of a partition may follow."""
        intake = self._intakes.get(tp)
        held, held_bytes = (len(intake.records), intake.bytes) if intake else (0, 0)
        limit = self.app.chunk_limit(tp.topic) * BUFFER_CHUNKS
        return limit - held, BUFFER_BYTES - held_bytes

    def arrived(self, generation: int, blocks: list[Block]) -> None:
        """Take blocks that the thread drained; those of a previous assignment are dropped."""
        if generation < self._generation:
            return
        if generation > self._generation:
            self._generation = generation
            self._intakes.clear()
        for tp, records, size, paused in blocks:
            intake = self._intakes.get(tp)
            if intake is None:
                intake = self._intakes[tp] = _Intake()
                intake.next_offset = intake.committed = records[0].offset
            if not intake.records and not intake.chunks:
                intake.progress = monotonic()
            intake.records.extend(records)
            intake.bytes += size
            intake.paused = intake.paused or paused
            self._resume_when_low(tp, intake)
        self._wake.set()

    def _resume_when_low(self, tp: TP, intake: _Intake) -> None:
        low = self.app.chunk_limit(tp.topic) * BUFFER_CHUNKS // 2
        if intake.paused and len(intake.records) <= low and intake.bytes <= BUFFER_BYTES // 2:
            intake.paused = False
            self._thread.resume(tp)

    def fetch_failed(self, tp: Any, failure: FetchError) -> None:  # noqa: ANN401
        """End the process on an error of the broker that a retry does not fix."""
        try:
            failure.check_raise()
        except Exception as error:  # noqa: BLE001 -- whatever the broker said, reading can't go on
            crash("fetch-failed", error, topic=tp.topic, partition=tp.partition)

    async def _drain_messages(self, fetcher: Any) -> None:  # noqa: ANN401 -- Faust's signature
        while not (self.should_stop or fetcher.should_stop):
            await self._wake.wait()
            self._wake.clear()
            if not self.flow_active:
                await self.can_resume_flow.wait()
                self._wake.set()
                continue
            more = True
            while more and self.flow_active:
                more = False
                ready = [tp for tp, intake in self._intakes.items() if intake.records]
                random.shuffle(ready)
                for tp in ready:
                    message = self._cut(tp)
                    if message is None or not self.flow_active:
                        continue
                    more = True
                    await self.callback(message)

    def _cut(self, tp: TP) -> ConsumerMessage | None:
        intake = self._intakes.get(tp)
        if intake is None or not intake.records:
            return None
        if len(intake.chunks) - len(intake.held) >= self.app.chunk_window(tp.topic):
            return None
        limit = self.app.chunk_limit(tp.topic)
        records = intake.records
        if len(records) <= limit:
            chunk = list(records)
            records.clear()
            intake.bytes = 0
        else:
            chunk = [records.popleft() for _ in range(limit)]
            intake.bytes -= sum(map(_weight, chunk))
        self._resume_when_low(tp, intake)
        first = chunk[0]
        message = ConsumerMessage(
            tp.topic,
            tp.partition,
            first.offset,
            first.timestamp / 1000,
            first.timestamp_type,
            None,
            b"",
            cast("Any", chunk),
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )
        intake.chunks.append((chunk[-1].offset + 1, message))
        return message

    # -- acknowledgements --------------------------------------------------------------------

    def ack(self, message: Any) -> bool:  # noqa: ANN401 -- Faust's signature
        """Mark a chunk as acknowledged; it is committed when all before it are."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        intake = self._intakes.get(message.tp)
        if intake is not None and any(m is message for _, m in intake.chunks):
            intake.held.discard(id(message))
            while intake.chunks and intake.chunks[0][1].acked:
                intake.next_offset = intake.chunks.popleft()[0]
                self._progressed.set()
            if intake.records:
                self._wake.set()
        return True

    def progress(self, message: Any, offset: int) -> None:  # noqa: ANN401 -- as Faust's `ack`
        """Allow commits up to `offset` within an unfinished chunk."""
        intake = self._intakes.get(message.tp)
        if intake is not None and intake.chunks and intake.chunks[0][1] is message:
            intake.next_offset = max(offset, intake.next_offset or 0)
            self._progressed.set()

    def hold(self, message: Any) -> None:  # noqa: ANN401 -- as Faust's `ack`
        """Hand out further chunks although this processed one is acknowledged late.

        Its records are released.
        """
        intake = self._intakes.get(message.tp)
        message.value = ()
        if intake is not None and any(m is message for _, m in intake.chunks):
            intake.held.add(id(message))
            self._wake.set()

    @Service.task
    async def _commit_handler(self) -> None:
        """Commit each interval, and wait where nothing is acknowledged."""
        while not self.should_stop:
            await self._progressed.wait()
            self._progressed.clear()
            await self.sleep(self.commit_interval)
            await self.commit()
            if self._filter_tps_with_pending_acks():  # since then, or it could not be committed
                self._progressed.set()

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust's detector reads paths this transport does not use."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Any:  # noqa: ANN401
        del topics
        return [
            tp
            for tp, intake in self._intakes.items()
            if intake.next_offset is not None and intake.next_offset != intake.committed
        ]

    def _new_offset(self, tp: TP) -> int | None:
        intake = self._intakes.get(tp)
        return intake.next_offset if intake else None

    def _should_commit(self, tp: TP, offset: int) -> bool:
        intake = self._intakes.get(tp)
        return intake is not None and offset != intake.committed

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: a chunk covers its gaps."""

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        del start_new_transaction
        assignment = self.assignment()
        mine = {tp: offset for tp, offset in offsets.items() if tp in assignment}
        if not mine or not await self._commit(mine):
            return False
        metrics.COMMITS.labels(self.app.tidewatch_name).inc()
        for tp, offset in mine.items():
            intake = self._intakes.get(tp)
            if intake is not None:
                intake.committed = offset
                intake.progress = monotonic()
            self._committed_offset[tp] = offset
        return True

    async def perform_seek(self) -> None:
        """Do nothing: nothing is ever re-read.

        An assignment starts at its committed offsets, and buffered records are dropped with it.
        """

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish or abandon chunks, commit, and drop buffered records."""
        self.stop_flow()
        await super().on_partitions_revoked(revoked)
        self._forget()

    async def wait_empty(self) -> None:
        """Finish or abandon the chunks in flight within the drain time, then commit."""
        await self.drain()
        await self.commit()
        self._forget()

    def _forget(self) -> None:
        self._intakes.clear()
        self._unacked_messages.clear()
        self._wake.set()

    # -- lag ---------------------------------------------------------------------------------

    async def look_for_lag(self) -> None:
        """Fetch the end offsets from the broker, to notice a partition whose fetches stopped.

        Raises:
            TimeoutError, KafkaError: The broker does not answer now.
        """
        tps = self.assignment()
        if not tps or not self.flow_active:
            return
        async with asyncio.timeout(LOOK_SECONDS):
            ends = await self.highwaters(*tps)
            for tp, end in ends.items():
                own = TP(tp.topic, tp.partition)
                if own not in self._intakes:
                    position = await self.position(own)
                    if position is None or position >= end:
                        continue
                    intake = self._intakes.setdefault(own, _Intake())
                    if intake.next_offset is None:
                        intake.next_offset = intake.committed = position
                self._intakes[own].end = end

    def lag(self, now_ms: float) -> dict[TP, Lag]:
        """Return the lag of each partition that delivered records."""
        lags: dict[TP, Lag] = {}
        now = monotonic()
        for tp, intake in self._intakes.items():
            end = self._thread.end_offset(tp)
            done = intake.committed
            if end is None or done is None:
                continue
            behind = max(0, max(end, intake.end) - done)
            oldest = None
            if intake.chunks:
                oldest = intake.chunks[0][1].timestamp * 1000
            elif intake.records:
                oldest = intake.records[0].timestamp
            lags[tp] = Lag(
                records=behind,
                seconds=max(0.0, (now_ms - oldest) / 1000) if oldest is not None else 0.0,
                stalled_seconds=now - intake.progress
                if behind and not self.app.is_paused(tp.topic)
                else 0.0,
            )
        return lags


class Producer(driver.Producer):
    """The app's one producer: idempotent, waiting for all replicas."""

    app: Any
    mundane_level = "debug"

    def _settings_auth(self) -> Mapping[str, Any]:
        return client_options(self.app.tidewatch_settings)

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    @property
    def client(self) -> aiokafka.AIOKafkaProducer:
        """The aiokafka producer: its `send` returns a future that is done at delivery."""
        return self._ensure_producer()


class Transport(driver.Transport):
    """The driver behind `tidewatch://host:port`."""

    Consumer = Consumer
    Producer = Producer
    driver_version = f"tidewatch on {driver.Transport.driver_version}"

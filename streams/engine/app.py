"""Builds and runs one Faust app: its bindings, tables, transport, health and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import uvloop
from aiokafka.errors import KafkaError
from yarl import URL

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams import metrics
from streams.engine.binding import SLOW_CHUNK_RECORDS, SLOW_WINDOW_CHUNKS, Binding, check_agent
from streams.engine.crash import crash
from streams.engine.engine import Engine
from streams.engine.faust_parts import TP, App, Event, Schema
from streams.engine.health import Health
from streams.engine.offset_gaps import report_gap
from streams.engine.tables import LOCK_SECONDS, STORE_SCHEME, RowTable, StoreLockedError, Tables
from streams.engine.ticks import Ticker
from streams.engine.transport import SCHEME
from streams.kafka.awaiting import passes, until_answered
from streams.kafka.client import bootstrap_servers
from streams.kafka.connection_diagnosis import unreachable
from streams.kafka.topic_times import ensure_broker_time
from streams.kafka.topics import (
    TopicOrigin,
    changelog_name,
    ensure_topics,
    group_id,
    input_topics,
    topic_name,
)
from streams.private_files import private_folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from streams.engine.reference_topics import ReferenceTopic
    from streams.engine.transport import Consumer, Producer
    from streams.settings import Settings

log = Logger()

SLOW_WATCHDOG_SECONDS = 45 * 60.0
"""How long lag without progress is normal for bindings whose chunks may take twenty minutes."""
STOP_GRACE_SECONDS = 15.0
"""Time after the drain, for leaving the group and closing connections."""
SAMPLE_SECONDS = 1.0
LOOK_EVERY_SECONDS = 10.0
GC_YOUNG_OBJECTS = 20_000
"""Garbage collection threshold: about as many new objects as a chunk of events makes."""


class _ChunkSchema(Schema):  # type: ignore[type-arg]  # generic for mypy only
    """Passes a chunk through Faust as it is."""

    def compile(self, app: Any, **_: Any) -> Any:  # noqa: ANN401 -- Faust's signature
        """Return a decoder that does nothing: the runner decodes, record by record."""

        async def decode(message: Any, *, propagate: bool = False) -> Event:  # noqa: ANN401
            del propagate
            return Event(app, None, message.value, None, message)

        return decode


class TidewatchApp(App):
    """A Faust app on Tidewatch's transport, with the methods that transport and tables need."""

    mundane_level = "debug"
    tidewatch_name: str
    tidewatch_settings: Settings
    origins: dict[str, TopicOrigin]
    engine: Engine
    _slow_topics: frozenset[str] = frozenset()
    stop_error: TidewatchError | None = None
    stop_requested: asyncio.Event
    health: Health
    flowing: set[TP]
    """The partitions records flow from."""

    @property
    def group(self) -> str:
        """The consumer group."""
        return str(self.conf.id)

    @property
    def tidewatch_producer(self) -> Producer:
        """The producer, by its concrete type."""
        return cast("Producer", self.producer)

    @property
    def tidewatch_consumer(self) -> Consumer:
        """The consumer, by its concrete type."""
        return cast("Consumer", self.consumer)

    def row_table(self, name: str) -> RowTable:
        """Return the table of binding `name`."""
        return cast("RowTable", self.tables[name])

    def chunk_limit(self, topic: str) -> int:
        """Return the most records of `topic` an agent gets at once."""
        slow = topic in self._slow_topics
        return SLOW_CHUNK_RECORDS if slow else self.tidewatch_settings.chunk_records

    def chunk_window(self, topic: str) -> int:
        """Return how many chunks of one partition of `topic` are in flight at once."""
        slow = topic in self._slow_topics
        return SLOW_WINDOW_CHUNKS if slow else self.tidewatch_settings.window_chunks

    def is_paused(self, topic: str) -> bool:
        """Return whether a topic is paused because nearly all of it was unreadable."""
        return self.engine.context.is_paused(topic)

    async def drain_chunks(self) -> None:
        """Finish or abandon the chunks under way."""
        await self.engine.drain()

    async def tell_of_gap(self, tp: TP, reached: int | None, begins: int) -> None:
        """Report records that were deleted before they were read to the operator, durably."""
        await report_gap(self.engine.context, tp, reached, begins)

    def on_ready(self, assigned: set[TP]) -> None:
        """Note which partitions records flow from."""
        self.flowing = assigned
        self.health.ready = True

    def stop_with(self, error: TidewatchError) -> None:
        """Stop gracefully because of `error`; its exit code becomes the process's."""
        if self.stop_error is None:
            self.stop_error = error
            log.error("stopping", app=self.tidewatch_name, reason=error.explain())
        self.stop_requested.set()


def build_app(name: str, bindings: Sequence[Binding], settings: Settings) -> TidewatchApp:
    """Build the Faust app of `bindings`.

    Args:
        name: The app's name; its group is `<group_prefix>-<name>`.
        bindings: The agents and what they read. A channel belongs to one binding only.
        settings: The checked settings.

    Returns:
        An app ready for `serve`.

    Raises:
        TidewatchError: An agent's signature does not fit, or two bindings read one channel.
    """
    group = group_id(settings, name)
    origins: dict[str, TopicOrigin] = {}
    topics: dict[str, list[str]] = {}
    for binding in bindings:
        check_agent(binding)
        for channel in binding.channels:
            for topic, origin in input_topics(settings, channel).items():
                if topic in origins:
                    raise TidewatchError(
                        f"two bindings of app {name} read {topic}",
                        where=binding.name,
                        remedy="a channel belongs to one binding of an app",
                    )
                origins[topic] = origin
                topics.setdefault(binding.name, []).append(topic)
    app = TidewatchApp(group, **_options(settings, group))
    app.tidewatch_name = name
    app.tidewatch_settings = settings
    app.origins = origins
    app.flowing = set()
    app._slow_topics = frozenset(  # noqa: SLF001 -- its builder
        topic for binding in bindings if binding.slow for topic in topics[binding.name]
    )
    app.health = Health(
        name,
        watchdog_seconds=max(settings.watchdog_seconds, SLOW_WATCHDOG_SECONDS)
        if app._slow_topics  # noqa: SLF001 -- its builder
        else settings.watchdog_seconds,
    )
    app.engine = Engine(app, name)
    metrics.GAPS.labels(name)  # exported as 0 from the start, so that the first one is a rise
    for binding in bindings:
        _bind(app, binding, topics[binding.name])
    return app


def _options(settings: Settings, group: str) -> dict[str, Any]:
    """Return the options of Faust's app: what the engine does instead is off."""
    return {
        "broker": [URL(f"{SCHEME}://{address}") for address in bootstrap_servers(settings)],
        "datadir": str(settings.state_dir.absolute() / "state" / settings.instance / group),
        "store": f"{STORE_SCHEME}:",
        "TableManager": Tables,
        "processing_guarantee": "at_least_once",
        "key_serializer": "raw",
        "value_serializer": "raw",
        "HttpClient": object,  # it sends no requests
        "web_enabled": False,
        "web_tables_enabled": False,
        "web_router_enabled": False,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "topic_partitions": settings.partitions,
        "table_standby_replicas": 0,
        "consumer_auto_offset_reset": "earliest",
        "consumer_group_instance_id": f"{group}-{settings.instance}",
        "broker_client_id": f"{group}-{settings.instance}",
        "broker_commit_interval": settings.commit_seconds,
        "broker_commit_every": 1_000_000_000,
        "broker_request_timeout": max(60.0, settings.session_seconds + 10),
        "broker_session_timeout": settings.session_seconds,
        "broker_heartbeat_interval": min(3.0, settings.session_seconds / 5),
        "broker_rebalance_timeout": settings.drain_seconds + 20,
        "broker_max_poll_interval": 24 * 3600.0,
        "stream_buffer_maxsize": 65_536,
        "stream_wait_empty": True,
        "producer_acks": -1,
        "producer_linger": 0.002,
        "producer_max_batch_size": 256 * 1024,
        "producer_compression_type": "zstd",
        "producer_request_timeout": 60.0,
        "producer_max_request_size": settings.max_event_bytes * 6,
    }


def _bind(app: TidewatchApp, binding: Binding, topics: Sequence[str]) -> None:
    source = app.topic(*topics, schema=_ChunkSchema())
    engine = app.engine
    if binding.rows:
        table = RowTable(app, name=binding.name, partitions=app.tidewatch_settings.partitions)
        table.sources = frozenset(topics)
        app.tables.add(table)

    async def take_chunks(stream: Any) -> None:  # noqa: ANN401 -- Faust's stream
        async for event in stream.noack().events():
            engine.submit(binding, event)

    app.agent(source, name=binding.name)(take_chunks)


def needed_changelogs(name: str, bindings: Sequence[Binding], settings: Settings) -> dict[str, str]:
    """Return the changelog topics of `bindings`, each with the topic it is partitioned like."""
    group = group_id(settings, name)
    return {
        changelog_name(group, binding.name): topic_name(settings, binding.channels[0])
        for binding in bindings
        if binding.rows
    }


async def serve(
    name: str,
    bindings: Sequence[Binding],
    settings: Settings,
    *,
    references: Sequence[ReferenceTopic] = (),
    http_ports: Sequence[int] = (),
) -> int:
    """Run one app until it is stopped.

    Args:
        name: The app.
        bindings: Its agents.
        settings: The checked settings.
        references: Compacted topics to read whole before the first record.
        http_ports: The port of health and metrics, then those of the apps it answers for as well;
            the port of the settings if there is none.

    Returns:
        The exit code: 0 when asked to stop. An unexpected error ends the process with 70
        instead.

    Raises:
        TidewatchError: It could not start, or had to stop; the caller reports it.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    changelogs = needed_changelogs(name, bindings, settings)
    app = build_app(name, bindings, settings)
    lock = await _hold_state_folder(app)
    app.stop_requested = stop
    port, *siblings = http_ports or (settings.http_port,)
    app.health.serve(settings.http_host, port, siblings)

    async def answered(work: Callable[[], Awaitable[object]]) -> None:
        await until_answered(work, settings, stop, meanwhile=lambda: app.health.beat(0.0))

    try:
        await answered(partial(ensure_topics, settings, changelogs=changelogs))
        await answered(partial(ensure_broker_time, settings))
        for reference in references:
            await answered(partial(reference.load, settings))
        if references:
            gc.freeze()  # collecting 200,000 permanent objects would block the loop for 0.25 s
        if not stop.is_set():
            await _start_or_stop(app, stop)
        if not stop.is_set():
            await _until_stopped(app, stop)
    finally:
        app.health.ready = False
        await _stop(app)
        for reference in references:
            await reference.close()
        app.health.close()
        os.close(lock)
    if app.stop_error is not None:
        raise app.stop_error
    return 0


async def _hold_state_folder(app: TidewatchApp) -> int:
    """Make the state folder and lock it: two workers of one name would fence each other off."""
    folder = app.conf.datadir
    try:
        private_folder(folder)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise TidewatchError(
            f"the state folder can't be made ({error.strerror})",
            where=str(folder),
            remedy="free space, or set TIDEWATCH_STATE_DIR to a folder this user may write",
        ) from error
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() < deadline:
                await asyncio.sleep(0.1)
                continue
            os.close(lock)
            raise StoreLockedError(folder) from error
        return lock


async def _start_or_stop(app: TidewatchApp, stop: asyncio.Event) -> None:
    starting = asyncio.ensure_future(app.start())
    stopping = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting in done:
        error = starting.exception()
        if error is not None and passes(error):
            raise await unreachable(app.tidewatch_settings, error) from error
        if error is not None:
            crash("start-failed", error, app=app.tidewatch_name)
    else:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


async def _until_stopped(app: TidewatchApp, stop: asyncio.Event) -> None:
    ticker = Ticker(app)
    background = [
        asyncio.ensure_future(_sample(app)),
        asyncio.ensure_future(ticker.run()),
    ]
    crashed = asyncio.ensure_future(app._crashed.wait())  # noqa: SLF001 -- mode has no other way
    stopping = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait(
        {crashed, stopping, *background}, return_when=asyncio.FIRST_COMPLETED
    )
    for task in (crashed, stopping, *background):
        if task not in done:
            task.cancel()
    if crashed in done:
        crash("app-crashed", app.crash_reason, app=app.tidewatch_name)
    for task in background:
        if task in done:
            crash("background-task-ended", task.exception(), app=app.tidewatch_name)


async def _sample(app: TidewatchApp) -> None:
    """Measure the lag each second, and report to the watchdog that the loop is alive."""
    name = app.tidewatch_name
    asked = time.monotonic()
    while True:
        if time.monotonic() - asked > LOOK_EVERY_SECONDS:
            asked = time.monotonic()
            try:
                await app.tidewatch_consumer.look_for_lag()
            except (TimeoutError, KafkaError) as error:
                log.warning("broker-silent", app=name, error=repr(error))
            except Exception as error:  # noqa: BLE001 -- aiokafka: partitions just revoked
                log.info("lag-unknown", app=name, error=repr(error))
        app.engine.resume_due()
        stalled = 0.0
        for tp, lag in app.tidewatch_consumer.lag(time.time() * 1000).items():
            metrics.LAG_RECORDS.labels(name, tp.topic, tp.partition).set(lag.records)
            metrics.LAG_SECONDS.labels(name, tp.topic, tp.partition).set(lag.seconds)
            stalled = max(stalled, lag.stalled_seconds)
        app.health.beat(stalled)
        await asyncio.sleep(SAMPLE_SECONDS)


async def _stop(app: TidewatchApp) -> None:
    app.health.beat(0.0)
    limit = app.tidewatch_settings.drain_seconds + STOP_GRACE_SECONDS
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(app.stop(), limit)
        log.info("stopped", app=app.tidewatch_name)
        return
    log.warning("stop-timeout", app=app.tidewatch_name, seconds=limit)


def run(
    name: str,
    bindings: Sequence[Binding],
    settings: Settings,
    *,
    references: Sequence[ReferenceTopic] = (),
    http_ports: Sequence[int] = (),
) -> int:
    """Run `serve` in an event loop of its own and return the exit code."""
    uvloop.install()
    # Rules, tables and code live as long as the process: the collector need not visit them, nor
    # look for cycles after every few events.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_OBJECTS, 20, 20)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(
        serve(name, bindings, settings, references=references, http_ports=http_ports)
    )

"""The notifier on Kafka: alerts, operator alerts and proposals in, messages to people out.

Pending messages are on the topic `notifications`. Each step is one transaction: changed rows, dead
letters, and the offsets of their input records. A message is on the broker before it is first sent,
and leaves the broker after its destination accepted it, so that it is sent at least once, and
always with the same id.

One process at a time: it reads every partition, and the last to start takes over by the
transactional id. The broker refuses later writes of an earlier process.

Over 500 lines, since reading, delivering and writing share one transaction and its state.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import aiokafka
import msgspec
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, ProducerFenced

from agents.logs import Logger
from agents.notification import services, webhook
from agents.notification.book import Attempt, Book, Lost
from agents.notification.config import NotifyConfig
from agents.notification.notices import READS, Notice, read_notice
from agents.notification.threads import DeliveryOutcome
from agents.ports import Record
from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.errors import TidewatchError, UnreadableRecordError
from schemas.notifications import NotificationThread
from streams import metrics
from streams.apps.client_session import client_session
from streams.engine.health import Health
from streams.engine.offset_gaps import note_gap
from streams.kafka.batches import RefusedBatch
from streams.kafka.client import BrokerUnreachableError, client_options
from streams.kafka.dead_letters import Envelope, dead_letter
from streams.kafka.topics import (
    ensure_topics,
    existing_partitions,
    group_id,
    open_admin,
    topic_name,
)
from streams.settings import Settings

log = Logger()

APP: Final = "notify"
POLL_MS: Final = 500
MAX_RECORDS: Final = 200
PARTITIONS_SECONDS: Final = 30.0
"""How often it looks for new partitions."""
COORDINATOR_SECONDS: Final = 0.2
OWN: Final = "notifier"
"""The header of rows that a notifier wrote; a row without it was replayed by a person."""

_DECODER: Final = msgspec.json.Decoder(NotificationThread)
_ENCODER: Final = msgspec.json.Encoder()

Outgoing = tuple[str, bytes, bytes | None, list[tuple[str, bytes]]]
"""Topic, key, value and headers of a record to write."""


def notifier_group(settings: Settings, config: NotifyConfig) -> str:
    """Return the notifier's consumer group, which is also its transactional id."""
    return group_id(settings, f"{APP}-{config.name}")


def at_once(config: NotifyConfig) -> NotifyConfig:
    """Return a configuration that waits for no further updates."""
    return msgspec.structs.replace(
        config,
        routes=tuple(
            msgspec.structs.replace(route, group_wait_seconds=0.0, group_interval_seconds=0.0)
            for route in config.routes
        ),
    )


def send(delivery: Attempt, config: NotifyConfig) -> DeliveryOutcome:
    """Try once to deliver a message; a failure of any kind is an outcome.

    Args:
        delivery: The message and its destination.
        config: The destinations.
    """
    destination = config.destinations[delivery.destination]
    try:
        if destination.webhook is not None:
            return webhook.post(delivery.message, destination, datetime.now(UTC))
        return services.notify(delivery.message, destination, delivery.destination)
    except Exception as error:  # noqa: BLE001 -- a service's fault must not stop the others
        return DeliveryOutcome(
            taken=False, detail=f"it failed unexpectedly ({type(error).__name__})"
        )


class KafkaNotifier:
    """Reads alerts and proposals, and notifies people of them."""

    def __init__(self, settings: Settings, config: NotifyConfig, *, once: bool = False) -> None:
        """Prepare; nothing is connected yet.

        Args:
            settings: Which broker and topics.
            config: Destinations and routes.
            once: Send what is on the topics now, then end.
        """
        self._settings = settings
        self._config = at_once(config) if once else config
        self._once = once
        self._group = notifier_group(settings, config)
        self._channels = {topic_name(settings, channel): channel for channel in READS}
        self._rows_topic = topic_name(settings, Channel.NOTIFICATIONS)
        self.book = Book(self._config)
        self.given_up = 0
        """How many messages were given up and became dead letters."""
        self._ends: Mapping[Any, int] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._outgoing: list[Outgoing] = []
        self._counted = (0, 0)
        self._looked = time.monotonic()
        metrics.GAPS.labels(APP)  # exported as 0 from the start, so that the first one is a rise
        self.health = Health(APP, watchdog_seconds=settings.watchdog_seconds)
        self._stopping = asyncio.Event()
        self._consumer: Any = None
        self._producer: Any = None

    async def run(self) -> None:
        """Notify people until asked to stop (SIGTERM, SIGINT).

        Health and metrics are served meanwhile, unless it ends by itself.

        Raises:
            BrokerUnreachableError: No broker answers.
            TidewatchError: Another process took over, or the port of health and metrics is taken.
        """
        await ensure_topics(
            self._settings,
            channels=(*READS, Channel.NOTIFICATIONS, Channel.DEAD_LETTER),
        )
        options = client_options(self._settings)
        self._consumer = aiokafka.AIOKafkaConsumer(
            **options,
            # not a member of its group: it reads all, and commits offsets with its writes
            group_id=None,
            enable_auto_commit=False,
            # a gap is reported before it is skipped
            auto_offset_reset="none",
            isolation_level="read_committed",
        )
        self._producer = aiokafka.AIOKafkaProducer(
            **options,
            transactional_id=self._group,
            max_request_size=self._settings.max_event_bytes * 6,
        )
        async with client_session(
            self._settings,
            self._consumer,
            self._producer,
            self.health,
            self._stopping,
            watched=not self._once,
        ):
            try:
                # from here on no other process writes the rows, and pending transactions are
                # settled
                async with self._producer.transaction():
                    pass
                await self._consumer.start()
                await self._recover()
                self.health.ready = True
                log.info("notifier-started", group=self._group, threads=len(self.book))
                await self._serve()
            except ProducerFenced as error:
                raise TidewatchError(
                    "another notifier of this name took over",
                    where=self._group,
                    remedy="run one process for each name; give this one another name",
                ) from error

    # -- start -------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Read all rows, then continue the inputs at the offsets committed with them."""
        rows = await existing_partitions(self._settings, [self._rows_topic])
        inputs = await existing_partitions(self._settings, self._channels)
        # before anything is assigned: afterwards aiokafka knows no other topics, and waits
        begins = await self._consumer.beginning_offsets([*rows, *inputs])
        self._place({tp: begins[tp] for tp in rows})
        ends = await self._consumer.end_offsets(rows)
        loaded: dict[str, NotificationThread | None] = {}
        while [tp for tp in rows if await self._consumer.position(tp) < ends[tp]]:
            for records in (await self._consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    row = self._row(record)
                    if row is not None:
                        loaded[row[0]] = row[1]
            self.health.beat(0.0)
        now = _now_ms()
        for key, thread in loaded.items():
            if thread is not None:
                self.book.load(key, thread, now)
        routes = {route.name for route in self._config.routes}
        gone = {thread.route for thread in loaded.values() if thread and thread.route} - routes
        if gone:
            log.warning("routes-gone", routes=sorted(gone))
        await self._assign(rows, {tp: begins[tp] for tp in inputs})

    async def _assign(self, rows: Sequence[Any], begins: Mapping[Any, int]) -> None:
        """Continue at the end of the rows, and in the inputs at the committed offsets."""
        places = {tp: await self._consumer.position(tp) for tp in rows}
        committed = await self._committed(list(begins))
        begun = any(offset is not None for offset in committed.values())
        for tp, offset in committed.items():
            if offset is None and begun and begins[tp] > 0:
                self._gap(tp, None, begins[tp])
            places[tp] = begins[tp] if offset is None else offset
        self._place(places)
        await self._keep({})

    def _place(self, places: Mapping[Any, int]) -> None:
        """Read exactly these partitions, from these offsets."""
        # without a pause: between the two, aiokafka would look up an offset itself
        self._consumer.assign(list(places))
        for tp, offset in places.items():
            self._consumer.seek(tp, offset)

    async def _committed(self, partitions: Sequence[Any]) -> dict[Any, int | None]:
        """Return the group's committed offset of each partition, None if it has none."""
        deadline = time.monotonic() + self._settings.broker_wait_seconds
        admin = await open_admin(self._settings)
        try:
            while True:
                try:
                    found = await admin.list_consumer_group_offsets(
                        self._group, partitions=list(partitions)
                    )
                    break
                except KafkaError as error:
                    # a broker that has just started looks for the group's coordinator
                    if not error.retriable or time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(COORDINATOR_SECONDS)
        finally:
            await admin.close()
        return {
            tp: found[tp].offset if tp in found and found[tp].offset >= 0 else None
            for tp in partitions
        }

    async def _follow_partitions(self) -> None:
        """Read new partitions from their beginning as well."""
        if time.monotonic() - self._looked < PARTITIONS_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            found = await existing_partitions(self._settings, [*self._channels, self._rows_topic])
        except BrokerUnreachableError:
            return  # wait for an unavailable broker while there is nothing to write
        assigned = self._consumer.assignment()
        added = [tp for tp in found if tp not in assigned]
        if not added:
            return
        places = {tp: await self._consumer.position(tp) for tp in assigned}
        self._place({**places, **await self._consumer.beginning_offsets(added)})
        log.info("partitions-added", partitions=len(added))

    # -- the loop ----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        if self._once:
            self._ends = await self._consumer.end_offsets(list(self._consumer.assignment()))
        began_ms, reading = _now_ms(), True
        stopping = asyncio.ensure_future(self._stopping.wait())
        fetching: asyncio.Future[Any] | None = None
        attempts: dict[asyncio.Future[DeliveryOutcome], Attempt] = {}
        try:
            while not self._stopping.is_set():
                if fetching is None and reading:
                    if not self._once:
                        await self._follow_partitions()
                    fetching = asyncio.ensure_future(
                        self._consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
                    )
                awaited: set[asyncio.Future[Any]] = {stopping, *attempts}
                if fetching is not None:
                    awaited.add(fetching)
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                self.health.beat(0.0)
                offsets: dict[Any, int] = {}
                if fetching is not None and fetching.done():
                    offsets = await self._read(fetching)
                    fetching = None
                    reading = not (self._once and await self._is_all_read())
                self._settle(attempts)
                self.book.act(_now_ms())
                await self._keep(offsets)
                # once: a failed message is due later than this, so it isn't retried
                self._begin(attempts, began_ms if self._once else _now_ms())
                if not reading and not attempts:
                    await self._keep({})
                    return
            # a message that was just accepted is not sent again
            if attempts:
                await asyncio.wait(attempts, timeout=self._settings.drain_seconds)
                self._settle(attempts)
                await self._keep({})
        finally:
            stopping.cancel()
            if fetching is not None:
                fetching.cancel()
            await asyncio.gather(stopping, *filter(None, [fetching]), return_exceptions=True)

    async def _read(self, fetching: asyncio.Future[Any]) -> dict[Any, int]:
        """Handle the records of a fetch, and return the offsets to commit."""
        try:
            fetched: Mapping[Any, Sequence[Any]] = fetching.result()
        except OffsetOutOfRangeError as error:
            for tp, reached in error.args[0].items():
                begins = (await self._consumer.beginning_offsets([tp]))[tp]
                if tp.topic in self._channels:
                    self._gap(tp, reached, begins)
                self._consumer.seek(tp, begins)
            return {}
        offsets: dict[Any, int] = {}
        for tp, found in fetched.items():
            end = self._ends.get(tp)
            records = [record for record in found if end is None or record.offset < end]
            if not records:
                continue
            if tp.topic == self._rows_topic:
                for record in records:
                    self._brought_back(record)
                continue
            for record in records:
                self._take(record)
            reached = await self._consumer.position(tp)
            offsets[tp] = reached if end is None else min(reached, end)
        return offsets

    async def _is_all_read(self) -> bool:
        """Return whether all records present at the start are read."""
        for tp, end in self._ends.items():
            if await self._consumer.position(tp) < end:
                return False
        return True

    def _take(self, raw: Any) -> None:  # noqa: ANN401 -- aiokafka's own, untyped
        """Handle one record, or write it to the dead letters."""
        channel = self._channels[raw.topic]
        record = Record(
            topic=raw.topic,
            partition=raw.partition,
            offset=raw.offset,
            timestamp_ms=raw.timestamp,
            key=raw.key,
            value=raw.value,
            headers=tuple((name, value or b"") for name, value in raw.headers),
        )
        metrics.EVENTS_IN.labels(APP, channel).inc()
        try:
            notice = self._notice(channel, record)
        except UnreadableRecordError as error:
            metrics.DEAD_LETTERS.labels(APP, channel, error.reason).inc()
            log.warning(
                "record-refused",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=error.reason,
                detail=error.error,
            )
            self._letter(record, error.reason, error.error)
            return
        if not self.book.take(notice, record.timestamp_ms, _now_ms()):
            metrics.NOTIFICATIONS_UNROUTED.labels(channel).inc()

    def _notice(self, channel: Channel, record: Record) -> Notice:
        if isinstance(record.value, RefusedBatch):
            raise UnreadableRecordError(record.value.reason, record.value.error)
        return read_notice(channel, record, self._settings.max_event_bytes)

    def _brought_back(self, raw: Any) -> None:  # noqa: ANN401 -- aiokafka's own, untyped
        """Deliver a message that a person replayed from the dead letters."""
        if OWN in dict(raw.headers):
            return
        row = self._row(raw)
        if row is not None and row[1] is not None:
            self.book.adopt(row[0], row[1], _now_ms())

    def _row(self, raw: Any) -> tuple[str, NotificationThread | None] | None:  # noqa: ANN401 -- the same
        """Return a row's key and thread; None if it is another notifier's or can't be read."""
        key = (raw.key or b"").decode("utf-8", "replace")
        if not self.book.owns(key):
            return None
        if raw.value is None:
            self._places.pop(key, None)
            return key, None
        try:
            thread = _DECODER.decode(raw.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("row-unreadable", partition=raw.partition, offset=raw.offset)
            record = Record(
                topic=raw.topic,
                partition=raw.partition,
                offset=raw.offset,
                timestamp_ms=raw.timestamp,
                key=raw.key,
                value=raw.value,
            )
            self._letter(record, reasons.INVALID_EVENT, str(error))
            return None
        self._places[key] = (raw.partition, raw.offset)
        return key, thread

    def _gap(self, tp: Any, reached: int | None, begins: int) -> None:  # noqa: ANN401 -- the same
        message = note_gap(APP, self._group, tp, reached, begins)
        self._outgoing.append(
            (
                topic_name(self._settings, message.channel),
                message.key.encode(),
                message.value,
                list(message.headers),
            )
        )

    # -- delivery ----------------------------------------------------------------------------------

    def _begin(self, attempts: dict[asyncio.Future[DeliveryOutcome], Attempt], due_ms: int) -> None:
        busy = {delivery.destination for delivery in attempts.values()}
        for delivery in self.book.ready(busy, due_ms):
            attempts[_in_thread(partial(send, delivery, self._config))] = delivery

    def _settle(self, attempts: dict[asyncio.Future[DeliveryOutcome], Attempt]) -> None:
        for attempt in [under_way for under_way in attempts if under_way.done()]:
            delivery, outcome = attempts.pop(attempt), attempt.result()
            word = "taken" if outcome.taken else "refused" if outcome.refused else "failed"
            metrics.NOTIFICATIONS.labels(delivery.destination, word).inc()
            if outcome.taken:
                metrics.NOTIFICATION_LAST.labels(delivery.destination).set_to_current_time()
            shown = log.info if outcome.taken else log.warning
            shown(
                f"notification-{word}",
                destination=delivery.destination,
                message=delivery.message.id,
                notified=delivery.message.event,
                incident=delivery.message.incident,
                detail=outcome.detail,
            )
            self.book.settle(delivery, outcome, _now_ms())

    # -- durability --------------------------------------------------------------------------------

    async def _keep(self, offsets: Mapping[Any, int]) -> None:
        """Write the changed rows with the offsets of their input records."""
        changes = self.book.changes()
        for lost in self.book.lost():
            self._give_up(lost)
        self._count()
        outgoing, self._outgoing = self._outgoing, []
        if not (changes or outgoing or offsets):
            return
        own = [(OWN, self._config.name.encode())]
        async with self._producer.transaction():
            written = {
                key: await self._producer.send(
                    self._rows_topic,
                    key=key.encode(),
                    value=None if thread is None else _ENCODER.encode(thread),
                    headers=own,
                )
                for key, thread in changes.items()
            }
            for topic, name, value, headers in outgoing:
                await self._producer.send(topic, key=name, value=value, headers=headers)
            if offsets:
                await self._producer.send_offsets_to_transaction(offsets, self._group)
            places = {key: await row for key, row in written.items()}
        for key, position in places.items():
            if changes[key] is None:
                self._places.pop(key, None)
            else:
                self._places[key] = (position.partition, position.offset)

    def _give_up(self, lost: Lost) -> None:
        """Write a message that is given up to the dead letters.

        Its value is a row under a key of its own: written back to `notifications`, it is delivered
        again under the same id.
        """
        given_up = lost.given_up
        self.given_up += 1
        partition, offset = self._places.get(lost.source, (0, 0))
        record = Record(
            topic=self._rows_topic,
            partition=partition,
            offset=offset,
            timestamp_ms=given_up.message.at_ms,
            key=lost.key.encode(),
            value=_ENCODER.encode(lost.row),
        )
        metrics.NOTIFICATIONS.labels(given_up.destination, "given-up").inc()
        metrics.DEAD_LETTERS.labels(APP, Channel.NOTIFICATIONS, reasons.NOT_DELIVERED).inc()
        log.error(
            "notification-given-up",
            destination=given_up.destination,
            message=given_up.message.id,
            incident=given_up.message.incident,
            detail=given_up.why,
        )
        error = f"{given_up.destination} did not take message {given_up.message.id}: {given_up.why}"
        suffix = f"-{given_up.message.id}-{given_up.destination}"
        self._letter(record, reasons.NOT_DELIVERED, error, suffix)

    def _letter(self, record: Record, reason: str, error: str, suffix: str = "") -> None:
        letter: Envelope = dead_letter(
            record,
            reason=reason,
            error=error,
            app=APP,
            limit=self._settings.max_event_bytes,
            suffix=suffix,
        )
        topic = topic_name(self._settings, Channel.DEAD_LETTER)
        self._outgoing.append((topic, letter.key, letter.value, letter.headers))

    def _count(self) -> None:
        metrics.NOTIFICATIONS_WAITING.set(self.book.waiting())
        evicted, stale = self.book.evicted, self.book.stale
        if evicted > self._counted[0]:
            metrics.EVICTIONS.labels("notification-threads").inc(evicted - self._counted[0])
        if stale > self._counted[1]:
            log.info("ended-unsent", incidents=stale - self._counted[1])
        self._counted = (evicted, stale)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _in_thread(work: Callable[[], DeliveryOutcome]) -> asyncio.Future[DeliveryOutcome]:
    """Run something in a thread that does not keep the process from ending.

    A receiver that sends one byte a second may delay an attempt, but nothing else.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[DeliveryOutcome] = loop.create_future()

    def settle(outcome: DeliveryOutcome) -> None:
        if not future.done():
            future.set_result(outcome)

    def run() -> None:
        outcome = work()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="notification", daemon=True).start()
    return future

"""The responder on Kafka: signed commands in, each carried out once, signed results out.

An offset is committed only when the result of its record is on the broker; actions taken before a
kill are in the journal. A command that waits for others is kept in the journal as well, so that the
partition continues.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import aiokafka
import msgspec
import orjson
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from agents.logs import Logger
from agents.ports import Record
from agents.response.config import ResponderConfig, unmet
from agents.response.durable import make_folder
from agents.response.journal import Answered, ResponseJournal
from agents.response.outcome import UNAVAILABLE, WORKING, CommandOutcome
from agents.response.responder import carry_out, preview
from schemas import dead_letters as reasons
from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.cloudevents import binary_headers, first_headers
from schemas.documents import openc2
from schemas.errors import TidewatchError, UnreadableRecordError
from schemas.incidents.commands import CommandSpec
from schemas.signing import REPLAY_WINDOW, InvalidSignatureError, SigningKey, verify_signature
from streams import metrics
from streams.apps.client_session import client_session
from streams.engine.health import Health
from streams.engine.offset_gaps import note_gap
from streams.kafka.client import client_options
from streams.kafka.dead_letters import dead_letter
from streams.kafka.records import record_of
from streams.kafka.signed_records import require_broker_time
from streams.kafka.topic_times import ensure_broker_time
from streams.kafka.topics import (
    ensure_topics,
    group_id,
    tenant_group_prefix,
    tenant_topic_name,
    topic_name,
)
from streams.settings import Settings

log = Logger()

APP: Final = "respond"
POLL_MS: Final = 500
RECONSIDER_SECONDS: Final = 15.0
"""How often waiting commands are checked if nothing else happened."""
MAX_ACTION_MS: Final = 6 * 3_600_000
"""How long a command may take before the broker reassigns its partition."""

READY_SECONDS: Final = 5.0
"""How often the folders are checked for read and write access."""
BEAT_SECONDS: Final = 0.5

MAX_TEXT: Final = 1000

Header = tuple[str, bytes]


class CommandRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An authentic command for a served tenant."""

    spec: CommandSpec
    stale: bool
    """Long expired, and therefore skipped."""


def command_topic(settings: Settings, config: ResponderConfig) -> str:
    """Return the topic that the responder reads."""
    if config.topics == "tenant":
        return tenant_topic_name(next(iter(config.tenants)), Channel.CONTAINMENT_COMMANDS)
    return topic_name(settings, Channel.CONTAINMENT_COMMANDS)


def responder_group(settings: Settings, config: ResponderConfig) -> str:
    """Return the responder's consumer group: its own, as its files are."""
    if config.topics == "tenant":
        return f"{tenant_group_prefix(next(iter(config.tenants)))}{APP}-{config.name}"
    return group_id(settings, f"{APP}-{config.name}")


def read_command_record(
    record: Record,
    config: ResponderConfig,
    ring: Mapping[str, bytes],
    now: datetime,
    max_bytes: int,
) -> CommandRecord | None:
    """Return the command of a record, None where its tenant is not served here.

    Args:
        record: The record on the broker.
        config: The tenants the responder serves.
        ring: Trusted public keys of commands, by key id.
        now: The responder's own time: an old signature is stale, whenever the record arrived.
        max_bytes: The largest accepted value.

    Raises:
        UnreadableRecordError: Forged, replayed, of another tenant than its record, or not a
            command.
    """
    headers = first_headers(record.headers)
    tenant = headers.get("ce_tenantid", b"").decode("utf-8", "replace")
    if tenant not in config.tenants:
        return None
    if record.value is None:
        raise UnreadableRecordError(reasons.NULL_VALUE, "the record has no value")
    if len(record.value) > max_bytes:
        raise UnreadableRecordError(reasons.TOO_LARGE, f"{len(record.value)} bytes")
    if headers.get("ce_type") != openc2.COMMAND_TYPE.encode():
        raise UnreadableRecordError(reasons.UNKNOWN_TYPE, "it is not a containment command")
    require_broker_time(record)
    try:
        verify_signature(record.headers, record.value, ring, timestamp_ms=record.timestamp_ms)
    except InvalidSignatureError as error:
        raise UnreadableRecordError(reasons.INVALID_SIGNATURE, error.what) from error
    try:
        spec = openc2.read_command(record.value)
    except openc2.InvalidCommandError as error:
        raise UnreadableRecordError(reasons.INVALID_EVENT, error.what) from error
    if spec.tenant != tenant:
        raise UnreadableRecordError(
            reasons.TENANT_MISMATCH, "the command names a tenant other than its record's"
        )
    made = msgspec.convert(headers["ce_time"].decode("ascii"), datetime)
    made = made if made.tzinfo else made.replace(tzinfo=UTC)
    return CommandRecord(spec=spec, stale=abs(now - made) > REPLAY_WINDOW)


def result_record(
    spec: CommandSpec, answered: Answered, key: SigningKey, responder: str
) -> tuple[bytes, bytes, list[Header]]:
    """Return key, value and headers of a signed result, the same for the same answer.

    Args:
        spec: The command.
        answered: Its outcome.
        key: The responder's signing key.
        responder: The responder's name.
    """
    outcome = answered.outcome
    text = outcome.status_text[:MAX_TEXT]
    document = openc2.response_document(spec, outcome.status, text, outcome.results)
    value = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    headers = binary_headers(
        id=stable_id("res", spec.command_id, str(spec.attempt), str(outcome.status)),
        type=openc2.RESULT_TYPE,
        source=f"//tidewatch/{APP}/{responder}",
        time=answered.at,
        tenant=spec.tenant,
        subject=spec.target,
        content_type=openc2.CONTENT_TYPE,
        correlation=spec.incident,
        causation=spec.command_id,
    )
    return spec.command_id.encode(), value, [*headers, key.sign(headers, value)]


@contextmanager
def sole_use(config: ResponderConfig) -> Iterator[None]:
    """Lock the state folder; the kernel releases the lock when the process ends.

    Raises:
        TidewatchError: Another responder runs with it.
    """
    make_folder(config.state_dir)
    path = config.state_dir / "lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise TidewatchError(
            "another responder runs with this state folder",
            where=str(config.state_dir),
            remedy="stop it, or give this one another name and state_dir",
        ) from error
    try:
        yield
    finally:
        os.close(handle)


def _unmet(config: ResponderConfig) -> list[str]:
    try:
        return unmet(config)
    except OSError as error:
        return [f"{error.filename} can't be read ({error.strerror})"]


class KafkaResponder:
    """Reads commands, carries them out, and publishes the results."""

    def __init__(
        self,
        settings: Settings,
        config: ResponderConfig,
        ring: Mapping[str, bytes],
        key: SigningKey,
        journal: ResponseJournal,
        *,
        show: Callable[[CommandSpec, CommandOutcome], None] | None = None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            settings: Which broker and topics.
            config: The tenants it serves.
            ring: Trusted keys of commands.
            key: The key that signs results.
            journal: Its earlier actions.
            show: For a dry run: receives each command and the planned action; nothing else happens.
        """
        self._settings = settings
        self._config = config
        self._ring = ring
        self._key = key
        self._journal = journal
        self._show = show
        metrics.GAPS.labels(APP)  # exported as 0 from the start, so that the first one is a rise
        self.health = Health(APP, watchdog_seconds=settings.watchdog_seconds)
        self._stopping = asyncio.Event()
        self._consumer: Any = None
        self._producer: Any = None

    async def run(self, *, once: bool = False) -> None:
        """Answer commands until asked to stop (SIGTERM, SIGINT).

        Args:
            once: End when all commands now on the topic are answered.

        Health and metrics are served meanwhile, unless it ends by itself or only shows.

        Raises:
            BrokerUnreachableError: No broker answers.
            TidewatchError: The port of health and metrics is taken.
        """
        topic = command_topic(self._settings, self._config)
        if self._config.topics == "operator":
            await ensure_topics(
                self._settings,
                channels=(
                    Channel.CONTAINMENT_COMMANDS,
                    Channel.CONTAINMENT_RESULTS,
                    Channel.DEAD_LETTER,
                    Channel.OPERATOR_ALERTS,
                ),
            )
            await ensure_broker_time(
                self._settings,
                channels=(Channel.CONTAINMENT_COMMANDS, Channel.CONTAINMENT_RESULTS),
            )
        options = client_options(self._settings)
        session = int(self._settings.session_seconds * 1000)
        # a dry run must not move the group's offsets
        group = None if self._show else responder_group(self._settings, self._config)
        self._consumer = aiokafka.AIOKafkaConsumer(
            **options,
            group_id=group,
            group_instance_id=self._config.name if group else None,
            enable_auto_commit=False,
            # a gap is reported before it is skipped
            auto_offset_reset="none" if group else "earliest",
            isolation_level="read_committed",
            session_timeout_ms=session,
            heartbeat_interval_ms=session // 3,
            max_poll_interval_ms=MAX_ACTION_MS,
        )
        self._producer = aiokafka.AIOKafkaProducer(**options, enable_idempotence=True)
        watched = not once and self._show is None
        async with client_session(
            self._settings,
            self._consumer,
            self._producer,
            self.health,
            self._stopping,
            watched=watched,
        ):
            watching = asyncio.ensure_future(self._watch()) if watched else None
            try:
                self._consumer.subscribe([topic])
                await self._consumer.start()
                log.info("responder-started", topic=topic, group=group)
                await self._serve(topic, once=once)
            finally:
                if watching is not None:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)

    async def _serve(self, topic: str, *, once: bool) -> None:
        ends = await self._ends(topic) if once else {}
        await self._reconsider()
        looked = time.monotonic()
        while not self._stopping.is_set():
            fetched = await self._fetch()
            for partition, records in fetched.items():
                for record in records:
                    if self._stopping.is_set():
                        return
                    await self._take(record)
                    if self._show is None:
                        await self._consumer.commit({partition: record.offset + 1})
            if fetched or time.monotonic() - looked > RECONSIDER_SECONDS:
                await self._reconsider()
                looked = time.monotonic()
            if once and not fetched and await self._read_up_to(ends):
                return

    async def _fetch(self) -> Mapping[Any, Sequence[Any]]:
        """Return the next records; none if a gap must be reported first."""
        try:
            fetched: Mapping[Any, Sequence[Any]] = await self._consumer.getmany(
                timeout_ms=POLL_MS, max_records=50
            )
        except NoOffsetForPartitionError as error:
            await self._begin(error.args[0], None)
        except OffsetOutOfRangeError as error:
            for partition, reached in error.args[0].items():
                await self._begin(partition, reached)
        else:
            return fetched
        return {}

    async def _begin(self, partition: Any, reached: int | None) -> None:  # noqa: ANN401 -- aiokafka's own, untyped
        """Continue with the oldest record, once the gap is reported.

        Args:
            partition: The topic and partition.
            reached: The offset it would have read next; None if no progress is stored.
        """
        begins = (await self._consumer.beginning_offsets([partition]))[partition]
        if reached is not None or begins > 0:
            group = responder_group(self._settings, self._config)
            message = note_gap(APP, group, partition, reached, begins)
            # a tenant may not write topics that only the operator reads
            if self._config.topics == "operator":
                await self._send(
                    topic_name(self._settings, message.channel),
                    message.key.encode(),
                    message.value,
                    message.headers,
                )
        if partition in self._consumer.assignment():
            self._consumer.seek(partition, begins)

    async def _watch(self) -> None:
        """Report that the loop is alive, and whether commands can be carried out.

        A command may take hours: the watchdog watches this loop, not its thread.
        """
        looked = 0.0
        while True:
            self.health.beat(0.0)
            now = time.monotonic()
            if now - looked >= READY_SECONDS or not self.health.ready:
                missing = await asyncio.to_thread(_unmet, self._config)
                if missing and self.health.ready:
                    log.error("responder-not-ready", missing=missing[:5])
                self.health.ready = not missing and bool(self._consumer.assignment())
                metrics.RESPONDER_HELD.set(self._journal.waiting())
                looked = now
            await asyncio.sleep(BEAT_SECONDS)

    async def _ends(self, topic: str) -> dict[Any, int]:
        partitions = self._consumer.partitions_for_topic(topic) or set()
        return dict(
            await self._consumer.end_offsets(
                [aiokafka.TopicPartition(topic, number) for number in sorted(partitions)]
            )
        )

    async def _read_up_to(self, ends: Mapping[Any, int]) -> bool:
        if set(self._consumer.assignment()) != set(ends):
            return False
        for partition, end in ends.items():
            try:
                async with asyncio.timeout(POLL_MS / 1000):
                    position = await self._consumer.position(partition)
            except TimeoutError:  # the first offset is not known yet
                return False
            if position < end:
                return False
        return True

    async def _take(self, raw: Any) -> None:  # noqa: ANN401 -- aiokafka's own, untyped
        """Answer one record durably, or write it to the dead letters."""
        record = record_of(raw)
        now = datetime.now(UTC)
        try:
            command = read_command_record(
                record, self._config, self._ring, now, self._settings.max_event_bytes
            )
        except UnreadableRecordError as error:
            await self._refuse(record, error)
            return
        if command is None:
            return
        spec = command.spec
        metrics.EVENTS_IN.labels(APP, Channel.CONTAINMENT_COMMANDS).inc()
        metrics.RESPONDER_LAST_COMMAND.set_to_current_time()
        if command.stale:
            metrics.RESPONDER_ANSWERS.labels(spec.action, "stale").inc()
            log.warning("command-stale", command=spec.command_id, tenant=spec.tenant)
            return
        if self._show is not None:
            outcome = await asyncio.to_thread(preview, spec, self._config, self._journal, now)
            self._show(spec, outcome)
            return
        answered = await self._carry_out(spec)
        if answered.outcome.status == WORKING and not self._journal.hold(
            spec.command_id, spec.attempt, record.value or b""
        ):
            full = CommandOutcome(status=UNAVAILABLE, status_text="too many commands wait already")
            answered = self._journal.finish(
                spec.command_id, spec.attempt, full, now, dry_run=spec.dry_run
            )
        await self._answer(spec, answered)

    async def _reconsider(self) -> None:
        """Carry out waiting commands that may proceed, repeatedly while one unblocks another."""
        if self._show is not None:
            return
        moved = True
        while moved and not self._stopping.is_set():
            moved = False
            for raw in self._journal.held():
                spec = openc2.read_command(raw)
                answered = await self._carry_out(spec)
                if answered.outcome.status != WORKING:
                    await self._answer(spec, answered)
                    self._journal.release(spec.command_id, spec.attempt)
                    moved = True

    async def _carry_out(self, spec: CommandSpec) -> Answered:
        # in a thread: large files take long, and the consumer must send heartbeats
        return await asyncio.to_thread(
            carry_out, spec, self._config, self._journal, datetime.now(UTC)
        )

    async def _answer(self, spec: CommandSpec, answered: Answered) -> None:
        key, value, headers = result_record(spec, answered, self._key, self._config.name)
        topic = self._config.results_topic or topic_name(
            self._settings, Channel.CONTAINMENT_RESULTS
        )
        await self._send(topic, key, value, headers)
        metrics.RESPONDER_ANSWERS.labels(spec.action, answered.outcome.word).inc()
        metrics.EVENTS_OUT.labels(APP, Channel.CONTAINMENT_RESULTS).inc()

    async def _refuse(self, record: Record, error: UnreadableRecordError) -> None:
        metrics.DEAD_LETTERS.labels(APP, Channel.CONTAINMENT_COMMANDS, error.reason).inc()
        log.warning(
            "command-refused",
            reason=error.reason,
            detail=error.error,
            partition=record.partition,
            offset=record.offset,
        )
        if self._show is not None or self._config.topics == "tenant":
            # a tenant may not write the operator's dead letters
            return
        letter = dead_letter(
            record,
            reason=error.reason,
            error=error.error,
            app=APP,
            limit=self._settings.max_event_bytes,
        )
        topic = topic_name(self._settings, Channel.DEAD_LETTER)
        await self._send(topic, letter.key, letter.value, letter.headers)

    async def _send(
        self, topic: str, key: bytes, value: bytes | None, headers: Sequence[Header]
    ) -> None:
        await self._producer.send_and_wait(topic, value=value, key=key, headers=list(headers))

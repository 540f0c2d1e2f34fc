"""The live view: follows the output topics, and measures rates and lag."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiokafka
import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.channels import Channel
from streams.kafka.awaiting import until_answered
from streams.kafka.client import client_options
from streams.kafka.lag import application_progress
from streams.kafka.topics import topic_name

if TYPE_CHECKING:
    from streams.settings import Settings

FOLLOWED: Final = (
    Channel.ALERTS,
    Channel.CONTAINMENT_COMMANDS,
    Channel.CONTAINMENT_PROPOSALS,
    Channel.IOCS,
    Channel.ASSESSMENTS,
    Channel.DEAD_LETTER,
)
_COMMANDS: Final = frozenset({Channel.CONTAINMENT_COMMANDS, Channel.CONTAINMENT_PROPOSALS})
IDLE_MS: Final = 5_000
"""How long the broker holds back the answer to a fetch while nothing arrives."""
SAMPLE_SECONDS: Final = 0.5
CALM_SAMPLE_SECONDS: Final = 10.0
"""How often progress is measured while nothing arrives and nothing is behind. Every event has an
assessment, which is followed, so that a change is measured at once."""
MAX_SHOWN: Final = 5_000
"""Alerts and commands kept for the view; older ones are dropped and counted."""

MAX_INDICATORS: Final = 200_000
"""Distinct indicators that are counted; the view counts no further."""


class _Record(Protocol):
    """The part of a consumed record that the view reads."""

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...


class _Metadata(msgspec.Struct, frozen=True):
    uid: str
    tenant_uid: str
    correlation_uid: str


class _FindingInfo(msgspec.Struct, frozen=True):
    title: str


class _Unmapped(msgspec.Struct, frozen=True):
    affected_systems: int


class _AlertDocument(msgspec.Struct, frozen=True):
    """The part of an alert that the view shows."""

    metadata: _Metadata
    severity: str
    risk_score: int
    finding_info: _FindingInfo
    status_detail: str
    unmapped: _Unmapped


_ALERTS: Final = msgspec.json.Decoder(_AlertDocument)


class _Extension(msgspec.Struct, frozen=True):
    tenant: str
    action: str
    target: str
    dry_run: bool = True


class _Arguments(msgspec.Struct, frozen=True):
    extension: _Extension = msgspec.field(name="x-tidewatch")


class _CommandDocument(msgspec.Struct, frozen=True):
    """The part of a command or proposal that the view shows."""

    command_id: str
    args: _Arguments


_COMMAND_DOCUMENTS: Final = msgspec.json.Decoder(_CommandDocument)


@dataclass
class LiveAlert:
    """One open or closed alert, as last published."""

    id: str
    tenant: str
    incident: str
    severity: str
    score: int
    title: str
    status: str
    systems: int
    updates: int
    first_shown: float
    """Seconds since the view began."""


@dataclass
class LiveCommand:
    """One containment command or proposal."""

    id: str
    tenant: str
    action: str
    target: str
    proposal: bool
    dry_run: bool


@dataclass
class View:
    """Everything the terminal shows."""

    alerts: dict[str, LiveAlert] = field(default_factory=dict)
    commands: dict[str, LiveCommand] = field(default_factory=dict)
    counts: dict[Channel, int] = field(default_factory=dict)
    indicators: set[bytes] = field(default_factory=set)
    dropped: int = 0
    """Older alerts and commands that are no longer kept."""
    unreadable: int = 0
    """Records that are not a document of their topic."""
    lag: dict[str, int] = field(default_factory=dict)
    """Records each app has not finished."""
    events: int = 0
    """Events in the input topics."""
    rate: float = 0.0
    """Events finished per second, over the last seconds."""
    arrived: str = ""
    """How an event arrived through a gateway, if it did."""
    console: str = ""
    """The console's sign-in link, or why it isn't served."""
    measured: bool = False
    """Whether the last try to measure the lag succeeded."""

    @property
    def settled(self) -> bool:
        """Whether there were events, and every app has finished all of its input."""
        return self.measured and self.events > 0 and not any(self.lag.values())


class TopicFollower:
    """Reads the output topics into a view, without a consumer group."""

    def __init__(
        self, settings: Settings, began: float | None = None, *, last: int | None = None
    ) -> None:
        """Follow the topics of `settings`; nothing is read before `run`.

        Args:
            settings: The broker and the topics.
            began: The monotonic time that alerts are timed from; now, if None.
            last: Begin so many records before the end of each partition; None: with the oldest.
        """
        self._last = last
        self.view = View()
        self._settings = settings
        self._began = time.monotonic() if began is None else began
        self._channels = {topic_name(settings, channel): channel for channel in FOLLOWED}
        self._finished: list[tuple[float, int]] = []
        self._arrived = asyncio.Event()
        """Set by each record that is read, and cleared by each measurement."""

    async def run(self) -> None:
        """Follow until cancelled."""
        client = aiokafka.AIOKafkaConsumer(
            *self._channels,
            **client_options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # a fetch is answered at the first record; this bounds how often an idle broker is asked
            fetch_max_wait_ms=IDLE_MS,
        )
        try:
            await self._start(client)
            if self._last is not None:
                ends = await client.end_offsets(client.assignment())
                starts = await client.beginning_offsets(client.assignment())
                for partition, end in ends.items():
                    client.seek(partition, max(starts[partition], end - self._last))
            while True:
                fetched = await client.getmany(timeout_ms=IDLE_MS)
                for records in fetched.values():
                    for record in records:
                        self.take(self._channels[record.topic], record)
        finally:
            # a client's task that is cancelled before it ran lets the cancellation out of stop()
            await asyncio.sleep(0)
            await client.stop()

    def take(self, channel: Channel, record: _Record) -> None:
        """Take one record of a topic into the view.

        A topic of the user's Kafka may have other writers: unknown records are counted and skipped.

        Args:
            channel: What the topic carries.
            record: The record, as the Kafka client gives it.
        """
        view = self.view
        self._arrived.set()
        view.counts[channel] = view.counts.get(channel, 0) + 1
        if channel is Channel.IOCS and record.key and len(view.indicators) < MAX_INDICATORS:
            view.indicators.add(record.key)
        if record.value is None:
            return
        try:
            if channel is Channel.ALERTS:
                self._take_alert(_ALERTS.decode(record.value))
            elif channel in _COMMANDS:
                command = _COMMAND_DOCUMENTS.decode(record.value)
                self._take_command(command, proposal=channel is Channel.CONTAINMENT_PROPOSALS)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            view.unreadable += 1

    def _take_command(self, command: _CommandDocument, *, proposal: bool) -> None:
        extension = command.args.extension
        self._keep(
            self.view.commands,
            command.command_id,
            LiveCommand(
                id=command.command_id,
                tenant=extension.tenant,
                action=extension.action,
                target=extension.target,
                proposal=proposal,
                dry_run=extension.dry_run,
            ),
        )

    def _take_alert(self, document: _AlertDocument) -> None:
        metadata = document.metadata
        known = self.view.alerts.get(metadata.uid)
        self._keep(
            self.view.alerts,
            metadata.uid,
            LiveAlert(
                id=metadata.uid,
                tenant=metadata.tenant_uid,
                incident=metadata.correlation_uid,
                # OCSF writes it with a capital letter; commands and events do not
                severity=document.severity.lower(),
                score=document.risk_score,
                title=document.finding_info.title,
                status=document.status_detail,
                systems=document.unmapped.affected_systems,
                updates=known.updates + 1 if known else 0,
                first_shown=known.first_shown if known else time.monotonic() - self._began,
            ),
        )

    def _keep(self, kept: dict[str, Any], key: str, value: object) -> None:
        if key not in kept and len(kept) >= MAX_SHOWN:
            del kept[next(iter(kept))]
            self.view.dropped += 1
        kept[key] = value

    async def sample(
        self, seconds: float = SAMPLE_SECONDS, *, calm_seconds: float | None = None
    ) -> None:
        """Measure lag and rate until cancelled.

        Args:
            seconds: How often.
            calm_seconds: How often while nothing arrives and nothing is behind; default: the same.
        """
        settings = self._settings
        admin = AIOKafkaAdminClient(**client_options(settings))
        reader = aiokafka.AIOKafkaConsumer(**client_options(settings))
        try:
            await self._start(admin, reader)
            while True:
                self._arrived.clear()
                try:
                    await self._measure(admin, reader)
                    self.view.measured = True
                except KafkaError:
                    # the broker starts, restarts or moves a coordinator: try again
                    self.view.measured = False
                await self._pause(seconds, calm_seconds)
        finally:
            await asyncio.sleep(0)
            await reader.stop()
            await admin.close()

    async def _start(self, *clients: aiokafka.AIOKafkaConsumer | AIOKafkaAdminClient) -> None:
        """Connect; wait for a broker that is busy, or away for a moment.

        Raises:
            BrokerUnreachableError: None answered for long.
        """
        for client in clients:
            await until_answered(client.start, self._settings, asyncio.Event())

    async def _pause(self, seconds: float, calm_seconds: float | None) -> None:
        """Wait until the next measurement."""
        await asyncio.sleep(seconds)
        view = self.view
        moves = any(view.lag.values()) or view.rate > 0 or not view.measured
        if calm_seconds is not None and not moves:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), calm_seconds - seconds)

    async def _measure(self, admin: AIOKafkaAdminClient, reader: aiokafka.AIOKafkaConsumer) -> None:
        view = self.view
        progress = await application_progress(self._settings, admin, reader)
        view.lag.update({name: application.lag for name, application in progress.items()})
        view.events = progress["checks"].written
        self._note(progress["checks"].finished)

    def _note(self, finished: int) -> None:
        now = time.monotonic()
        self._finished = [(at, n) for at, n in self._finished if now - at <= 5] + [  # noqa: PLR2004 -- seconds of the moving rate
            (now, finished)
        ]
        at, before = self._finished[0]
        self.view.rate = (finished - before) / (now - at) if now > at else 0.0

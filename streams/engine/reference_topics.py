"""Reference topics: compacted topics a worker reads whole before its first event, then follows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import aiokafka

from agents.logs import Logger
from schemas import dead_letters as reasons
from schemas.canonical import stable_hash
from schemas.channels import Channel
from schemas.errors import UnreadableRecordError
from streams import metrics
from streams.engine.crash import crash
from streams.kafka.client import client_options
from streams.kafka.dead_letters import dead_letter
from streams.kafka.publisher import delivering
from streams.kafka.records import record_of
from streams.kafka.topics import (
    TopicOrigin,
    existing_partitions,
    group_id,
    input_topics,
    topic_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agents.ports import Record
    from streams.settings import Settings

log = Logger()

LOAD_FETCH_MAX_WAIT_MS = 100
"""How long a fetch of an empty topic delays other requests to the broker."""
FOLLOW_FETCH_MAX_WAIT_MS = 5_000
"""The wait once it is loaded: there are no other requests, and the first record ends it."""
FOLLOW_READ_MS = 5_000
"""How long to wait for records, which end the wait."""
NOTED_SECONDS = 3_600.0
"""How often reported offsets are committed again: brokers drop idle groups' offsets in days."""
MAX_RECORDS = 2_000_000
"""The most live keys of one channel; more are refused and reported."""


class ReferenceTopic:
    """One compacted channel, fed to a callback in the order of the broker."""

    def __init__(
        self,
        channel: Channel,
        feed: Callable[[str, bytes | None], None],
        *,
        admit: Callable[[Record], None] | None = None,
        reporter: str | None = None,
        rules: str = "",
        max_records: int = MAX_RECORDS,
    ) -> None:
        """Feed each record of `channel` to `feed(key, value)`; a value of None withdraws the key.

        Args:
            channel: A compacted channel.
            feed: Takes key and value; must not raise for a value it can't read.
            admit: Raises `UnreadableRecordError` for a refused record: its key keeps the earlier
                value.
            reporter: The application that writes a dead letter for each such record, once; None if
                another one does.
            rules: A digest of what `admit` decides by: refusals under other rules are reported
                again.
            max_records: Most live keys to feed; further new keys are refused, and counted.
        """
        self._admit = admit
        self._reporter = reporter
        self._rules = rules
        self._reported: dict[aiokafka.TopicPartition, int] = {}
        """The offset of each partition up to which refused records have dead letters."""
        self._noted = 0.0
        self._origins: Mapping[str, TopicOrigin] = {}
        self._settings: Settings | None = None
        self.channel = channel
        self._feed = feed
        self._max = max_records
        self._keys: set[str] = set()
        self._client: aiokafka.AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def load(self, settings: Settings) -> None:
        """Read the channel to its end, then follow it in the background.

        Raises:
            KafkaError, OSError: A broker is unavailable; it can be called again.
        """
        self._settings = settings
        self._origins = input_topics(settings, self.channel)
        tps = await existing_partitions(settings, self._origins)
        client = aiokafka.AIOKafkaConsumer(
            **client_options(settings),
            group_id=self._group(settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=LOAD_FETCH_MAX_WAIT_MS,
            consumer_timeout_ms=FOLLOW_FETCH_MAX_WAIT_MS,
        )
        try:
            await client.start()
            client.assign(tps)
            await client.seek_to_beginning(*tps)
            ends = await client.end_offsets(tps)
            await self._recall(client, ends)
            remaining = {tp for tp, end in ends.items() if end > 0}
            while remaining:
                remaining = {tp for tp in remaining if await client.position(tp) < ends[tp]}
                if remaining:
                    await self._read(client, timeout_ms=200)
            await self._note(client)
        except BaseException:
            await client.stop()
            raise
        # pinned: aiokafka puts this into each fetch from now on
        client._fetcher._fetch_max_wait_ms = FOLLOW_FETCH_MAX_WAIT_MS  # noqa: SLF001
        self._client = client
        log.info("reference-loaded", channel=self.channel, records=len(self._keys))
        self._task = asyncio.create_task(self._follow(client))

    def _group(self, settings: Settings) -> str | None:
        """Return the group whose offsets record what was reported; None if this app doesn't report.

        It has no members. Its name includes the rules, since different rules refuse different
        records.
        """
        if self._reporter is None:
            return None
        bound = sorted(f"{name}={origin.tenant or ''}" for name, origin in self._origins.items())
        rules = stable_hash(self._rules, *bound)[:12]
        return group_id(settings, f"{self._reporter}-{self.channel}-refused-{rules}")

    async def _recall(
        self, client: aiokafka.AIOKafkaConsumer, ends: Mapping[aiokafka.TopicPartition, int]
    ) -> None:
        """Load the reported offsets, ignoring those of a recreated topic."""
        if self._reporter is None:
            return
        for tp, end in ends.items():
            offset = await client.committed(tp) or 0
            self._reported[tp] = offset if offset <= end else 0

    async def _note(self, client: aiokafka.AIOKafkaConsumer) -> None:
        """Commit that everything refused so far is reported; the broker drops it in time."""
        self._noted = time.monotonic()
        if self._reporter is None:
            return
        for tp in self._reported:
            self._reported[tp] = max(self._reported[tp], await client.position(tp))
        if self._reported:
            await client.commit(dict(self._reported))

    async def _follow(self, client: aiokafka.AIOKafkaConsumer) -> None:
        try:
            while True:
                await self._read(client, timeout_ms=FOLLOW_READ_MS)
                if time.monotonic() - self._noted > NOTED_SECONDS:
                    await self._note(client)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 -- stale reference data must not go unnoticed
            crash("reference-lost", error, channel=self.channel)

    async def _read(self, client: aiokafka.AIOKafkaConsumer, *, timeout_ms: int) -> None:
        refused: list[tuple[Record, UnreadableRecordError]] = []
        for records in (await client.getmany(timeout_ms=timeout_ms)).values():
            for raw in records:
                try:
                    self._require(raw)
                except UnreadableRecordError as error:
                    refused.append((record_of(raw), error))
                    continue
                self._take(raw.key, raw.value)
        if refused:
            await self._report(refused)
            await self._note(client)
        metrics.REFERENCE_RECORDS.labels(self.channel).set(len(self._keys))

    def _require(self, raw: Any) -> None:  # noqa: ANN401 -- aiokafka's record
        """Refuse a record of another tenant than its topic's, or that is not admitted."""
        tenant = self._origins[raw.topic].tenant
        if tenant is not None and raw.key != tenant.encode():
            raise UnreadableRecordError(
                reasons.TENANT_MISMATCH, f"the topic is bound to tenant {tenant}"
            )
        if self._admit is not None and raw.key is not None:
            self._admit(record_of(raw))

    async def _report(self, refused: Sequence[tuple[Record, UnreadableRecordError]]) -> None:
        """Log and count refusals, and write due dead letters if this app reports them."""
        settings = self._settings
        assert settings is not None, "it was loaded"
        for record, error in refused:
            metrics.REFERENCE_REFUSED.labels(self.channel).inc()
            log.warning(
                "reference-refused",
                channel=self.channel,
                key=(record.key or b"").decode("utf-8", "replace")[:200],
                reason=error.reason,
                error=error.error,
            )
        due = [
            (record, error)
            for record, error in refused
            if record.offset
            >= self._reported.get(aiokafka.TopicPartition(record.topic, record.partition), 0)
        ]
        if self._reporter is None or not due:
            return
        async with delivering(settings) as publisher:
            for record, error in due:
                letter = dead_letter(
                    record,
                    reason=error.reason,
                    error=error.error,
                    app=self._reporter,
                    limit=settings.max_event_bytes,
                )
                await publisher.put(
                    topic_name(settings, Channel.DEAD_LETTER),
                    letter.key,
                    letter.value,
                    letter.headers,
                )

    def _take(self, raw_key: bytes | None, value: bytes | None) -> None:
        if raw_key is None:
            return
        key = raw_key.decode("utf-8", "replace")
        if value is None:
            self._keys.discard(key)
        elif key not in self._keys:
            if len(self._keys) >= self._max:
                metrics.REFERENCE_REFUSED.labels(self.channel).inc()
                log.warning("reference-full", channel=self.channel, limit=self._max)
                return
            self._keys.add(key)
        self._feed(key, value)

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._client is not None:
            await self._client.stop()

"""Reference topics: compacted topics a worker reads whole before its first event, then follows."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiokafka
import structlog

from streams import metrics
from streams.engine.crash import crash
from streams.kafka.client import client_options
from streams.kafka.topics import existing_partitions, input_topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.channels import Channel
    from streams.settings import Settings

log = structlog.get_logger()

MAX_RECORDS = 2_000_000
"""Live keys held of one channel; more are refused and reported."""


class ReferenceTopic:
    """One compacted channel, fed to a callback in the order of the broker."""

    def __init__(
        self,
        channel: Channel,
        feed: Callable[[str, bytes | None], None],
        *,
        max_records: int = MAX_RECORDS,
    ) -> None:
        """Feed each record of `channel` to `feed(key, value)`; a value of None withdraws the key.

        Args:
            channel: A compacted channel.
            feed: Takes key and value; must not raise for a value it can't read.
            max_records: Most live keys to feed; further new keys are refused, and counted.
        """
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
        tps = await existing_partitions(settings, input_topics(settings, self.channel))
        client = aiokafka.AIOKafkaConsumer(
            **client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest"
        )
        try:
            await client.start()
            client.assign(tps)
            await client.seek_to_beginning(*tps)
            ends = await client.end_offsets(tps)
            remaining = {tp for tp, end in ends.items() if end > 0}
            while remaining:
                remaining = {tp for tp in remaining if await client.position(tp) < ends[tp]}
                if remaining:
                    await self._read(client, timeout_ms=200)
        except BaseException:
            await client.stop()
            raise
        self._client = client
        log.info("reference-loaded", channel=self.channel, records=len(self._keys))
        self._task = asyncio.create_task(self._follow(client))

    async def _follow(self, client: aiokafka.AIOKafkaConsumer) -> None:
        try:
            while True:
                await self._read(client, timeout_ms=1000)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 -- stale reference data must not go unnoticed
            crash("reference-lost", error, channel=self.channel)

    async def _read(self, client: aiokafka.AIOKafkaConsumer, *, timeout_ms: int) -> None:
        for records in (await client.getmany(timeout_ms=timeout_ms)).values():
            for record in records:
                self._take(record.key, record.value)
        metrics.REFERENCE_RECORDS.labels(self.channel).set(len(self._keys))

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

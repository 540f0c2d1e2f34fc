"""Tick records, the only source of processing time, so that a replay sees the same times."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from schemas.channels import Channel
from schemas.ledger import Tick
from streams import metrics
from streams.kafka.topics import topic_name

if TYPE_CHECKING:
    from streams.engine.host import Host

TICK_KEY = b"tick"
TICKED = (Channel.INCIDENT_UPDATES, Channel.OBSERVATIONS)


def tick_value(time_ms: int, partition: int) -> bytes:
    """Return a tick of `partition`; `time_ms` is milliseconds since the epoch."""
    return msgspec.json.encode(Tick(time_ms=time_ms, partition=partition))


class Ticker:
    """Writes a tick to each partition of the ticked channels that this worker reads."""

    def __init__(self, host: Host) -> None:
        """Keep the host; it says which partitions it reads."""
        self._host = host
        settings = host.tidewatch_settings
        self._topics = {topic_name(settings, channel) for channel in TICKED}
        self._seconds = settings.tick_seconds

    async def run(self) -> None:
        """Write ticks until cancelled; a tick that can't be delivered ends the worker."""
        while True:
            await asyncio.sleep(self._seconds)
            client = self._host.tidewatch_producer.client
            now = int(time.time() * 1000)
            sends = [
                await client.send(
                    tp.topic, tick_value(now, tp.partition), TICK_KEY, partition=tp.partition
                )
                for tp in sorted(self._host.flowing)
                if tp.topic in self._topics
            ]
            for send in sends:
                await send
            metrics.TICKS.labels(self._host.tidewatch_name).inc(len(sends))

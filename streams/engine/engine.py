"""The partition runners of one app, their shared parts, and the paused topics."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.errors import TidewatchError
from streams import metrics
from streams.engine.delivery import Shipper
from streams.engine.router import TopicRouter
from streams.engine.runner import PartitionRunner
from streams.kafka.client import client_options
from streams.kafka.dead_letters import Envelope, dead_letter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust.types import EventT

    from agents.ports import Record
    from streams.engine.binding import Binding
    from streams.engine.host import Host
    from streams.kafka.topics import Origin
    from streams.settings import Settings

log = structlog.get_logger()


class Engine:
    """The runners of one app, and their shared parts."""

    def __init__(self, host: Host, name: str, bindings: Sequence[Binding]) -> None:
        """Keep the host; runners are created as chunks arrive."""
        self._host = host
        self.name = name
        self.settings: Settings = host.tidewatch_settings
        self.origins: dict[str, Origin] = dict(host.origins)
        self.addresses = TopicRouter(self.settings)
        self.shipper = Shipper(lambda: host.tidewatch_producer.client)
        self.letter_limit = self.settings.max_event_bytes * 4
        self._bindings = {binding.name: binding for binding in bindings}
        self._runners: dict[tuple[str, int], PartitionRunner] = {}
        self._open = False
        self._paused: dict[str, float] = {}
        """Paused topics, and until when (monotonic)."""

    @property
    def group(self) -> str:
        """The consumer group of the app."""
        return self._host.group

    def open(self) -> None:
        """Accept chunks from now on: the assigned partitions are recovered."""
        self._open = True

    def submit(self, binding: Binding, event: EventT[Any]) -> None:
        """Give a chunk to its runner; one of a previous assignment is dropped."""
        if not self._open or event.message.generation_id != self._host.consumer_generation_id:
            return
        key = (binding.name, event.message.partition)
        runner = self._runners.get(key)
        if runner is None:
            runner = self._runners[key] = PartitionRunner(self, binding, event.message.partition)
        runner.submit(event)

    def acknowledge(self, done: Sequence[Any], upto: tuple[Any, int] | None) -> None:
        """Let the transport commit chunks when all before them are acknowledged too.

        Args:
            done: The transport's messages of whole chunks.
            upto: A message that is not done, and the offset up to which it is.
        """
        for message in done:
            message.ack(self._host.consumer)
        if upto is not None:
            self._host.tidewatch_consumer.progress(*upto)

    def hold(self, message: Any) -> None:  # noqa: ANN401 -- the transport's
        """Let the transport continue after a chunk that is acknowledged late."""
        self._host.tidewatch_consumer.hold(message)

    def is_paused(self, topic: str) -> bool:
        """Return whether a topic is paused."""
        return topic in self._paused

    def pause(self, topic: str) -> None:
        """Pause a topic for the time in the settings; chunks in flight are finished.

        Its further chunks are parked, so that the transport's window fills and fetching stops.
        """
        self._paused[topic] = time.monotonic() + self.settings.dead_letter_pause_seconds
        metrics.PAUSED.labels(self.name, topic).set(1)

    def resume_due(self) -> None:
        """Resume the topics whose pause is over."""
        now = time.monotonic()
        for topic in [topic for topic, until in self._paused.items() if until <= now]:
            del self._paused[topic]
            metrics.PAUSED.labels(self.name, topic).set(0)
            log.warning("topic-resumed", app=self.name, topic=topic)
            for runner in self._runners.values():
                runner.resume(topic)

    def letter(self, record: Record, reason: str, error: str) -> Envelope:
        """Return the dead letter of a record this app refused."""
        return dead_letter(
            record, reason=reason, error=error, app=self.name, limit=self.letter_limit
        )

    def store(self, binding: Binding, partition: int) -> Any:  # noqa: ANN401 -- PartitionStore
        """Return the store of a binding's partition, recovered before records flow."""
        return self._host.row_table(binding.name).data.partitions[partition]

    def changelog(self, binding: Binding) -> str:
        """Return the changelog topic of a binding's rows."""
        name: str = self._host.row_table(binding.name).changelog_topic.get_topic_name()
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
        """Stop the worker gracefully, with `error` as its reason."""
        self._host.stop_with(error)

    async def drain(self) -> None:
        """Finish or abandon all chunks within the drain time."""
        self._open = False
        runners, self._runners = list(self._runners.values()), {}
        if runners:
            await asyncio.gather(*(runner.close(self.settings.drain_seconds) for runner in runners))

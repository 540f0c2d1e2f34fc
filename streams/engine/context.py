"""The state that the partition runners of one app share, such as the paused topics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from agents.logs import Logger
from streams import metrics
from streams.engine.delivery import Shipper
from streams.engine.router import TopicRouter
from streams.kafka.dead_letters import Envelope, dead_letter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.ports import Record
    from schemas.errors import TidewatchError
    from streams.engine.binding import Binding
    from streams.engine.host import Host
    from streams.kafka.topics import TopicOrigin
    from streams.settings import Settings

log = Logger()


class RunnerContext:
    """The shared state of the partition runners of one app."""

    def __init__(self, host: Host, name: str) -> None:
        """Keep the host of an app of this name."""
        self._host = host
        self.name = name
        self.settings: Settings = host.tidewatch_settings
        self.origins: dict[str, TopicOrigin] = dict(host.origins)
        self.addresses = TopicRouter(self.settings)
        self.shipper = Shipper(lambda: host.tidewatch_producer.client)
        self.letter_limit = self.settings.max_event_bytes * 4
        self._paused: dict[str, float] = {}
        """Paused topics, and until when (monotonic)."""

    @property
    def group(self) -> str:
        """The consumer group of the app."""
        return self._host.group

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

    def end_due_pauses(self) -> list[str]:
        """Return the topics whose pause is over; they are paused no longer."""
        now = time.monotonic()
        due = [topic for topic, until in self._paused.items() if until <= now]
        for topic in due:
            del self._paused[topic]
            metrics.PAUSED.labels(self.name, topic).set(0)
            log.warning("topic-resumed", app=self.name, topic=topic)
        return due

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

    def stop_with(self, error: TidewatchError) -> None:
        """Stop the worker gracefully, with `error` as its reason."""
        self._host.stop_with(error)

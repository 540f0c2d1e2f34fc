"""Measures how many records each application has not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiokafka
import msgspec

from streams.apps.topology import APPLICATIONS
from streams.kafka.topics import group_id, input_topics

if TYPE_CHECKING:
    from streams.settings import Settings


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of an application."""

    written: int
    """Offsets that its topics have, all partitions together."""
    finished: int
    """Offsets that it committed."""
    lag: int
    """Records that it has not finished."""


async def application_progress(
    settings: Settings,
    admin: Any,  # noqa: ANN401 -- aiokafka's, untyped
    reader: aiokafka.AIOKafkaConsumer,
) -> dict[str, Progress]:
    """Return the progress of each application.

    Args:
        settings: The names of topics and groups.
        admin: A started admin client.
        reader: A started consumer.

    Raises:
        KafkaError: A broker does not answer.
    """
    found = {}
    for name, application in APPLICATIONS.items():
        partitions = [
            aiokafka.TopicPartition(topic, number)
            for channel in application.reads
            for topic in input_topics(settings, channel)
            for number in range(settings.partitions)
        ]
        ends = await reader.end_offsets(partitions)
        committed = await admin.list_consumer_group_offsets(group_id(settings, name))
        done = {tp: max(committed[tp].offset, 0) if tp in committed else 0 for tp in partitions}
        found[name] = Progress(
            written=sum(ends.values()),
            finished=sum(done.values()),
            lag=sum(max(ends[tp] - done[tp], 0) for tp in partitions),
        )
    return found

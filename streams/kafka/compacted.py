"""Reads and writes compacted topics from the command line.

Values that scans need without a broker are stored locally as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from schemas.channels import Channel
from streams.held import hold_values, update_held

if TYPE_CHECKING:
    from streams.settings import Settings

_PROGRESS_STEP = 1000


async def latest_values(settings: Settings, channel: Channel) -> dict[str, bytes]:
    """Return the latest value of each key of a channel; empty if its topic does not exist yet.

    Raises:
        BrokerUnreachableError: No broker answers.
    """
    from streams.kafka.reader import read_topic  # noqa: PLC0415 -- brings aiokafka
    from streams.kafka.topics import ensure_topics, topic_name  # noqa: PLC0415 -- the same

    await ensure_topics(settings, channels=[channel])
    values: dict[str, bytes] = {}
    records = read_topic(settings, topic_name(settings, channel), from_start=True, follow=False)
    async with aclosing(records):
        async for record in records:
            key = (record.key or b"").decode("utf-8", "replace")
            if record.value is None:
                values.pop(key, None)
            else:
                values[key] = record.value
    hold_values(settings.state_dir, channel, values)
    return values


async def publish_values(
    settings: Settings,
    channel: Channel,
    values: Iterable[tuple[str, bytes | None]],
    progress: Callable[[int], None] = lambda _count: None,
) -> int:
    """Deliver values (None: a tombstone) by key, and return how many.

    Args:
        settings: Which broker.
        channel: The compacted channel.
        values: Keys and values.
        progress: Called from time to time with the number of records sent.

    Raises:
        BrokerUnreachableError: No broker answers, or it refuses the records.
    """
    from streams.kafka.publisher import delivering  # noqa: PLC0415 -- checking a file needs no Kafka
    from streams.kafka.topics import ensure_topics, topic_name  # noqa: PLC0415 -- the same

    await ensure_topics(settings, channels=[channel])
    topic = topic_name(settings, channel)
    count = 0
    sent: dict[str, bytes | None] = {}
    async with delivering(settings) as publisher:
        for key, value in values:
            await publisher.put(topic, key.encode(), value)
            sent[key] = value
            count += 1
            if count % _PROGRESS_STEP == 0:
                progress(count)
    update_held(settings.state_dir, channel, sent)
    progress(count)
    return count


def keys_with(values: dict[str, bytes], prefix: str) -> Sequence[str]:
    """Return the keys that start with a text, sorted."""
    return sorted(key for key in values if key.startswith(prefix))

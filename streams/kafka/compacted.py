"""Reads and writes compacted topics from the command line.

Values that scans need without a broker are stored locally as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from schemas.channels import Channel
from schemas.errors import UnreadableRecordError
from streams.held import hold_values, update_held

if TYPE_CHECKING:
    from streams.settings import Settings

_PROGRESS_STEP = 1000


async def latest_values(settings: Settings, channel: Channel) -> dict[str, bytes]:
    """Return the latest value of each key of a channel; empty if its topic does not exist yet.

    Where signatures are required, records without an authorised one are ignored.

    Raises:
        BrokerUnreachableError: No broker answers.
        KeyFileError: The trusted keys can't be read.
    """
    from streams.kafka.reader import read_topic  # noqa: PLC0415 -- brings aiokafka
    from streams.kafka.topics import ensure_topics, topic_name  # noqa: PLC0415 -- the same

    await ensure_topics(settings, channels=[channel])
    values: dict[str, bytes] = {}
    admit = _admission(settings, channel)
    records = read_topic(settings, topic_name(settings, channel), from_start=True, follow=False)
    async with aclosing(records):
        async for record in records:
            if admit is not None and not admit(record):
                continue
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

    Policies and facts are signed if that is required.

    Raises:
        BrokerUnreachableError: No broker answers, or it refuses the records.
        KeyFileError: There is no key to sign with.
        NotAuthorisedError: The key may not publish them.
    """
    from streams.kafka.publisher import delivering  # noqa: PLC0415 -- checking a file needs no Kafka
    from streams.kafka.signed_records import PUBLICATIONS, publication_headers  # noqa: PLC0415
    from streams.kafka.topics import ensure_topics, topic_name  # noqa: PLC0415 -- the same

    signer = None
    if PUBLICATIONS.get(channel) in settings.signed_topics:
        from streams.signing_keys import load_signer  # noqa: PLC0415 -- only to sign

        signer = load_signer(settings.state_dir, settings.signing_key)
    await ensure_topics(settings, channels=[channel])
    topic = topic_name(settings, channel)
    count = 0
    sent: dict[str, bytes | None] = {}
    async with delivering(settings) as publisher:
        for key, value in values:
            headers = (
                publication_headers(channel, key, value, signer, datetime.now(UTC))
                if signer is not None
                else ()
            )
            await publisher.put(topic, key.encode(), value, headers)
            sent[key] = value
            count += 1
            if count % _PROGRESS_STEP == 0:
                progress(count)
    update_held(settings.state_dir, channel, sent)
    progress(count)
    return count


def _admission(settings: Settings, channel: Channel) -> Callable[[Any], bool] | None:
    """Return a predicate that admits records; None if every record is admitted."""
    from streams.kafka.records import record_of  # noqa: PLC0415 -- brings aiokafka
    from streams.kafka.signed_records import admission  # noqa: PLC0415 -- the same

    admit = admission(settings, channel)
    if admit is None:
        return None

    def counts(raw: Any) -> bool:  # noqa: ANN401 -- aiokafka's record
        try:
            admit(record_of(raw))
        except UnreadableRecordError:
            return False
        return True

    return counts


def keys_with(values: dict[str, bytes], prefix: str) -> Sequence[str]:
    """Return the keys that start with a text, sorted."""
    return sorted(key for key in values if key.startswith(prefix))

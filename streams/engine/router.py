"""Routes published messages to topics, and rejects those that are too large."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from schemas.channels import Channel
from streams import metrics
from streams.engine.delivery import Outgoing
from streams.kafka.topics import (
    ENVELOPE_BYTES,
    TENANT_CHANNELS,
    TOPICS,
    Direction,
    ensure_topics,
    tenant_slug,
    tenant_topic_name,
    topic_name,
)

if TYPE_CHECKING:
    from agents.ports import Message
    from streams.kafka.dead_letters import Envelope
    from streams.settings import Settings

ENTERED_HEADER: Final = "tw_entered"
"""On internal topics: when the event that led to the record entered Kafka, in milliseconds."""
CARRIES_ENTERED: Final = frozenset(
    channel for channel, spec in TOPICS.items() if spec.direction is Direction.INTERNAL
)
MAX_DIGITS: Final = 16
"""Bytes of a time in milliseconds."""
UTF8_BYTES: Final = 4
"""Most bytes of a character; and approximate framing of a header."""
_BESIDE: Final = ENVELOPE_BYTES // 2
"""Most bytes of key and headers."""


class TopicRouter:
    """Routes messages to topics, according to the settings."""

    def __init__(self, settings: Settings) -> None:
        """Resolve the operator's topics; tenants' topics are created on first use."""
        self._settings = settings
        self._names = {channel: topic_name(settings, channel) for channel in Channel}
        self._limits = {
            channel: settings.max_event_bytes * spec.size_factor for channel, spec in TOPICS.items()
        }
        self._tenants: set[str] = set()

    def too_large(self, message: Message) -> bool:
        """Return whether the broker would refuse `message` for its size."""
        limit = self._limits[message.channel]
        if message.value is not None and len(message.value) > limit:
            return True
        headers = message.headers
        beside = (len(message.key) + len(headers)) * UTF8_BYTES
        if headers:
            beside += sum(map(len, chain.from_iterable(headers)))
        return beside > _BESIDE

    async def address(
        self, message: Message, outgoing: list[Outgoing], entered_ms: int = 0
    ) -> None:
        """Add the records of `message` to `outgoing`.

        Args:
            message: The message.
            outgoing: Receives its records.
            entered_ms: When its cause entered Kafka; carried on internal topics.
        """
        record = self.record(message, entered_ms)
        outgoing.append(record)
        if (
            message.tenant is not None
            and self._settings.tenant_topics
            and message.channel in TENANT_CHANNELS
        ):
            tenant = tenant_slug(message.tenant)
            if await self._has_topics(tenant):
                own = tenant_topic_name(tenant, message.channel)
                outgoing.append(Outgoing(own, record.key, message.value, message.headers))

    def record(self, message: Message, entered_ms: int = 0) -> Outgoing:
        """Return the record of `message` for the operator's topic.

        Args:
            message: The message.
            entered_ms: When its cause entered Kafka; carried on internal topics.
        """
        channel = message.channel
        headers = message.headers
        if entered_ms and channel in CARRIES_ENTERED:
            headers = (*headers, _entered_header(entered_ms))
        key = message.key.encode("utf-8", "surrogatepass")
        return Outgoing(self._names[channel], key, message.value, headers)

    async def _has_topics(self, tenant: str) -> bool:
        """Create a tenant's own topics on first use, up to the limit of tenants.

        A producer that invents tenants must not flood the broker with topics; records beyond the
        limit remain on the operator's topic, and are counted.
        """
        if tenant in self._tenants:
            return True
        if len(self._tenants) >= self._settings.max_tenants:
            metrics.EVICTIONS.labels("tenant-topics").inc()
            return False
        await ensure_topics(self._settings, channels=(), tenants=(tenant,))
        self._tenants.add(tenant)
        return True

    def address_letter(self, letter: Envelope) -> Outgoing:
        """Return the record of a dead letter."""
        return Outgoing(self._names[Channel.DEAD_LETTER], letter.key, letter.value, letter.headers)


@lru_cache(256)
def _entered_header(at_ms: int) -> tuple[str, bytes]:
    """Return the header; the records of a chunk have few causes' times between them."""
    return ENTERED_HEADER, b"%d" % at_ms


def entered_ms(record: Any, *, internal: bool) -> int:  # noqa: ANN401 -- aiokafka's record
    """Return when the event that led to a record entered Kafka, milliseconds since the epoch.

    Only records of internal topics carry it from hop to hop; the header is ignored on records of
    producers.

    Args:
        record: The fetched record.
        internal: Whether only Tidewatch writes its topic.
    """
    if not internal:
        return int(record.timestamp)
    for name, value in record.headers:
        if name == ENTERED_HEADER and len(value) <= MAX_DIGITS and value.isdigit():
            return int(value)
    return 0

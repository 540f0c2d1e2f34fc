"""Says which topics what is published goes to, and what is too large for them."""

from __future__ import annotations

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
"""Of a time in milliseconds."""
UTF8_BYTES: Final = 4
"""That a character takes at most; and about what framing a header needs."""


class TopicRouter:
    """Says which topics a message goes to, as the settings have it."""

    def __init__(self, settings: Settings) -> None:
        """Know the operator's topics; tenants' own are made when first needed."""
        self._settings = settings
        self._names = {channel: topic_name(settings, channel) for channel in Channel}
        self._limits = {
            channel: settings.max_event_bytes * spec.size_factor for channel, spec in TOPICS.items()
        }
        self._tenants: set[str] = set()

    def too_large(self, message: Message) -> bool:
        """Say whether the broker would refuse `message` for its size."""
        limit = self._limits[message.channel]
        if len(message.value or b"") > limit:
            return True
        beside = len(message.key) * UTF8_BYTES
        for name, value in message.headers:
            beside += len(name) + len(value) + UTF8_BYTES
        return beside > ENVELOPE_BYTES // 2

    async def address(
        self, message: Message, outgoing: list[Outgoing], entered_ms: int = 0
    ) -> None:
        """Add the records of `message` to `outgoing`.

        Args:
            message: What is published.
            outgoing: Gets its records.
            entered_ms: When what it follows from entered Kafka; carried on internal topics.
        """
        key = message.key.encode("utf-8", "surrogatepass")
        channel = message.channel
        headers = message.headers
        if entered_ms and channel in CARRIES_ENTERED:
            headers = (*headers, (ENTERED_HEADER, b"%d" % entered_ms))
        outgoing.append(Outgoing(self._names[channel], key, message.value, headers))
        if (
            message.tenant is not None
            and self._settings.tenant_topics
            and channel in TENANT_CHANNELS
        ):
            tenant = tenant_slug(message.tenant)
            if await self._has_topics(tenant):
                own = tenant_topic_name(tenant, channel)
                outgoing.append(Outgoing(own, key, message.value, message.headers))

    async def _has_topics(self, tenant: str) -> bool:
        """Make a tenant's own topics when it is first met, for so many tenants as may have them.

        A producer that makes up tenants must not flood the broker with topics; what is left out is
        on the operator's topic all the same, and is counted.
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


def entered_ms(record: Any, *, internal: bool) -> int:  # noqa: ANN401 -- aiokafka's record
    """Return when the event that led to a record entered Kafka, milliseconds since the epoch.

    Only records of internal topics carry it from hop to hop; what a producer writes into such a
    header means nothing.

    Args:
        record: As it was fetched.
        internal: Whether its topic is written by Tidewatch alone.
    """
    if not internal:
        return int(record.timestamp)
    for name, value in record.headers:
        if name == ENTERED_HEADER and len(value) <= MAX_DIGITS and value.isdigit():
            return int(value)
    return 0

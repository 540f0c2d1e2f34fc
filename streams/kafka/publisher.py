"""Delivers the records of a command: all of them, or an error with a remedy."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiokafka
from aiokafka.errors import KafkaError

from streams.kafka.client import BrokerUnreachableError, client_options

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence

    from streams.settings import Settings


class RecordPublisher:
    """Sends records; `delivering` waits for them."""

    def __init__(self, producer: aiokafka.AIOKafkaProducer) -> None:
        """Send through `producer`, which is started."""
        self._producer = producer
        self.pending: list[asyncio.Future[object]] = []

    async def put(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Send a record, after earlier ones."""
        self.pending.append(
            await self._producer.send(topic, value=value, key=key, headers=list(headers))
        )


@asynccontextmanager
async def delivering(settings: Settings) -> AsyncIterator[RecordPublisher]:
    """Yield a publisher; on exit all its records are on the broker.

    Raises:
        BrokerUnreachableError: No broker answers, or it refuses the records.
    """
    producer = aiokafka.AIOKafkaProducer(
        **client_options(settings),
        enable_idempotence=True,
        compression_type="lz4",
        linger_ms=5,
        max_request_size=settings.max_event_bytes * 6,
    )
    try:
        await producer.start()
        publisher = RecordPublisher(producer)
        yield publisher
        for delivery in publisher.pending:
            await delivery
    except (KafkaError, OSError) as error:
        raise BrokerUnreachableError(
            "the records were not delivered",
            where=str(settings.kafka),
            remedy=f"check the broker, then run the command again ({error!r})",
        ) from error
    finally:
        await producer.stop()

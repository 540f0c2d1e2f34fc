"""Puts records straight into the producer's batches: one future for a batch, not for a record.

aiokafka's `send` spends a future, a coroutine, a murmur2 in plain Python and a round of serialisers
on each record, several times the work of checking an event. Here a chunk's records go to the batch
that is open for their partition in one sweep, and the chunk waits for the few batches they are in.
"""

from __future__ import annotations

import asyncio
import copy
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import ProducerClosed

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

MAX_BATCHES: Final = 32
"""The most full batches of a partition that wait for the broker before more records are added."""
DRAIN_SECONDS: Final = 60.0
TURN_RECORDS: Final = 2_000
"""Records after which the event loop gets a turn."""
KEYS_REMEMBERED: Final = 65_536
_MASK: Final = 0xFFFFFFFF
_MIX: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_WORD: Final = 4


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One outgoing record."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None
    """The partition; None: by the key."""


class BatchDelivery:
    """Records handed to the producer, and the batches they travel in."""

    __slots__ = ("_batches", "_places")

    def __init__(self) -> None:
        """Start with nothing sent."""
        self._batches: dict[asyncio.Future[Any], None] = {}
        self._places: list[tuple[asyncio.Future[Any], int]] = []

    def note(self, batch: asyncio.Future[Any], place: int) -> None:
        """Record the position of a record in its batch."""
        self._batches[batch] = None
        self._places.append((batch, place))

    def done(self) -> bool:
        """Return whether the broker has answered for every batch."""
        return all(batch.done() for batch in self._batches)

    async def delivered(self) -> None:
        """Wait until the broker has all records; raise the error of one that it did not accept."""
        for batch in self._batches:
            # Shielded: the producer still needs the future when the waiting task is cancelled.
            await asyncio.shield(batch)

    def offsets(self) -> list[int]:
        """Return the offset of each record in order; -1 if the broker gave none."""
        found = []
        for batch, index in self._places:
            base = batch.result().offset
            found.append(base + index if base >= 0 else -1)
        return found


@lru_cache(KEYS_REMEMBERED)
def key_hash(key: bytes) -> int:
    """Return the hash by which Kafka's own clients choose a key's partition.

    Source: murmur2 in org.apache.kafka.common.utils.Utils.
    """
    length = len(key)
    mixed = _SEED ^ length
    words = length // _WORD
    for word in struct.unpack_from(f"<{words}I", key):
        part = word * _MIX & _MASK
        part = (part ^ part >> 24) * _MIX & _MASK
        mixed = mixed * _MIX & _MASK ^ part
    rest = key[words * _WORD :]
    if rest:
        mixed = (mixed ^ int.from_bytes(rest, "little")) * _MIX & _MASK
    mixed = (mixed ^ mixed >> 13) * _MIX & _MASK
    return (mixed ^ mixed >> 15) & 0x7FFFFFFF


class Shipper:
    """Hands records to the app's producer."""

    def __init__(self, producer: Callable[[], AIOKafkaProducer]) -> None:
        """Keep the source of the producer, which may not be started yet."""
        self._producer = producer
        self._partitions: dict[str, tuple[TopicPartition, ...]] = {}

    async def ship(self, records: Iterable[Outgoing]) -> BatchDelivery:
        """Put records into batches in their order.

        Returns:
            A delivery that completes when the broker has them all.

        Raises:
            KafkaError: The producer can't accept more.
        """
        client = self._producer()
        accumulator = client._message_accumulator  # noqa: SLF001 -- pinned: see the module's words
        batch_delivery = BatchDelivery()
        now = int(time.time() * 1000)
        counted: set[str] = set()
        for number, record in enumerate(records):
            if number % TURN_RECORDS == TURN_RECORDS - 1:
                await asyncio.sleep(0)
            topic, key, partition = record.topic, record.key, record.partition
            if topic not in counted:
                counted.add(topic)
                await self._look_up(client, topic)
            tps = self._partitions[topic]
            tp = tps[key_hash(key) % len(tps) if partition is None else partition]
            while True:
                if accumulator._exception is not None:  # noqa: SLF001
                    raise copy.copy(accumulator._exception)  # noqa: SLF001
                if accumulator._closed:  # noqa: SLF001
                    raise ProducerClosed
                waiting = accumulator._batches.get(tp)  # noqa: SLF001
                if not waiting:
                    batch = accumulator._append_batch(accumulator.create_builder(), tp)  # noqa: SLF001
                else:
                    batch = waiting[-1]
                place = batch._builder.append(  # noqa: SLF001
                    timestamp=now, key=key, value=record.value, headers=list(record.headers)
                )
                if place is not None:
                    batch_delivery.note(batch.future, place.offset)
                    break
                if len(waiting or ()) >= MAX_BATCHES:
                    await waiting[0].wait_drain(DRAIN_SECONDS)
                else:
                    accumulator._append_batch(accumulator.create_builder(), tp)  # noqa: SLF001
        return batch_delivery

    async def _look_up(self, client: AIOKafkaProducer, topic: str) -> None:
        """Fetch the topic's partitions; the count is from the producer's latest metadata."""
        count = len(await client.partitions_for(topic))
        if len(self._partitions.get(topic, ())) != count:
            self._partitions[topic] = tuple(TopicPartition(topic, n) for n in range(count))

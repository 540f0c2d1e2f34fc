"""The binding of an agent: its channels, decoder, rows and instrumentation."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from agents.measures import Measure
from agents.ports import Delivery, Message, Record
from schemas.channels import Channel
from schemas.errors import TidewatchError
from streams.kafka.topics import TopicOrigin

Decode = Callable[[Record, TopicOrigin], Any]
"""Decodes a record of a topic; raises UnreadableRecordError."""
Agent = Callable[..., Awaitable[None]]
"""`async def agent(batch, publish)`, or `(batch, publish, rows)` for a binding with rows."""

SLOW_CHUNK_RECORDS = 16
SLOW_WINDOW_CHUNKS = 1


@dataclass(frozen=True, kw_only=True)
class Binding:
    """An agent, the channels it reads, and whether it keeps rows."""

    name: str
    """A short name, unique in the app; also the name of the rows' table."""
    channels: tuple[Channel, ...]
    """Read together: chunks of one partition number run one after another."""
    agent: Agent
    decode: Decode
    rows: bool = False
    slow: bool = False
    """Its chunks may take many minutes: small chunks, one at a time, never a rebalance."""
    refused: Callable[[Record], Message] | None = None
    """Builds the notice of a record that became a dead letter, unreadable or refused."""
    count: Callable[[Measure, int], None] = lambda _measure, _entered_ms: None
    """Counts a delivered message for the metrics; takes the time its cause entered Kafka."""


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive readable records of one partition. Implements `agents.ports.Batch`."""

    topic: str
    partition: int
    deliveries: Sequence[Delivery[Any]]


def check_agent(binding: Binding) -> None:
    """Refuse a binding whose agent has the wrong signature.

    Raises:
        TidewatchError: It is not a coroutine function of (batch, publish[, rows]).
    """
    wanted = 3 if binding.rows else 2
    takes = len(inspect.signature(binding.agent).parameters)
    if not inspect.iscoroutinefunction(binding.agent) or takes != wanted:
        raise TidewatchError(
            f"agent of binding {binding.name} must be async and take {wanted} arguments",
            where=getattr(binding.agent, "__qualname__", repr(binding.agent)),
            remedy="async def agent(batch, publish) or, with rows, (batch, publish, rows)",
        )

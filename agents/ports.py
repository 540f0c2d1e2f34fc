"""The protocols between agents and the engine: records, messages, rows. No Kafka here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

from agents.measures import Measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from schemas.channels import Channel

Headers = tuple[tuple[str, bytes], ...]


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record as the broker holds it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """The record's timestamp, milliseconds since the epoch."""
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    entered_ms: int = 0
    """When the event or fact that led to it entered Kafka, milliseconds since the epoch; its own
    timestamp for external records, 0 if time alone led to it.
    """
    appended: bool = False
    """Whether the broker set the timestamp when it appended the record (`LogAppendTime`); else its
    producer chose it, and nothing depends on it.
    """


T = TypeVar("T")


class Delivery(msgspec.Struct, Generic[T], frozen=True, kw_only=True, gc=False):
    """A record and its decoded value."""

    record: Record
    value: T


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record to be written: which channel, under which key, with which value."""

    channel: Channel
    key: str
    value: bytes | None
    headers: Headers = ()
    tenant: str | None = None
    """The tenant whose own topic also gets it, when tenant topics are on."""
    measure: Measure | None = None
    """The measure that metrics count once it is delivered."""


class Publish(Protocol):
    """Takes messages; the engine delivers them before the batch is acknowledged."""

    def __call__(self, message: Message) -> None:
        """Enqueue `message` for delivery with this batch."""

    def caused_by(self, entered_ms: int) -> None:
        """Set the cause of the messages from here on.

        Args:
            entered_ms: `Record.entered_ms` of it; 0 if time alone led to them.
        """

    def refuse(self, record: Record, reason: str, error: str) -> None:
        """Send `record` to the dead letters with this batch: that is its outcome.

        Args:
            record: As it was delivered.
            reason: One of the constants of `schemas.dead_letters`.
            error: The detail, without the record's content.
        """

    def on_abandoned(self, undo: Callable[[], None]) -> None:
        """Call `undo` if nothing of this batch is delivered: its records will come again.

        An agent's memory of its messages is valid only once they are sent.
        """


class Rows(Protocol):
    """The state of one partition: small rows by key, in key order.

    Writes are seen at once by later reads of the same batch, and become durable with it: one
    changelog write per row and batch, however often the row was put.
    """

    def get(self, key: str) -> bytes | None:
        """Return the row, or None."""

    def put(self, key: str, value: bytes) -> None:
        """Set the row."""

    def delete(self, key: str) -> None:
        """Remove the row."""

    def scan(self, prefix: str, *, limit: int, after: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield at most `limit` rows whose key starts with `prefix`, in key order.

        Args:
            prefix: The prefix.
            limit: At most so many.
            after: Only those whose key is greater.
        """


class Batch(Protocol[T]):
    """Consecutive readable records of one partition."""

    @property
    def partition(self) -> int:
        """The partition all records are from."""

    @property
    def deliveries(self) -> Sequence[Delivery[T]]:
        """The records that could be read, in offset order."""

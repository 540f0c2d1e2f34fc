"""Collects the messages of an agent for a chunk, up to the limit of one delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.errors import TidewatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.ports import Message, Record

MAX_OUTBOX = 200_000
"""The most messages that one record may cause."""
MAX_OUTBOX_BYTES = 256 * 1024 * 1024
"""The most bytes of these messages."""
PART_MESSAGES = 20_000
"""Messages of several records taken together; beyond it, fewer records are taken."""
PART_BYTES = 32 * 1024 * 1024
"""Bytes of those messages."""
TOO_MANY: Final = (
    f"more than {MAX_OUTBOX} messages, or {MAX_OUTBOX_BYTES} bytes of them, follow from it"
)


class OutboxFullError(TidewatchError):
    """An agent published more than one delivery takes; it is run again on fewer records."""


class Outbox:
    """Collects the messages of an agent. Implements `agents.ports.Publish`."""

    def __init__(self, messages: int = MAX_OUTBOX, size: int = MAX_OUTBOX_BYTES) -> None:
        """Start empty, with limits on messages and bytes."""
        self.messages: list[Message] = []
        self.entered: list[int] = []
        """For each message, when its cause entered Kafka."""
        self._entered = 0
        self.refused: list[tuple[Record, str, str]] = []
        self.full = False
        self._limit = messages
        self._size = self._room = size
        self._undo: list[Callable[[], None]] = []

    def __call__(self, message: Message) -> None:
        """Take `message` for delivery with this chunk.

        Raises:
            OutboxFullError: The chunk published more than one delivery takes.
        """
        self._room -= len(message.value or b"")
        if len(self.messages) >= self._limit or self._room < 0:
            self.full = True
            raise OutboxFullError(
                f"an agent published more than {len(self.messages)} messages for one chunk",
                where=message.channel.value,
                remedy="bound the fan-out of the agent",
            )
        self.messages.append(message)
        self.entered.append(self._entered)

    def caused_by(self, entered_ms: int) -> None:
        """Set the cause of the messages from here on."""
        self._entered = entered_ms

    def filled(self) -> float:
        """Return the share of the limits that is in use."""
        return max(len(self.messages) / PART_MESSAGES, (self._size - self._room) / PART_BYTES)

    def refuse(self, record: Record, reason: str, error: str) -> None:
        """Take `record` for the dead letters with this chunk."""
        self.refused.append((record, reason, error))

    def on_abandoned(self, undo: Callable[[], None]) -> None:
        """Register a function to call if nothing of this chunk is delivered."""
        self._undo.append(undo)

    def abandon(self) -> None:
        """Undo what the agent recorded for messages that are not delivered."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def shipped(self) -> None:
        """Drop the undo functions: the messages are being delivered, or the process ends."""
        self._undo.clear()

"""Collects what an agent publishes for a chunk, up to what is delivered at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.errors import TidewatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.ports import Message, Record

MAX_OUTBOX = 200_000
"""Messages that may follow from one record."""
MAX_OUTBOX_BYTES = 256 * 1024 * 1024
"""Of the messages that may follow from one record."""
PART_MESSAGES = 20_000
"""That may follow from several records that are taken together; where more do, fewer are taken."""
PART_BYTES = 32 * 1024 * 1024
"""Of those messages."""
TOO_MANY: Final = (
    f"more than {MAX_OUTBOX} messages, or {MAX_OUTBOX_BYTES} bytes of them, follow from it"
)


class OutboxFullError(TidewatchError):
    """An agent published more than is delivered at once; it is asked again for fewer records."""


class Outbox:
    """Collects what an agent publishes. Implements `agents.ports.Publish`."""

    def __init__(self, messages: int = MAX_OUTBOX, size: int = MAX_OUTBOX_BYTES) -> None:
        """Start empty, with room for so many messages and bytes."""
        self.messages: list[Message] = []
        self.refused: list[tuple[Record, str, str]] = []
        self.full = False
        self._limit = messages
        self._size = self._room = size
        self._undo: list[Callable[[], None]] = []

    def __call__(self, message: Message) -> None:
        """Take `message` for delivery with this chunk.

        Raises:
            OutboxFullError: The chunk published more than is delivered at once.
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

    def filled(self) -> float:
        """Return which share is taken of the room that several records have together."""
        return max(len(self.messages) / PART_MESSAGES, (self._size - self._room) / PART_BYTES)

    def refuse(self, record: Record, reason: str, error: str) -> None:
        """Take `record` for the dead letters with this chunk."""
        self.refused.append((record, reason, error))

    def on_abandoned(self, undo: Callable[[], None]) -> None:
        """Take what is to be called if nothing of this chunk goes out."""
        self._undo.append(undo)

    def abandon(self) -> None:
        """Undo what the agent noted on account of what does not go out."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def shipped(self) -> None:
        """Forget how to undo: what was published is on its way, or the process ends."""
        self._undo.clear()

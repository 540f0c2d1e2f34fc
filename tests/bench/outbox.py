"""Keeps what an agent publishes, for measurements without a broker."""

from __future__ import annotations

from collections.abc import Callable

from agents.ports import Message, Record


class Outbox:
    """The `publish` of an agent: no record may be refused."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, message: Message) -> None:
        self.messages.append(message)

    def refuse(self, record: Record, reason: str, error: str) -> None:
        raise AssertionError(f"{record.topic} {record.offset}: {reason} {error}")

    def on_abandoned(self, undo: Callable[[], None]) -> None:
        """Nothing is abandoned here."""

    def caused_by(self, entered_ms: int) -> None:
        """Nothing is measured here."""

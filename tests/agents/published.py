"""A `Publish` that hands every message on, for agents and logic under test."""

from __future__ import annotations

from collections.abc import Callable

from agents.ports import Message, Record


class Publishing:
    """Hands messages to a function; refuses nothing by default. Implements `Publish`."""

    def __init__(self, take: Callable[[Message], object]) -> None:
        self._take = take
        self.entered_ms = 0
        """What the latest message follows from."""

    def __call__(self, message: Message) -> None:
        self._take(message)

    def caused_by(self, entered_ms: int) -> None:
        self.entered_ms = entered_ms

    def refuse(self, record: Record, reason: str, error: str) -> None:
        raise AssertionError((record, reason, error))

    def on_abandoned(self, undo: Callable[[], None]) -> None:
        """Nothing is abandoned here."""

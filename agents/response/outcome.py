"""Outcomes of commands: an OpenC2 status, a sentence and results."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.errors import TidewatchError

WORKING: Final = 102
OK: Final = 200
BAD: Final = 400
"""The command can't be carried out: malformed, expired, or overtaken by other changes."""
REFUSED: Final = 403
ABSENT: Final = 404
FAILED: Final = 500
UNSUPPORTED: Final = 501
UNAVAILABLE: Final = 503


class CommandOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one command."""

    status: int
    status_text: str
    results: dict[str, Any] = {}

    @property
    def succeeded(self) -> bool:
        """Whether the command was carried out."""
        return self.status == OK

    @property
    def word(self) -> str:
        """The state in a word: done, waiting, refused or failed."""
        if self.status in {OK, WORKING}:
            return "done" if self.succeeded else "waiting"
        return "failed" if self.status in {FAILED, UNAVAILABLE} else "refused"


class NotCarriedOutError(TidewatchError):
    """A command that was refused or failed.

    Args:
        status: The OpenC2 status to answer with.
        what: What went wrong.
        where: The path, URL or component.
        remedy: How to fix it.
    """

    def __init__(self, status: int, what: str, *, where: str = "", remedy: str = "") -> None:
        """Keep the status with the error."""
        self.status = status
        super().__init__(what, where=where, remedy=remedy)

    def outcome(self) -> CommandOutcome:
        """Return the error as an outcome."""
        return CommandOutcome(status=self.status, status_text=self.explain())

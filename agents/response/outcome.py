"""What a responder answers: an OpenC2 status, a sentence and results."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.errors import TidewatchError

WORKING: Final = 102
OK: Final = 200
BAD: Final = 400
"""The command can't be carried out as it is: malformed, expired, or the world has changed."""
REFUSED: Final = 403
ABSENT: Final = 404
FAILED: Final = 500
UNSUPPORTED: Final = 501
UNAVAILABLE: Final = 503


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one command."""

    status: int
    status_text: str
    results: dict[str, Any] = {}

    @property
    def succeeded(self) -> bool:
        """Whether it was carried out."""
        return self.status == OK

    @property
    def word(self) -> str:
        """What became of it: done, waiting, refused (it may not be, or not here) or failed."""
        if self.status in {OK, WORKING}:
            return "done" if self.succeeded else "waiting"
        return "failed" if self.status in {FAILED, UNAVAILABLE} else "refused"


class NotCarriedOutError(TidewatchError):
    """A command that is refused or failed, with the status it is answered with.

    Args:
        status: OpenC2's status.
        what: In a sentence.
        where: The place.
        remedy: What the reader can do.
    """

    def __init__(self, status: int, what: str, *, where: str = "", remedy: str = "") -> None:
        """Keep the status beside the sentence."""
        self.status = status
        super().__init__(what, where=where, remedy=remedy)

    def outcome(self) -> Outcome:
        """Return the answer."""
        return Outcome(status=self.status, status_text=self.explain())

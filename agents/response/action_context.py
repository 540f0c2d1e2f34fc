"""What an action is given: the command, the time it was begun, and a memory for its steps."""

from __future__ import annotations

from datetime import datetime

import msgspec

from agents.response.config import Site
from agents.response.journal import Journal
from schemas.incidents.commands import CommandSpec


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One command being carried out."""

    spec: CommandSpec
    site: Site
    journal: Journal
    responder: str
    begun: datetime
    """When it was first begun: the same on every repetition."""

    def note(self, name: str) -> str | None:
        """Return what an earlier run of this command noted."""
        return self.journal.note(self.spec.command_id, name)

    def keep(self, name: str, value: str) -> str:
        """Note something before acting on it; the first value stays."""
        return self.journal.keep(self.spec.command_id, name, value, self.begun)

    def noted_by(self, command_id: str, name: str) -> str | None:
        """Return what another command noted: one that this takes back or replaces."""
        return self.journal.note(command_id, name)

    def before(self, now: str) -> str:
        """Return what is pointed to now, or was before the rollback whose place this one takes."""
        replaced = self.spec.replaces
        if replaced is None or now != self.noted_by(replaced, "target"):
            return now
        return self.noted_by(replaced, "previous") or now

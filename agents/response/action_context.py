"""The context of an action: its command, its start time, and durable notes of its steps."""

from __future__ import annotations

from datetime import datetime

import msgspec

from agents.response.config import Site
from agents.response.journal import ResponseJournal
from schemas.incidents.commands import CommandSpec


class ActionContext(msgspec.Struct, frozen=True, kw_only=True):
    """A command that is being carried out."""

    spec: CommandSpec
    site: Site
    journal: ResponseJournal
    responder: str
    begun: datetime
    """When the command first started: the same on every repetition."""

    def note(self, name: str) -> str | None:
        """Return the note that an earlier run of this command kept."""
        return self.journal.note(self.spec.command_id, name)

    def keep(self, name: str, value: str) -> str:
        """Keep a note before acting on it; the first value stays. Return the value kept."""
        return self.journal.keep(self.spec.command_id, name, value, self.begun)

    def noted_by(self, command_id: str, name: str) -> str | None:
        """Return the note of another command, which this one undoes or replaces."""
        return self.journal.note(command_id, name)

    def before(self, now: str) -> str:
        """Return `now`, or the value before the rollback that this command replaces."""
        replaced = self.spec.replaces
        if replaced is None or now != self.noted_by(replaced, "target"):
            return now
        return self.noted_by(replaced, "previous") or now

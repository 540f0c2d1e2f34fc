"""The protocol by which views of incidents become records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from agents.ports import Message
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.holds import HoldView
from schemas.incidents.views import AlertView, IncidentDocument


class Documents(Protocol):
    """Makes records out of views: the standards' documents, or the views themselves."""

    def alert(self, view: AlertView, at_ms: int) -> Iterable[Message]:
        """Return the records of a tenant's alert; `at_ms` is the broker's time that led to it."""

    def incident(self, document: IncidentDocument, at_ms: int) -> Iterable[Message]:
        """Return the records of the operator's document."""

    def command(self, spec: CommandSpec, at_ms: int, *, proposal: bool) -> Iterable[Message]:
        """Return the records of a command, or of a proposal, which isn't carried out."""

    def audit(self, view: CommandView, at_ms: int) -> Iterable[Message]:
        """Return the audit records of a result, answered at `at_ms`."""

    def hold(self, view: HoldView, at_ms: int) -> Iterable[Message]:
        """Return the record of all holds of a component."""

"""Runs the ledger alone over rows in memory and returns what it puts out."""

from __future__ import annotations

from typing import Any

import msgspec

from agents.ports import Delivery, Message, Record
from agents.triage.ledger.core import process
from schemas.channels import Channel
from schemas.incidents.updates import IncidentMessage
from schemas.intel import IntelFact
from schemas.ledger import FactChange, LedgerMessage
from tests.agents.published import Publishing
from tests.agents.triage.flow import START
from tests.agents.triage.memory_rows import MemoryRows

START_MS = int(START.timestamp() * 1000)
_LEDGER = msgspec.json.Decoder(LedgerMessage)
_INCIDENT = msgspec.json.Decoder(IncidentMessage)


def take(rows: MemoryRows, *values: Any, key: str = "k", offset: int = 0) -> list[Message]:
    """Take the values as one chunk; facts arrive under `key`."""
    out: list[Message] = []
    deliveries = [
        Delivery(
            record=Record(
                topic="t",
                partition=0,
                offset=offset + number,
                timestamp_ms=START_MS,
                key=key.encode(),
                value=b"",
            ),
            value=value,
        )
        for number, value in enumerate(values)
    ]
    process(deliveries, Publishing(out.append), rows)
    return out


class Ledger:
    """One partition of the ledger; it also processes the messages that it sends to itself."""

    def __init__(self) -> None:
        self.rows = MemoryRows()
        self.reported_incidents: list[Any] = []
        self.sent: list[Message] = []
        self._offset = 0

    def take(self, *values: Any, batch: int = 100) -> None:
        """Take values, and what follows from them, in chunks."""
        waiting = list(values)
        while waiting:
            chunk, waiting = waiting[:batch], waiting[batch:]
            self._offset += len(chunk)
            for message in take(self.rows, *chunk, offset=self._offset):
                self.sent.append(message)
                value = message.value or b""
                if message.channel is Channel.OBSERVATIONS:
                    waiting.append(_LEDGER.decode(value))
                elif message.channel is Channel.INCIDENT_UPDATES:
                    self.reported_incidents.append(_INCIDENT.decode(value))

    def fact(self, fact: IntelFact) -> None:
        """Learn a fact under its own key."""
        self.take(self.change(fact.key, fact.key, fact))

    def change(self, key: str, fact_key: str, fact: IntelFact | None) -> FactChange:
        """Return a change of a fact about `key`; each is of a later time than those made before."""
        self._offset += 1
        revision = (START_MS + self._offset, self._offset)
        return FactChange(key=key, fact_key=fact_key, fact=fact, revision=revision)

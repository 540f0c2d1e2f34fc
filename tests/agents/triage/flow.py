"""A synchronous run of ledger and incidents in memory: messages are routed until none is left.

Start with sightings and findings (what the checks would send), intel facts, decisions, results and
ticks; look at `alerts`, `incidents`, `commands`, `proposals`, `iocs`, `assessments`, `operator`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from agents.domain.knowledge import MemoryKnowledge
from agents.domain.organisations import Register
from agents.ports import Delivery, Message, Record
from agents.triage.incidents.core import Incidents
from agents.triage.ledger.batch import LedgerOptions
from agents.triage.ledger.core import process
from agents.triage.routing import (
    finding_messages,
    incident_message,
    ledger_message,
    sighting_message,
    withheld_messages,
)
from schemas.channels import Channel
from schemas.decisions import Decision
from schemas.findings import Finding, SupplyChainIoC
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.holds import HoldView, hold_key
from schemas.incidents.updates import IncidentMessage, ResultUpdate
from schemas.incidents.views import AlertView, IncidentDocument
from schemas.intel import IntelFact
from schemas.ledger import LedgerMessage, OperatorAlert, Tick
from schemas.observations import Sighting
from schemas.policy import Policy
from tests.agents.published import Publishing
from tests.agents.triage.memory_rows import MemoryRows

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
PARTITIONS = 4
MOST_ROUNDS = 400
"""Chunks that follow from one input, far beyond the steps of any propagation."""
_LEDGER = msgspec.json.Decoder(LedgerMessage)
_INCIDENT = msgspec.json.Decoder(IncidentMessage)


def at(minutes: float = 0.0) -> datetime:
    """Return a moment of the story, in minutes from its start."""
    return START + timedelta(minutes=minutes)


class PlainDocuments:
    """The views themselves, as JSON."""

    def alert(self, view: AlertView, at_ms: int) -> Iterable[Message]:
        """Return the view as it is."""
        del at_ms
        yield Message(
            channel=Channel.ALERTS,
            key=f"{view.incident}|{view.tenant}",
            value=msgspec.json.encode(view),
            tenant=view.tenant,
        )

    def incident(self, document: IncidentDocument, at_ms: int) -> Iterable[Message]:
        """Return the document as it is."""
        del at_ms
        yield Message(
            channel=Channel.INCIDENTS, key=document.id, value=msgspec.json.encode(document)
        )

    def command(self, spec: CommandSpec, at_ms: int, *, proposal: bool) -> Iterable[Message]:
        """Return the command as it is."""
        del at_ms
        channel = Channel.CONTAINMENT_PROPOSALS if proposal else Channel.CONTAINMENT_COMMANDS
        yield Message(
            channel=channel,
            key=hold_key(spec.tenant, spec.hold) if spec.hold else f"{spec.incident}|{spec.tenant}",
            value=msgspec.json.encode(spec),
            tenant=spec.tenant,
        )

    def hold(self, view: HoldView, at_ms: int) -> Iterable[Message]:
        """Return all that is held of a component as it is."""
        del at_ms
        yield Message(
            channel=Channel.HOLDS,
            key=hold_key(view.tenant, view.component),
            value=msgspec.json.encode(view),
        )

    def audit(self, view: CommandView, at_ms: int) -> Iterable[Message]:
        """Return the command and what came of it as they are."""
        del at_ms
        yield Message(
            channel=Channel.CONTAINMENT_AUDIT,
            key=f"{view.spec.incident}|{view.spec.tenant}",
            value=msgspec.json.encode(view),
        )


class Flow:
    """Checks' messages in, documents out; `shuffle` mixes what is under way, `again` repeats it."""

    def __init__(
        self,
        *,
        shuffle: random.Random | None = None,
        again: float = 0.0,
        batch: int = 64,
        k: int = 3,
        register: Register | None = None,
    ) -> None:
        self.knowledge = MemoryKnowledge()
        self.removed_roots: set[str] = set()
        """Ids of trust roots that the operator or a tenant has removed."""
        self.trusts: Callable[[str], bool] = lambda root: root not in self.removed_roots
        self._shuffle = shuffle
        self._again = again
        self._batch = batch
        self._k = k
        self._register = register
        self.ledger_rows = [MemoryRows() for _ in range(PARTITIONS)]
        self.incident_rows = [MemoryRows() for _ in range(PARTITIONS)]
        self._incidents = Incidents(self.knowledge, PlainDocuments(), k, register)
        self._queue: deque[tuple[Channel, str, Any]] = deque()
        self._offset = 0
        self.clock_ms = int(START.timestamp() * 1000)
        self.sent: list[Message] = []
        self.history: dict[str, list[AlertView]] = {}
        self.alerts: dict[tuple[str, str], AlertView] = {}
        self.incidents: dict[str, IncidentDocument] = {}
        self.commands: dict[str, CommandSpec] = {}
        self.issued: list[CommandSpec] = []
        self.proposals: dict[str, CommandSpec] = {}
        self.holds: dict[tuple[str, str], HoldView] = {}
        self.iocs: dict[str, SupplyChainIoC] = {}
        self.assessments: dict[str, Any] = {}
        self.operator: dict[str, OperatorAlert] = {}

    def use(self, register: Register) -> None:
        """Start again, on the same rows, with another register."""
        self._register = register
        self._incidents = Incidents(self.knowledge, PlainDocuments(), self._k, register)

    # -- in ----------------------------------------------------------------------------------------

    def send(self, messages: Iterable[Message]) -> None:
        """Take records as the checks publish them; documents are collected, the rest is routed."""
        for message in messages:
            self._publish(message)
        self.run()

    def put(self, *inputs: Sighting | Finding | IntelFact) -> None:
        """Take inputs without running: they are under way together."""
        for input_ in inputs:
            if isinstance(input_, Sighting):
                self._publish(sighting_message(input_))
            elif isinstance(input_, Finding):
                for message in finding_messages(input_):
                    self._publish(message)
            else:
                self._queue.append((Channel.INTEL, input_.key, input_))

    def saw(self, *sightings: Sighting) -> None:
        self.send(sighting_message(sighting) for sighting in sightings)

    def found(self, *findings: Finding) -> None:
        self.send(message for finding in findings for message in finding_messages(finding))

    def withheld(self, *findings: Finding) -> None:
        """Take findings that their tenants' policies suppress."""
        self.send(message for finding in findings for message in withheld_messages(finding))

    def fact(self, fact: IntelFact) -> None:
        self._queue.append((Channel.INTEL, fact.key, fact))
        self.run()

    def withdraw(self, key: str) -> None:
        self._queue.append((Channel.INTEL, key, None))
        self.run()

    def policy(self, policy: Policy) -> None:
        self.knowledge.set_policy(policy.tenant, policy)

    def decide(self, decision: Decision) -> None:
        self._queue.append((Channel.DECISIONS, decision.incident, decision))
        self.run()

    def answer(self, spec: CommandSpec, status: int = 200, text: str = "done") -> None:
        """Let a responder answer a command."""
        self.clock_ms += 1000
        result = ResultUpdate(
            incident=spec.incident,
            id=f"res-{spec.command_id}-{spec.attempt}-{status}",
            command_id=spec.command_id,
            tenant=spec.tenant,
            status=status,
            at=datetime.fromtimestamp(self.clock_ms / 1000, tz=UTC),
            status_text=text,
        )
        if spec.hold:
            result = msgspec.structs.replace(result, hold=spec.hold)
        key = hold_key(spec.tenant, spec.hold) if spec.hold else spec.incident
        self.send([incident_message(key, result)])

    def tick(self, minutes: float = 0.0) -> None:
        """Let time pass."""
        self.clock_ms += int(minutes * 60_000)
        for partition in range(PARTITIONS):
            tick = Tick(time_ms=self.clock_ms, partition=partition)
            self._take_ledger(partition, [("tick", tick)])
            self._take_incidents(partition, [("tick", tick)])
        self.run()

    # -- through -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Route until nothing is under way; it must come to an end."""
        rounds = 0
        while self._queue:
            rounds += 1
            assert rounds < MOST_ROUNDS, f"messages follow from each other for ever: {self._queue}"
            waiting = list(self._queue)
            self._queue.clear()
            if self._shuffle is not None:
                waiting += [
                    pending
                    for pending in waiting
                    if pending[0] is not Channel.INTEL and self._shuffle.random() < self._again
                ]
                facts = [pending for pending in waiting if pending[0] is Channel.INTEL]
                self._shuffle.shuffle(waiting)
                # Facts keep their order among themselves: one partition, one key.
                ordered = iter(facts)
                waiting = [
                    next(ordered) if pending[0] is Channel.INTEL else pending for pending in waiting
                ]
            ledger: dict[int, list[tuple[str, Any]]] = {}
            incidents: dict[int, list[tuple[str, Any]]] = {}
            for channel, key, value in waiting:
                into = ledger if channel in {Channel.OBSERVATIONS, Channel.INTEL} else incidents
                into.setdefault(_partition(key), []).append((key, value))
            for partition, many in sorted(ledger.items()):
                for start in range(0, len(many), self._batch):
                    self._take_ledger(partition, many[start : start + self._batch])
            for partition, many in sorted(incidents.items()):
                for start in range(0, len(many), self._batch):
                    self._take_incidents(partition, many[start : start + self._batch])

    def _take_ledger(self, partition: int, values: list[tuple[str, Any]]) -> None:
        process(
            self._deliveries(partition, values),
            Publishing(self._publish),
            self.ledger_rows[partition],
            LedgerOptions(k=self._k, register=self._register or Register(), trusts=self.trusts),
        )

    def _take_incidents(self, partition: int, values: list[tuple[str, Any]]) -> None:
        self._incidents.process(
            self._deliveries(partition, values),
            Publishing(self._publish),
            self.incident_rows[partition],
        )

    def _deliveries(self, partition: int, values: list[tuple[str, Any]]) -> list[Delivery[Any]]:
        deliveries = []
        for key, value in values:
            self._offset += 1
            self.clock_ms += 1
            record = Record(
                topic="flow",
                partition=partition,
                offset=self._offset,
                timestamp_ms=self.clock_ms,
                key=key.encode(),
                value=b"",
            )
            deliveries.append(Delivery(record=record, value=value))
        return deliveries

    # -- out ---------------------------------------------------------------------------------------

    def _publish(self, message: Message) -> None:
        self.sent.append(message)
        value = message.value
        if value is None:
            assert message.channel is Channel.INCIDENTS
            self.incidents.pop(message.key, None)
            return
        match message.channel:
            case Channel.OBSERVATIONS:
                self._queue.append((message.channel, message.key, _LEDGER.decode(value)))
            case Channel.INCIDENT_UPDATES:
                self._queue.append((message.channel, message.key, _INCIDENT.decode(value)))
            case Channel.ALERTS:
                view = msgspec.json.decode(value, type=AlertView)
                self.alerts[view.incident, view.tenant] = view
                self.history.setdefault(view.id, []).append(view)
            case Channel.INCIDENTS:
                document = msgspec.json.decode(value, type=IncidentDocument)
                self.incidents[document.id] = document
            case Channel.CONTAINMENT_COMMANDS:
                spec = msgspec.json.decode(value, type=CommandSpec)
                self.commands[spec.command_id] = spec
                self.issued.append(spec)
            case Channel.HOLDS:
                hold = msgspec.json.decode(value, type=HoldView)
                self.holds[hold.tenant, hold.component] = hold
            case Channel.CONTAINMENT_PROPOSALS:
                spec = msgspec.json.decode(value, type=CommandSpec)
                self.proposals[spec.command_id] = spec
            case Channel.IOCS:
                ioc = msgspec.json.decode(value, type=SupplyChainIoC)
                self.iocs[ioc.id] = ioc
            case Channel.ASSESSMENTS:
                assessment = msgspec.json.decode(value)
                self.assessments[assessment["id"]] = assessment
            case Channel.OPERATOR_ALERTS:
                alert = msgspec.json.decode(value, type=OperatorAlert)
                self.operator[alert.id] = alert
            case _:
                pass

    # -- looking -----------------------------------------------------------------------------------

    def alerts_of(self, tenant: str) -> list[AlertView]:
        """Return a tenant's latest alerts, by incident."""
        return [view for (_, whose), view in sorted(self.alerts.items()) if whose == tenant]

    def texts_for(self, tenant: str) -> str:
        """Return everything that was ever published to a tenant, as one text."""
        return "\n".join(
            (message.value or b"").decode() for message in self.sent if message.tenant == tenant
        )


def _partition(key: str) -> int:
    return sum(key.encode()) % PARTITIONS


__all__ = ["START", "Flow", "at", "ledger_message"]

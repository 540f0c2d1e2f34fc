"""The records that the demonstration leaves on the topics, made in memory, and an index of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import orjson

from agents.messages import StandardDocuments, operator_message
from agents.ports import Message, Record
from schemas.channels import Channel
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HoldView
from schemas.incidents.views import AlertView, IncidentDocument
from schemas.ledger import OperatorAlert
from schemas.signing import new_signing_key
from streams.console.index import Index
from streams.console.row_changes import READ, UnreadableError, changes
from streams.console.tables import RowLimits
from streams.demo import facts, policies, story
from streams.kafka.dead_letters import dead_letter
from tests.scenarios.expectation import Expected, Scenario
from tests.scenarios.replay import Replay

NOW_MS = 1_795_168_800_000


def record(
    channel: Channel, key: str, value: bytes | None, *, offset: int = 0, headers: Iterable = ()
) -> Record:
    """Return a record as a broker would hold it."""
    return Record(
        topic=f"supplychain.{channel}",
        partition=0,
        offset=offset,
        timestamp_ms=NOW_MS + offset,
        key=key.encode(),
        value=value,
        headers=tuple(headers),
        appended=True,
    )


DEMO = Scenario(
    name="demo",
    events=story,
    policies=policies,
    intel=facts,
    expected=Expected(title="the demonstration"),
)


class Played:
    """What one replay of a scenario published, as (channel, record)."""

    def __init__(self, root: Path, scenario: Scenario = DEMO) -> None:
        self.flow = Replay(scenario, root).flow
        self.records: list[tuple[Channel, Record]] = []
        self._documents = StandardDocuments(new_signing_key("commands"))
        for message in self.flow.sent:
            for made in self._as_published(message):
                self.add(made.channel, made.key, made.value, made.headers)
        for fact in scenario.intel():
            self.add(Channel.INTEL, fact.key, msgspec.json.encode(fact))
        for policy in scenario.policies(root):
            self.add(Channel.POLICY, policy.tenant, msgspec.json.encode(policy))

    def add(self, channel: Channel, key: str, value: bytes | None, headers: Iterable = ()) -> None:
        """Add a record behind those there are."""
        made = record(channel, key, value, offset=len(self.records), headers=headers)
        self.records.append((channel, made))

    def _as_published(self, message: Message) -> Iterable[Message]:
        """Return a message of the flow, whose views stand for the documents, as it is published."""
        value, documents = message.value, self._documents
        if value is None:
            return [message]
        match message.channel:
            case Channel.ALERTS:
                return documents.alert(msgspec.json.decode(value, type=AlertView), NOW_MS)
            case Channel.INCIDENTS:
                return documents.incident(msgspec.json.decode(value, type=IncidentDocument), NOW_MS)
            case Channel.HOLDS:
                return documents.hold(msgspec.json.decode(value, type=HoldView), NOW_MS)
            case Channel.CONTAINMENT_COMMANDS | Channel.CONTAINMENT_PROPOSALS:
                spec = msgspec.json.decode(value, type=CommandSpec)
                return documents.command(spec, NOW_MS, proposal=False)
        return [message]


def letter(topic: str, value: bytes, reason: str = "invalid-json", offset: int = 41) -> Record:
    """Return a dead letter of a record of a topic."""
    original = Record(
        topic=topic, partition=0, offset=offset, timestamp_ms=NOW_MS, key=b"k", value=value
    )
    made = dead_letter(original, reason=reason, error="not JSON", app="checks", limit=1 << 20)
    return record(
        Channel.DEAD_LETTER, made.key.decode(), made.value, offset=offset, headers=made.headers
    )


def notice(kind: str, tenant: str | None) -> Message:
    """Return an alert for the operator."""
    alert = OperatorAlert(
        id=f"opr-{kind}-{tenant}",
        kind=kind,
        subject="//ci/runner-7",
        detail="silent",
        tenant=tenant,
    )
    return operator_message(alert, "//tidewatch/ledger")


def fill(
    index: Index, records: Iterable[tuple[Channel, Record]], bound: Mapping[str, str] | None = None
) -> int:
    """Put records into an index; return how many were not understood."""
    made, unreadable = [], 0
    for channel, record in records:
        if channel not in READ:
            continue
        try:
            made += changes(channel, record, bound)
        except UnreadableError:
            unreadable += 1
    index.apply(made, {}, unreadable)
    return unreadable


def indexed(folder: Path, records: Iterable, bound=None, limits: RowLimits | None = None) -> Index:
    """Return a new index of records."""
    index = Index(folder, limits)
    index.begin("cluster|")
    fill(index, records, bound)
    return index


def edited(raw: bytes, **fields: object) -> bytes:
    """Return a JSON document with other fields."""
    return orjson.dumps({**orjson.loads(raw), **fields})

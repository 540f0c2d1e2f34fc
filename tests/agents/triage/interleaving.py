"""The chain in memory as the broker would run it: lanes, chunks, repetitions, in any interleaving.

Within a partition the order is kept. Which partition goes next, how long its chunks are, and which
chunks are repeated as after a kill, a seed decides.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from agents.checking import SightingDeduplicator
from agents.checks.artifacts.dispatch import scan_source
from agents.domain.knowledge import MemoryKnowledge
from agents.fetching.fetch_scope import FetchRules, tenant_reach
from agents.fetching.fetcher import Fetcher
from agents.messages import StandardDocuments
from agents.package_install import package_install_agent
from agents.pipeline_run import pipeline_run_agent
from agents.ports import Delivery, Message, Record
from agents.registry_push import registry_push_agent
from agents.scan import scan_agent
from agents.triage.incidents.core import Incidents
from agents.triage.ledger.batch import POPULAR_HOLDERS, LedgerOptions
from agents.triage.ledger.core import process
from agents.triage.routing import sighting_message
from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.decisions import Decision
from schemas.incidents.updates import IncidentMessage
from schemas.intel import IntelFact
from schemas.ledger import LedgerMessage, Tick
from schemas.observations import Sighting
from schemas.policy import Policy
from schemas.scans import ScanRequest
from schemas.signing import new_signing_key
from tests.agents.triage.memory_rows import MemoryRows
from tests.e2e.mixed_events import START, Item

PARTITIONS = 4
START_MS = int(START.timestamp() * 1000)
KEY = new_signing_key("interleaving")
_DECODERS: dict[Channel, Callable[[bytes], Any]] = {
    Channel.OBSERVATIONS: msgspec.json.Decoder(LedgerMessage).decode,
    Channel.INTEL: msgspec.json.Decoder(IntelFact).decode,
    Channel.INCIDENT_UPDATES: msgspec.json.Decoder(IncidentMessage).decode,
    Channel.DECISIONS: msgspec.json.Decoder(Decision).decode,
}
_LEDGER = {Channel.OBSERVATIONS, Channel.INTEL}
_INCIDENTS = {Channel.INCIDENT_UPDATES, Channel.DECISIONS}
Checked = tuple[Channel, str, int, tuple[Message, ...], tuple[Message, ...]]
"""An event: its channel, key and time, what its checks say, and what the scan adds."""


class _Outbox:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, message: Message) -> None:
        self.messages.append(message)

    def refuse(self, record: Record, reason: str, error: str) -> None:
        raise AssertionError((record, reason, error))

    def on_abandoned(self, undo: Callable[[], None]) -> None:
        """Nothing is abandoned here."""

    def caused_by(self, entered_ms: int) -> None:
        """Nothing is measured here."""


class _Batch(msgspec.Struct):
    deliveries: list[Delivery[Any]]
    partition: int = 0


async def _scan(path: str, source: Any, siblings: frozenset[str]) -> Any:
    return scan_source(path, source, siblings)


def check(items: Iterable[Item], knowledge: MemoryKnowledge) -> list[Checked]:
    """Run the real checks and the real scanner once over events; what is unreadable is left out."""
    return asyncio.run(_check(items, knowledge))


async def _check(items: Iterable[Item], knowledge: MemoryKnowledge) -> list[Checked]:
    makers: dict[Channel, Any] = {
        Channel.REGISTRY_PUSH: registry_push_agent,
        Channel.PACKAGE_INSTALL: package_install_agent,
        Channel.PIPELINE_RUN: pipeline_run_agent,
    }
    checked: list[Checked] = []
    for number, (channel, key, value) in enumerate(items):
        if key is None:
            continue
        now = START_MS + number * 1000
        record = Record(
            topic=channel, partition=0, offset=number, timestamp_ms=now, key=None, value=value
        )
        event = read_event(value, (), timestamp_ms=now, max_bytes=1 << 20)
        outbox = _Outbox()
        # A new agent has sent nothing yet: it sends all, and the run leaves out repetitions.
        await makers[channel](knowledge)(_Batch([Delivery(record=record, value=event)]), outbox)
        said = tuple(sent for sent in outbox.messages if sent.channel is not Channel.SCAN_REQUESTS)
        slow = _Outbox()
        for message in outbox.messages:
            if message.channel is Channel.SCAN_REQUESTS:
                request = msgspec.json.decode(message.value or b"", type=ScanRequest)
                scanner = scan_agent(
                    knowledge,
                    lambda policy: Fetcher(tenant_reach(policy, FetchRules(), {})),
                    _scan,
                    lambda: 1 << 60,
                )
                await scanner(_Batch([Delivery(record=record, value=request)]), slow)
        checked.append((channel, key, now, said, tuple(slow.messages)))
    return checked


class Chain:
    """One run of the chain. `seed` None: calm, in order of arrival."""

    def __init__(
        self,
        knowledge: MemoryKnowledge,
        seed: int | None,
        again: float = 0.1,
        popular_holders: int = POPULAR_HOLDERS,
    ) -> None:
        self._chance = None if seed is None else random.Random(seed)
        self._again = again
        self._popular_holders = popular_holders
        self._ledger = [MemoryRows() for _ in range(PARTITIONS)]
        self._rows = [MemoryRows() for _ in range(PARTITIONS)]
        self._incidents = Incidents(knowledge, StandardDocuments(KEY))
        self._queues: dict[tuple[Channel, int], deque[Any]] = {}
        self._reported = [SightingDeduplicator() for _ in range(PARTITIONS)]
        self._offset = 0
        self.clock_ms = START_MS + (0 if seed is None else 7_000_000 + seed)
        self.sent: dict[Channel, list[Message]] = {}

    def read(self, channel: Channel) -> list[Message]:
        """Return what was put out on a channel, oldest first."""
        return self.sent.get(channel, [])

    def put(self, channel: Channel, key: str, value: bytes | None) -> None:
        """Write a record."""
        self._queue(channel, key).append((key, value))

    def feed(self, checked: Iterable[Checked]) -> None:
        """Take events in; they wait in their partitions."""
        for check in checked:
            self._queue(check[0], check[1]).append(check)

    def tick(self, minutes: float) -> None:
        """Let time pass."""
        self.clock_ms += int(minutes * 60_000)
        for partition in range(PARTITIONS):
            tick = msgspec.json.encode(Tick(time_ms=self.clock_ms, partition=partition))
            for channel in (Channel.OBSERVATIONS, Channel.INCIDENT_UPDATES):
                self._queues.setdefault((channel, partition), deque()).append(("tick", tick))
        self.run()

    def run(self) -> None:
        """Let the lanes run until nothing waits, or a share of what waits is done."""
        while lanes := [lane for lane, queue in self._queues.items() if queue]:
            if self._chance is None:
                lane = min(lanes, key=lambda key: (list(Channel).index(key[0]), key[1]))
                self._step(lane, 256)
            else:
                self._step(self._chance.choice(lanes), self._chance.choice((1, 7, 40, 400)))

    def _queue(self, channel: Channel, key: str) -> deque[Any]:
        partition = crc32(key.encode()) % PARTITIONS
        return self._queues.setdefault((channel, partition), deque())

    def _step(self, lane: tuple[Channel, int], size: int) -> None:
        queue = self._queues[lane]
        chunk = [queue.popleft() for _ in range(min(size, len(queue)))]
        killed = self._chance is not None and self._chance.random() < self._again
        if killed and self._chance is not None:
            # As after a kill: part of the outputs were delivered, the state was not written, or
            # it was and the chunk was not acknowledged.
            state_kept = self._chance.random() < 0.5
            outputs = self._take(lane, chunk, keep=state_kept)
            cut = len(outputs) if state_kept else self._chance.randrange(len(outputs) + 1)
            self._deliver(outputs[:cut])
            self._reported[lane[1]] = SightingDeduplicator()
        self._deliver(self._take(lane, chunk, keep=True))

    def _take(self, lane: tuple[Channel, int], chunk: list[Any], *, keep: bool) -> list[Message]:
        channel, partition = lane
        if channel not in _DECODERS:
            reported = self._reported[partition]
            return (
                [
                    message
                    for _, key, now, said, slow in chunk
                    for message in (
                        *(text for text in said if self._is_news(reported, text)),
                        *([_Scan(key, now, slow)] if slow else ()),
                    )
                ]
                if channel is not Channel.SCAN_REQUESTS
                else [
                    message
                    for scan in chunk
                    for message in scan.messages
                    if self._is_news(reported, message)
                ]
            )
        rows = (self._ledger if channel in _LEDGER else self._rows)[partition]
        if not keep:
            rows = rows.copy()
        outbox = _Outbox()
        deliveries = [self._delivery(channel, partition, key, value) for key, value in chunk]
        if channel in _LEDGER:
            process(deliveries, outbox, rows, LedgerOptions(popular_holders=self._popular_holders))
        else:
            self._incidents.process(deliveries, outbox, rows)
        return outbox.messages

    def _is_news(self, reported: SightingDeduplicator, message: Message) -> bool:
        sighting = _sighting(message.value) if message.channel is Channel.OBSERVATIONS else None
        return sighting is None or reported.is_news(sighting)

    def _delivery(
        self, channel: Channel, partition: int, key: str, value: bytes | None
    ) -> Delivery[Any]:
        self._offset += 1
        self.clock_ms += 1
        record = Record(
            topic=channel,
            partition=partition,
            offset=self._offset,
            timestamp_ms=self.clock_ms,
            key=key.encode(),
            value=value,
        )
        return Delivery(record=record, value=None if value is None else _decoded(channel, value))

    def _deliver(self, messages: Iterable[Any]) -> None:
        for message in messages:
            if isinstance(message, _Scan):
                self._queue(Channel.SCAN_REQUESTS, message.key).append(message)
                continue
            self.sent.setdefault(message.channel, []).append(message)
            if message.channel in _DECODERS:
                self._queue(message.channel, message.key).append((message.key, message.value))


class _Scan(msgspec.Struct):
    key: str
    now: int
    messages: tuple[Message, ...]


@cache
def _decoded(channel: Channel, value: bytes) -> Any:
    return _DECODERS[channel](value)


@cache
def _sighting(value: bytes | None) -> Sighting | None:
    found = _decoded(Channel.OBSERVATIONS, value or b"")
    return found if isinstance(found, Sighting) else None


def knowing(policies: Iterable[tuple[str, bytes]], intel: Iterable[tuple[str, bytes]]) -> Any:
    """Return what the checks know."""
    knowledge = MemoryKnowledge()
    for tenant, value in policies:
        knowledge.set_policy(tenant, msgspec.json.decode(value, type=Policy))
    for key, value in intel:
        knowledge.set_fact(key, msgspec.json.decode(value, type=IntelFact))
    return knowledge


__all__ = ["Chain", "Path", "check", "knowing", "sighting_message"]

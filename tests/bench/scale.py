"""Drives the component ledger at scale, over the real row store, and reports what it takes.

`make bench-scale`, or `python -m tests.bench.scale`: by default ten million sightings of a million
components by a thousand tenants, one model seen by all of them. No broker: the ledger's logic, its
rows on disk and the settling of chunks are what a worker does for each record besides Kafka.

`--copies 40` then copies each partition's folder and opens all of them in one process: a worker
with forty times the sightings, which would take a day to feed. The retro-hunt is measured over all
copies; none shares a file, or a block in memory, with another.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from agents.ports import Delivery, Message, Record
from agents.triage.ledger.core import process
from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import LedgerMessage
from schemas.observations import Sighting
from schemas.reading import record_reader
from streams.engine.delivery import key_hash
from streams.engine.rows import PartitionRows
from streams.engine.tables import PartitionStore, _options
from tests.bench.outbox import Outbox

CHUNK = 500
HOT = "model:huggingface/popular/base"
HOT_EVERY = 20
"""Every so many chunks one is of the popular model alone: 5 % of all sightings."""
POPULAR_SHARE = 0.5
"""Of the other sightings, those of the most popular hundredth of the components."""
SYSTEMS = 20
"""Of each tenant."""
DAYS = 30
HUNT_AT = 1_000_000
"""Sightings held when the retro-hunt is measured; at the end it is measured again."""
FACTS = 200
START = datetime(2026, 11, 1, tzinfo=UTC)
MIB = 2**20


class Size(NamedTuple):
    """How much of everything."""

    sightings: int
    components: int
    tenants: int
    partitions: int


class Partition:
    """The rows of one partition and what waits for it."""

    def __init__(self, folder: Path) -> None:
        """Open the store."""
        self.store = PartitionStore(folder, _options())
        self.rows = PartitionRows(self.store)
        self.waiting: list[bytes] = []
        self.changelog = 0
        self.changelog_bytes = 0


class Ledger:
    """The partitions of one worker."""

    def __init__(self, folder: Path, partitions: int) -> None:
        """Start empty."""
        self.partitions = [Partition(folder / str(number)) for number in range(partitions)]
        self._read = record_reader(LedgerMessage)
        self._offset = 0
        self.reported: dict[Channel, int] = {}
        self.passed_on: deque[Message] = deque()
        """Messages of the ledger to itself that were not taken yet."""
        self.steps: list[float] = []
        """How long each of them took, seconds of processor time."""

    def place(self, key: str) -> Partition:
        """Return the partition of a component key."""
        return self.partitions[key_hash(key.encode()) % len(self.partitions)]

    def close(self) -> None:
        """Close the stores; their folders stay."""
        for partition in self.partitions:
            partition.store.close()

    def take(self, partition: Partition, values: list[bytes]) -> float:
        """Decode and process a chunk and settle its rows; return the processor time, seconds.

        That of the store's background threads is included.
        """
        began = time.process_time()
        deliveries = [self._delivery(b"", value, self._read(value)) for value in values]
        self._run(partition, deliveries)
        return time.process_time() - began

    def learn(self, fact: IntelFact) -> float:
        """Take a fact and all that follows from it; return the seconds until all was found."""
        began = time.perf_counter()
        self.tell(fact)
        self.pass_on()
        return time.perf_counter() - began

    def tell(self, fact: IntelFact) -> float:
        """Take a fact and nothing of what follows; return the processor time, seconds."""
        began = time.process_time()
        self._run(self.place(fact.key), [self._delivery(fact.key.encode(), b"", fact)])
        return time.process_time() - began

    def pass_on(self) -> None:
        """Take the ledger's messages to itself, and what follows, until nothing is left."""
        while self.passed_on:
            self.pass_one_on()

    def pass_one_on(self) -> None:
        """Take the first of the ledger's messages to itself."""
        message = self.passed_on.popleft()
        value = message.value or b""
        began = time.process_time()
        self._run(self.place(message.key), [self._delivery(b"", value, self._read(value))])
        self.steps.append(time.process_time() - began)

    def _delivery(self, key: bytes, value: bytes, read: object) -> Delivery[object]:
        self._offset += 1
        record = Record(
            topic="observations",
            partition=0,
            offset=self._offset,
            timestamp_ms=int(START.timestamp() * 1000) + self._offset,
            key=key,
            value=value,
        )
        return Delivery(record=record, value=read)

    def _run(self, partition: Partition, deliveries: list[Delivery[object]]) -> None:
        outbox = Outbox()
        process(deliveries, outbox, partition.rows)  # type: ignore[arg-type]  # read as such above
        batch, changes = partition.rows.take_changes()
        partition.changelog += len(changes)
        partition.changelog_bytes += sum(len(k) + len(v or b"") for k, v in changes.items())
        partition.rows.settle(batch, changes, partition.changelog)
        for message in outbox.messages:
            self.reported[message.channel] = self.reported.get(message.channel, 0) + 1
            if message.channel is Channel.OBSERVATIONS:
                self.passed_on.append(message)


class Copies(Ledger):
    """A worker that holds copies of a ledger's partitions; each fact meets the copies of one."""

    def __init__(self, folder: Path, partitions: int, copies: int) -> None:
        """Copy the folders of a closed ledger, and open all."""
        for number in range(partitions, partitions * copies):
            shutil.copytree(folder / str(number % partitions), folder / str(number))
        super().__init__(folder, partitions * copies)
        self._apart = partitions
        self.chosen = 0
        """The copy that is meant."""

    def place(self, key: str) -> Partition:
        """Return the partition of a component key in the chosen copy."""
        return self.partitions[key_hash(key.encode()) % self._apart + self._apart * self.chosen]

    def learn(self, fact: IntelFact) -> float:
        """Take a fact in the next copy; return the seconds until all was found."""
        self.chosen = (self.chosen + 1) % (len(self.partitions) // self._apart)
        return super().learn(fact)


def component(number: int) -> str:
    """Return the key of a component of the trial."""
    return f"pypi:package-{number}"


def _sighting(key: str, number: int, chance: random.Random, size: Size) -> bytes:
    tenant = f"tenant-{chance.randrange(size.tenants)}"
    system = f"runner-{chance.randrange(SYSTEMS)}"
    version = "1.0" if chance.random() < 0.9 else "1.1"
    digest = sha256(f"{key} {version}".encode()).hexdigest()
    when = START + timedelta(seconds=number * DAYS * 86_400 / size.sightings)
    return _ENCODER.encode(
        Sighting(
            id=stable_id("obs", tenant, str(when.date()), key, version, digest, system),
            component=key,
            tenant=tenant,
            system=system,
            event_id=f"evt-{number}",
            source=f"//ci.{tenant}.example/{system}",
            occurred_at=when,
            kind="installed",
            version=version,
            digest=digest,
            filename=f"{key.partition(':')[2].rpartition('/')[2]}-{version}.whl",
            origin="https://index.example/simple",
        )
    )


_ENCODER = msgspec.json.Encoder()


def sightings(size: Size, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield sightings in the order of their time; chunks of the popular model in between."""
    popular = max(1, size.components // 100)
    for number in range(size.sightings):
        if number // CHUNK % HOT_EVERY == HOT_EVERY - 1:
            key = HOT
        elif chance.random() < POPULAR_SHARE:
            key = component(chance.randrange(popular))
        else:
            key = component(chance.randrange(size.components))
        yield key, _sighting(key, number, chance, size)


def fact_on(key: str, number: int) -> IntelFact:
    """Return a fact that one release of a component is malicious."""
    return IntelFact(
        key=key,
        kind=IntelKind.MALICIOUS,
        versions=("1.1",),
        sources=(f"OSV:MAL-{number}",),
        confidence=0.95,
    )


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def hunt(ledger: Ledger, size: Size, chance: random.Random, held: int) -> None:
    """Print how long facts take to become findings."""
    popular = max(1, size.components // 100)
    before = ledger.reported.get(Channel.INCIDENT_UPDATES, 0)
    taken = [
        ledger.learn(fact_on(component(chance.randrange(popular)), number))
        for number in range(FACTS)
    ]
    found = ledger.reported.get(Channel.INCIDENT_UPDATES, 0) - before
    print(
        f"retro-hunt with {held:,} sightings taken, {FACTS} facts: "
        f"p50 {percentile(taken, 0.5) * 1000:.1f} ms, "
        f"p99 {percentile(taken, 0.99) * 1000:.1f} ms, most {max(taken) * 1000:.1f} ms; "
        f"{found:,} messages to incidents",
        flush=True,
    )


def run(size: Size, folder: Path) -> None:
    """Feed everything and print what it took."""
    me = psutil.Process()
    chance = random.Random(7)
    ledger = Ledger(folder, size.partitions)
    began = time.monotonic()
    peak = 0
    busy = {"popular": 0.0, "others": 0.0}
    count = {"popular": 0, "others": 0}
    window = dict.fromkeys(busy, 0.0)
    window_count = dict.fromkeys(count, 0)
    hunted = False
    print("| sightings | µs, others | µs, popular model | RSS MiB | on disk MiB |")
    print("|--:|--:|--:|--:|--:|", flush=True)
    step = max(CHUNK * HOT_EVERY, size.sightings // 10)
    for number, (key, value) in enumerate(sightings(size, chance), 1):
        place = ledger.place(key)
        place.waiting.append(value)
        if len(place.waiting) >= CHUNK:
            seconds = ledger.take(place, place.waiting)
            hot = sum(HOT.encode() in text for text in place.waiting) > CHUNK // 2
            label = "popular" if hot else "others"
            for spent in (busy, window):
                spent[label] += seconds
            for done in (count, window_count):
                done[label] += CHUNK
            place.waiting = []
        if number % 10_000 == 0:
            ledger.pass_on()
            peak = max(peak, me.memory_info().rss)
        if number % step == 0:
            each = {
                label: window[label] / window_count[label] * 1e6 if window_count[label] else 0.0
                for label in window
            }
            print(
                f"| {number:,} | {each['others']:.0f} | {each['popular']:.0f} "
                f"| {me.memory_info().rss / MIB:,.0f} | {_on_disk(folder) / MIB:,.0f} |",
                flush=True,
            )
            window, window_count = dict.fromkeys(busy, 0.0), dict.fromkeys(count, 0)
        if not hunted and number >= HUNT_AT:
            hunted = True
            hunt(ledger, size, random.Random(1), number)
    taken = sum(count.values())
    seconds = sum(busy.values())
    rows = sum(partition.changelog for partition in ledger.partitions)
    row_bytes = sum(partition.changelog_bytes for partition in ledger.partitions)
    print(
        f"\n{taken:,} sightings in {seconds:,.0f} s of processor time: {taken / seconds:,.0f}/s "
        f"on a core; popular model {count['popular'] / max(0.001, busy['popular']):,.0f}/s"
    )
    print(
        f"changelog: {rows / taken:.2f} rows and {row_bytes / taken:,.0f} bytes a sighting; "
        f"on disk {_on_disk(folder) / taken:,.0f} bytes a sighting"
    )
    print(f"resident at most {peak / MIB:,.0f} MiB; messages {dict(ledger.reported)}")
    hunt(ledger, size, random.Random(2), taken)
    print(f"popular model, fact on one of its releases: {_popular(ledger):.2f} s")
    ledger.close()
    print(f"{time.monotonic() - began:,.0f} s in all; load average {os.getloadavg()[0]:.1f}")


def run_copies(size: Size, copies: int, folder: Path) -> None:
    """Open copies of what `run` left, and print what holding all of them takes."""
    me = psutil.Process()
    held = size.sightings * copies
    before = me.memory_info().rss
    began = time.monotonic()
    ledger = Copies(folder, size.partitions, copies)
    print(
        f"\n{copies} copies of {size.partitions} partitions, {held:,} sightings: copied and opened "
        f"in {time.monotonic() - began:,.0f} s, {_on_disk(folder) / MIB:,.0f} MiB on disk"
    )
    for seed in (3, 4, 5):
        hunt(ledger, size, random.Random(seed), held)
        grown = me.memory_info().rss - before
        print(f"resident {me.memory_info().rss / MIB:,.0f} MiB, {grown / MIB:,.0f} of it since")
    ledger.close()


def _popular(ledger: Ledger) -> float:
    return ledger.learn(fact_on(HOT, FACTS))


def _on_disk(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:  # compacted away in the meantime
            continue
    return total


def main() -> None:
    """Run the trial."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--sightings", type=int, default=10_000_000)
    parser.add_argument("--components", type=int, default=1_000_000)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--copies", type=int, default=1, help="of the partitions, in the end")
    parser.add_argument("--folder", type=Path, help="where the state goes; a temporary one if none")
    args = parser.parse_args()
    size = Size(args.sightings, args.components, args.tenants, args.partitions)
    print(f"# {size.sightings:,} sightings, {size.components:,} components, ", end="")
    print(f"{size.tenants:,} tenants\n")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        run(size, Path(folder))
        if args.copies > 1:
            run_copies(size, args.copies, Path(folder))


if __name__ == "__main__":
    main()

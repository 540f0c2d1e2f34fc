"""What an incident costs over its life: `python -m tests.bench.incident_life`.

Incidents of one finding and one system each are opened, closed, and forgotten when their time has
come, over the real row store. Printed is what the process and the disk hold after each stage. No
broker: the logic, the documents, the rows on disk and the settling of chunks are measured.

With `--a-day N`, N incidents are opened on each of many days and closed on the next: it shows where
the growth of a process ends, which is when as many are forgotten as are opened. `--keep` shortens
the time that they are kept, and `--cache` what RocksDB fills before it evicts anything.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil

from agents.domain.knowledge import MemoryKnowledge
from agents.messages import StandardDocuments
from agents.ports import Delivery, Message, Record
from agents.triage.incidents import deadlines
from agents.triage.incidents.core import IncidentInput, Incidents
from agents.triage.incidents.rows import CORE, KEEP_DAYS
from agents.triage.routing import incident_id
from agents.triage.store import SEPARATOR
from schemas.basis import Basis, BasisKind
from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.decisions import Decision, DecisionKind
from schemas.findings import Finding, Indicator
from schemas.incidents.updates import Exposure, FindingUpdate, IncidentMessage
from schemas.ledger import Tick
from schemas.reading import record_reader
from schemas.severity import Disposition, ExposureLevel
from schemas.signing import new_signing_key
from schemas.taxonomy import taxonomy
from streams.engine import tables
from streams.engine.rows import PartitionRows
from streams.engine.tables import PartitionStore, _options
from tests.bench.scale import CHUNK, MIB, START, _on_disk

TENANTS = 20
CORE_ROWS = f"{CORE}{SEPARATOR}".encode()
FORGOTTEN_DAYS = 2 * KEEP_DAYS
"""By then nothing of an ended incident may be left; a tick a day comes until then."""


class _Outbox:
    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.count: Counter[str] = Counter()
        self.passed_on: list[bytes] = []
        """Messages of the incidents to holds, and of holds to incidents."""

    def __call__(self, message: Message) -> None:
        if message.channel is Channel.INCIDENT_UPDATES and message.value is not None:
            self.passed_on.append(message.value)
        size = len(message.key) + len(message.value or b"")
        size += sum(len(name) + len(value) for name, value in message.headers)
        self.bytes[message.channel] += size
        self.count[message.channel] += 1

    def refuse(self, record: Record, reason: str, error: str) -> None:
        raise AssertionError(f"{record.offset}: {reason} {error}")

    def on_abandoned(self, undo: Callable[[], None]) -> None:
        """Nothing is abandoned here."""

    def caused_by(self, entered_ms: int) -> None:
        """Nothing is measured here."""


class Worker:
    """One partition of the incidents application."""

    def __init__(self, folder: Path) -> None:
        """Start empty."""
        documents = StandardDocuments(new_signing_key("bench"))
        self._incidents = Incidents(MemoryKnowledge(), documents)
        self.store = PartitionStore(folder, _options())
        self._rows = PartitionRows(self.store)
        self._offset = 0
        self._read: Callable[[bytes], IncidentInput] = record_reader(IncidentMessage)
        self.outbox = _Outbox()
        self.changes = 0
        self.changelog_bytes = 0
        self.cpu = 0.0

    def take(self, values: list[IncidentInput], at_ms: int) -> None:
        """Process a chunk, and the messages that the application sends itself because of it."""
        while values:
            self._run(values, at_ms)
            values = [self._read(value) for value in self.outbox.passed_on]
            self.outbox.passed_on.clear()

    def _run(self, values: list[IncidentInput], at_ms: int) -> None:
        deliveries = []
        for value in values:
            self._offset += 1
            record = Record(
                topic="incident-updates",
                partition=0,
                offset=self._offset,
                timestamp_ms=at_ms,
                key=b"",
                value=b"",
            )
            deliveries.append(Delivery(record=record, value=value))
        began = time.process_time()
        self._incidents.process(deliveries, self.outbox, self._rows)  # type: ignore[arg-type]
        batch, changes = self._rows.take_changes()
        self.changes += len(changes)
        self.changelog_bytes += sum(len(k) + len(v or b"") for k, v in changes.items())
        self._rows.settle(batch, changes, self.changes)
        self.cpu += time.process_time() - began

    def kinds(self) -> tuple[Counter[str], Counter[str]]:
        """Return how many rows of each kind there are, and their bytes before compression."""
        count: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for key, value in self.store.scan(b""):
            kind = key.decode().partition(SEPARATOR)[0]
            count[kind] += 1
            size[kind] += len(key) + len(value)
        return count, size

    def property(self, name: str) -> int:
        """Return a figure that RocksDB keeps of the store."""
        return int(self.store._db.property_int_value(f"rocksdb.{name}") or 0)


def opening(number: int) -> Iterator[IncidentInput]:
    """Yield what opens an incident: what a scan found, and the system that has it."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    root, tenant = f"sha256:{digest}", f"tenant-{number % TENANTS}"
    component = f"model:hub/acme/model-{number}"
    entry = taxonomy().ioc_types["malicious_payload"]
    finding = Finding(
        id=stable_id("fnd", tenant, str(number)),
        ioc_type="malicious_payload",
        rule_id="TW-PKL-001",
        indicator=Indicator(
            key=root, type="file-digest", value=digest, disposition=Disposition.BLOCK
        ),
        severity=entry.severity,
        confidence=0.95,
        tenant=tenant,
        event_id=f"evt-{number}",
        occurred_at=START,
        component=component,
        version="r2",
        source=f"//hub.{tenant}.example",
        description="loading weights.bin runs os.system",
        mitre_atlas_id=entry.primary,
        techniques=entry.techniques,
        ssdf=entry.ssdf,
        remediation="Quarantine it.",
        systems=(f"runner-{number % 50}",),
        exposure=ExposureLevel.EXECUTED,
        basis=Basis(kind=BasisKind.VERIFIED),
        evidence={"file": "weights.bin", "call": "os.system"},
    )
    incident = incident_id(root)
    yield FindingUpdate(incident=incident, root=root, finding=finding, revision=(1, number))
    yield Exposure(
        incident=incident,
        root=root,
        tenant=tenant,
        system=f"runner-{number % 50}",
        component=component,
        occurred_at=START,
        event_id=f"evt-{number}",
        version="r2",
        digest=digest,
        exposure=ExposureLevel.EXECUTED,
        revision=(1, number),
    )


def closing(number: int) -> Iterator[IncidentInput]:
    """Yield the decision that closes an incident."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    yield Decision(
        id=f"dec-{number}",
        incident=incident_id(f"sha256:{digest}"),
        actor="analyst@acme.example",
        decision=DecisionKind.CLOSE,
        reason="handled",
        time=START + timedelta(days=1),
    )


def run(incidents: int, folder: Path) -> None:
    """Open, close and forget; print what each stage leaves.

    Raises:
        RuntimeError: Something of an incident is left when all are forgotten.
    """
    me = psutil.Process()
    worker = Worker(folder / "0")
    print("| stage | incidents | RSS MiB | on disk MiB | CPU ms each |\n|---|--:|--:|--:|--:|")

    def reported(stage: str, done: int, cpu: float) -> None:
        gc.collect()
        print(
            f"| {stage} | {done:,} | {me.memory_info().rss / MIB:,.0f} "
            f"| {_on_disk(folder) / MIB:,.1f} | {cpu * 1000:.2f} |",
            flush=True,
        )

    reported("start", 0, 0.0)
    start_ms = int(START.timestamp() * 1000)
    for stage, made, day in (("open", opening, 0), ("closed", closing, 1)):
        at_ms = start_ms + day * 86_400_000
        step = max(CHUNK, incidents // 10)
        cpu, changes, logged = worker.cpu, worker.changes, worker.changelog_bytes
        worker.outbox = _Outbox()
        for first in range(0, incidents, step):
            last, before = min(incidents, first + step), worker.cpu
            for base in range(first, last, CHUNK):
                numbers = range(base, min(last, base + CHUNK))
                worker.take([entry for number in numbers for entry in made(number)], at_ms)
            reported(stage, last, (worker.cpu - before) / (last - first))
        print(
            f"\n{stage}: {(worker.cpu - cpu) / incidents * 1000:.2f} ms of processor time, "
            f"{(worker.changes - changes) / incidents:.1f} rows and "
            f"{(worker.changelog_bytes - logged) / incidents:,.0f} bytes of changelog each"
        )
        for channel, size in sorted(worker.outbox.bytes.items()):
            sent = worker.outbox.count[channel]
            print(f"  to {channel}: {sent / incidents:.2f} messages, {size / incidents:,.0f} bytes")
        count, size = worker.kinds()
        held = ", ".join(f"{kind} {n / incidents:.2f} of {size[kind] / n:,.0f} bytes" for kind, n
                         in sorted(count.items()))  # fmt: skip
        print(f"  rows held for each: {held}\n", flush=True)
    before = worker.cpu
    day = 1
    while day < FORGOTTEN_DAYS and any(worker.store.scan(CORE_ROWS)):
        day += 1
        at_ms = start_ms + day * 86_400_000
        worker.take([Tick(time_ms=at_ms)], at_ms)
    reported(f"day {day}", incidents, (worker.cpu - before) / incidents)
    count, _ = worker.kinds()
    print(f"rows left: {dict(count)}")
    if count[CORE]:
        raise RuntimeError(f"{count[CORE]} incidents were not forgotten")
    print(f"load average {os.getloadavg()[0]:.1f}")


def run_days(a_day: int, days: int, keep: int, cache_mib: int, folder: Path) -> None:
    """Open `a_day` incidents a day and close them on the next; print what is held as days pass."""
    deadlines.KEEP_DAYS = keep  # type: ignore[misc] -- a process of its own
    me = psutil.Process()
    tables.BLOCK_CACHE_BYTES = cache_mib * MIB
    worker = Worker(folder / "0")
    start_ms = int(START.timestamp() * 1000)
    print("| day | opened | held | RSS MiB | block cache MiB | write buffers MiB | on disk MiB |")
    print("|---" * 7 + "|")
    for day in range(days):
        at_ms = start_ms + day * 86_400_000
        today = range(day * a_day, (day + 1) * a_day)
        values = [closed for number in today if day for closed in closing(number - a_day)]
        values += [opened for number in today for opened in opening(number)]
        for base in range(0, len(values), CHUNK):
            worker.take(values[base : base + CHUNK], at_ms)
        worker.take([Tick(time_ms=at_ms)], at_ms)
        if (day + 1) % max(days // 20, 1) == 0:
            gc.collect()
            held = sum(1 for _ in worker.store.scan(CORE_ROWS))
            print(
                f"| {day + 1} | {(day + 1) * a_day:,} | {held:,} "
                f"| {me.memory_info().rss / MIB:,.0f} "
                f"| {worker.property('block-cache-usage') / MIB:,.0f} "
                f"| {worker.property('cur-size-all-mem-tables') / MIB:,.0f} "
                f"| {_on_disk(folder) / MIB:,.1f} |",
                flush=True,
            )
    print(f"load average {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Run the trial."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.incident_life", description=__doc__
    )
    parser.add_argument("--incidents", type=int, default=10_000)
    parser.add_argument("--a-day", type=int, default=0, help="incidents to open on each of --days")
    parser.add_argument("--days", type=int, default=FORGOTTEN_DAYS)
    parser.add_argument("--keep", type=int, default=KEEP_DAYS, help="days that incidents are kept")
    parser.add_argument(
        "--cache", type=int, default=tables.BLOCK_CACHE_BYTES // MIB, help="MiB of blocks"
    )
    parser.add_argument("--folder", type=Path, help="where the state goes; a temporary one if none")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if args.a_day:
            run_days(args.a_day, args.days, args.keep, args.cache, Path(folder))
        else:
            run(args.incidents, Path(folder))


if __name__ == "__main__":
    main()

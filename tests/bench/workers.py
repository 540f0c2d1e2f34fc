"""What a second worker adds, and how long a rolling restart of all workers delays events.

`python -m tests.bench.workers`: real workers of the installed command against an embedded broker.
The first part lets one to four workers of `checks` read a filled topic. The second keeps two
workers of each application under a steady load, stops and starts each of them in turn as an
orchestrator does (SIGTERM, then the same instance again), and compares what came out with what went
in.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import aiokafka
import psutil
from aiokafka.structs import RecordMetadata

from agents.triage.routing import incident_id
from streams.broker import EmbeddedBroker
from streams.broker.paths import jars_dir
from streams.broker.ports import free_ports
from tests.bench.__main__ import machine
from tests.bench.contestants import PARTITIONS
from tests.bench.latency import RUNNERS, records_of
from tests.bench.processes import (
    ROOT,
    Ends,
    cpu_seconds,
    fill,
    make_topics,
    resident_mb,
    stop,
    until_ready,
)
from tests.bench.workload import Input, installs
from tests.installed import TIDEWATCH

WORKERS = (1, 2, 3, 4)
LIMIT_SECONDS = 10.0
"""A run of the first part lasts this long at most."""
APPLICATIONS = ("checks", "ledger", "incidents")
"""Those between an event and its alert, in this order."""
FINDINGS_PERCENT = 5
CALM_SECONDS = 5.0
"""Before and after the restarts of an application."""
MANY = 10_000_000
"""Events that the steady load could send, more than any run lasts for."""
LAST_SECONDS = 30.0
"""How long to wait for the last output."""


class Worker:
    """A worker process of one application; it keeps its instance and state when it starts again."""

    def __init__(self, application: str, instance: str, settings: Mapping[str, str]) -> None:
        """Start nothing yet."""
        self.application = application
        self._port = free_ports(1)[0]
        self._log = Path(settings["STATE_DIR"]) / f"{application}-{instance}.log"
        values = {**settings, "INSTANCE": instance, "HTTP_PORT": str(self._port)}
        self._environment = {f"TIDEWATCH_{name}": text for name, text in values.items()}
        self.process: psutil.Popen | None = None

    def start(self) -> psutil.Popen:
        """Start the process."""
        with self._log.open("ab") as log:
            self.process = psutil.Popen(
                [TIDEWATCH, "worker", "--agents", self.application],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
            )
        return self.process

    def ready(self) -> bool:
        """Return whether its readiness probe passes."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2):
                return True
        except (OSError, urllib.error.URLError):
            return False

    async def until_ready(self, seconds: float = 90.0) -> None:
        """Wait for the readiness probe.

        Raises:
            TimeoutError: It does not pass.
        """
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(self.ready):
            if time.monotonic() > deadline:
                raise TimeoutError(f"a worker of {self.application} is not ready; see {self._log}")
            await asyncio.sleep(0.05)

    async def restart(self) -> tuple[float, float]:
        """Stop it by SIGTERM and start it again; return the seconds of both steps."""
        began = time.monotonic()
        if self.process is not None:
            self.process.terminate()
            await asyncio.to_thread(self.process.wait, 60)
        stopped = time.monotonic()
        self.start()
        await self.until_ready()
        return stopped - began, time.monotonic() - stopped


def settings_of(bootstrap: str, prefix: str, folder: Path) -> dict[str, str]:
    """Return the settings that all workers of a run share."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "KAFKA": bootstrap,
        "TOPIC_PREFIX": f"{prefix}.",
        "GROUP_PREFIX": prefix,
        "STATE_DIR": str(folder),
        "PARTITIONS": str(PARTITIONS),
        "LOG_LEVEL": "error",
    }


async def throughput(bootstrap: str, events: int, folder: Path) -> None:
    """Print the events a second of one to four workers of `checks` on this machine."""
    prefix = f"workers-{os.getpid()}"
    await make_topics(bootstrap, prefix)
    await fill(bootstrap, f"{prefix}.package-install", installs(events, 1))
    print(f"## Workers of `checks`, {PARTITIONS} partitions, 1 % of the events with a finding\n")
    print("| workers | events/s | of one worker | CPU µs/event | RSS MB in all |")
    print("|--:|--:|--:|--:|--:|")
    alone = 0.0
    for number in WORKERS:
        rate, cpu, memory = await _read(bootstrap, prefix, number, events, folder)
        alone = alone or rate
        print(
            f"| {number} | {rate:,.0f} | {rate / alone:.2f} | {cpu:.0f} | {memory:.0f} |",
            flush=True,
        )
    print(f"\nload average {os.getloadavg()[0]:.1f}\n", flush=True)


async def _read(
    bootstrap: str, prefix: str, number: int, events: int, folder: Path
) -> tuple[float, float, float]:
    settings = settings_of(bootstrap, prefix, folder / f"{number}")
    settings["GROUP_PREFIX"] = f"{prefix}-{number}"
    workers = [Worker("checks", f"w{index}", settings) for index in range(number)]
    async with Ends(bootstrap, f"{prefix}.assessments") as ends:
        base = await ends.count()
        processes = [worker.start() for worker in workers]
        try:
            for worker in workers:
                await worker.until_ready()
            await until_ready(ends, base, processes[0], 60)
            began, first = time.monotonic(), await ends.count()
            before = sum(cpu_seconds(process) for process in processes)
            done = first
            while done - base < events and time.monotonic() - began < LIMIT_SECONDS:
                await asyncio.sleep(0.05)
                done = await ends.count()
            seconds = time.monotonic() - began
            used = sum(cpu_seconds(process) for process in processes) - before
            memory = sum(resident_mb(process) for process in processes)
        finally:
            for process in processes:
                stop(process)
    taken = max(1, done - first)
    return taken / seconds, used / taken * 1e6, memory


class Sent(NamedTuple):
    """One event of the steady load."""

    due: float
    """Seconds since the epoch."""
    partition: int
    root: str | None
    """What its alert is about; None for an event without a finding."""


class Load:
    """Events at a steady rate until it is stopped."""

    def __init__(self, bootstrap: str, topic: str, rate: int) -> None:
        """Send nothing yet."""
        self.sent: dict[str, Sent] = {}
        self._bootstrap = bootstrap
        self._topic = topic
        self._rate = rate
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()

    async def run(self) -> None:
        """Write events when they are due, and note it once the broker has acknowledged them."""
        inputs = installs(MANY, FINDINGS_PERCENT, seed=2, hosts=RUNNERS)
        acknowledged: list[tuple[Input, float, asyncio.Future[RecordMetadata]]] = []
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, linger_ms=0
        ) as producer:
            await producer.partitions_for(self._topic)
            began, clock = time.monotonic(), time.time()
            while not self._stopped.is_set():
                while len(acknowledged) < (time.monotonic() - began) * self._rate:
                    event = next(inputs)
                    due = clock + len(acknowledged) / self._rate
                    future = await producer.send(self._topic, event.value, event.key)
                    acknowledged.append((event, due, future))
                await asyncio.sleep(0.005)
            for event, due, future in acknowledged:
                partition = (await future).partition
                self.sent[event.id] = Sent(due, partition, event.incident_root)


class Restarts(NamedTuple):
    """The restarts of one application's workers, one after the other."""

    application: str
    began: float
    """Seconds since the epoch."""
    ended: float
    stop_s: float
    """The longest stop of a worker."""
    start_s: float
    """The longest start, until ready."""


async def rolling_restart(bootstrap: str, rate: int, folder: Path) -> None:
    """Print how long events and alerts were delayed while each worker was restarted in turn."""
    prefix = f"rolling-{os.getpid()}"
    topic = f"{prefix}.package-install"
    await make_topics(bootstrap, prefix, more=("alerts",))
    settings = settings_of(bootstrap, prefix, folder)
    workers = {
        application: [Worker(application, f"w{index}", settings) for index in range(2)]
        for application in APPLICATIONS
    }
    load = Load(bootstrap, topic, rate)
    restarts: list[Restarts] = []
    try:
        for pair in workers.values():
            for worker in pair:
                worker.start()
        for pair in workers.values():
            for worker in pair:
                await worker.until_ready()
        feeding = asyncio.create_task(load.run())
        await asyncio.sleep(2 * CALM_SECONDS)
        calm = time.time()
        for application, pair in workers.items():
            await asyncio.sleep(CALM_SECONDS)
            began = time.time()
            steps = [await worker.restart() for worker in pair]
            await asyncio.sleep(CALM_SECONDS)
            stops, starts = zip(*steps, strict=True)
            restarts.append(Restarts(application, began, time.time(), max(stops), max(starts)))
        load.stop()
        await feeding
        assessed, alerted = await _outcome(bootstrap, prefix, load.sent)
    finally:
        for pair in workers.values():
            for worker in pair:
                if worker.process is not None:
                    stop(worker.process)
    _print_restarts(rate, load.sent, calm, restarts, assessed, alerted)


class Appended(NamedTuple):
    """The records of one output topic about what was sent."""

    first: Mapping[str, float]
    """When the first record about each name was appended (seconds since the epoch)."""
    twice: int
    """Records beyond the first with the same id."""


async def _outcome(
    bootstrap: str, prefix: str, sent: Mapping[str, Sent]
) -> tuple[Appended, Appended]:
    """Return the assessments by event and the alerts by what they are about."""
    roots = {incident_id(event.root): event.root for event in sent.values() if event.root}

    def event_of(record: aiokafka.ConsumerRecord) -> str | None:
        return _header(record, "ce_causationid")

    def root_of(record: aiokafka.ConsumerRecord) -> str | None:
        return roots.get((record.key or b"").decode().partition("|")[0])

    deadline = time.monotonic() + LAST_SECONDS
    while True:
        assessed = await _appended(bootstrap, f"{prefix}.assessments", event_of)
        alerted = await _appended(bootstrap, f"{prefix}.alerts", root_of)
        whole = len(assessed.first) >= len(sent) and len(alerted.first) >= len(roots)
        if whole or time.monotonic() > deadline:
            return assessed, alerted
        await asyncio.sleep(1)


def _header(record: aiokafka.ConsumerRecord, name: str) -> str | None:
    value = dict(record.headers).get(name)
    return value.decode() if value else None


async def _appended(
    bootstrap: str, topic: str, name_of: Callable[[aiokafka.ConsumerRecord], str | None]
) -> Appended:
    first: dict[str, float] = {}
    ids: Counter[str] = Counter()
    async for record in records_of(bootstrap, topic):
        name = name_of(record)
        if name is not None:
            first.setdefault(name, record.timestamp / 1000)
            ids[_header(record, "ce_id") or ""] += 1
    return Appended(first, sum(times - 1 for times in ids.values()))


def _print_restarts(
    rate: int,
    sent: Mapping[str, Sent],
    calm: float,
    restarts: Sequence[Restarts],
    assessed: Appended,
    alerted: Appended,
) -> None:
    roots = {event.root for event in sent.values() if event.root}
    print(f"## A rolling restart of two workers of each application, {rate} events/s\n")
    print("| application | stop s | start s | delay p99 ms | longest delay ms, by partition |")
    print("|---|--:|--:|--:|---|")
    spans = [Restarts("none", calm - CALM_SECONDS, calm, 0, 0), *restarts]
    for span in spans:
        delays = [
            (event.partition, assessed.first[name] - event.due)
            for name, event in sent.items()
            if span.began <= event.due < span.ended and name in assessed.first
        ]
        alerts = [
            (event.partition, alerted.first[event.root] - event.due)
            for event in sent.values()
            if span.began <= event.due < span.ended
            and event.root is not None
            and event.root in alerted.first
        ]
        for what, values in (("assessments", delays), ("alerts", alerts)):
            print(
                f"| {span.application}: {what} | {span.stop_s:.1f} | {span.start_s:.1f} "
                f"| {_p99_ms(values):,.0f} | {_longest(values)} |"
            )
    print(
        f"\n{len(sent):,} events: {len(sent) - len(assessed.first)} without an assessment, "
        f"{assessed.twice} assessments twice; {len(roots):,} findings: "
        f"{len(roots) - len(alerted.first)} without an alert, {alerted.twice} alerts twice"
    )
    print(f"\nload average {os.getloadavg()[0]:.1f}\n", flush=True)


def _p99_ms(delays: Sequence[tuple[int, float]]) -> float:
    ordered = sorted(delay for _, delay in delays)
    return ordered[int(len(ordered) * 0.99)] * 1000 if ordered else 0.0


def _longest(delays: Sequence[tuple[int, float]]) -> str:
    worst: dict[int, float] = {}
    for partition, delay in delays:
        worst[partition] = max(worst.get(partition, 0.0), delay)
    return ", ".join(f"{worst[number] * 1000:,.0f}" for number in sorted(worst))


def main() -> None:
    """Run both parts, or those named."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.workers", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="of the first part")
    parser.add_argument("--rate", type=int, default=200, help="events a second of the second part")
    parser.add_argument("--parts", default="throughput,restart")
    arguments = parser.parse_args()
    print(f"# {time.strftime('%Y-%m-%d')}: {machine()}\n", flush=True)
    parts = arguments.parts.split(",")
    with tempfile.TemporaryDirectory(prefix="tidewatch-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka", jars=jars_dir()) as broker:
            if "throughput" in parts:
                asyncio.run(throughput(broker.bootstrap, arguments.events, folder / "throughput"))
            if "restart" in parts:
                asyncio.run(rolling_restart(broker.bootstrap, arguments.rate, folder / "restart"))


if __name__ == "__main__":
    main()

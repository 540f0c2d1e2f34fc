"""Open-loop latency: an event's due time until the broker appended what came of it.

Events are due at a steady rate, whatever the reader does; one that is sent late because the
machine is busy counts from when it was due. Append times are the broker's own, on one clock.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import aiokafka
import psutil

from agents.triage.routing import incident_id
from streams.apps.topology import APPLICATIONS
from tests.bench.contestants import PARTITIONS
from tests.bench.processes import (
    ROOT,
    Ends,
    fill,
    make_topics,
    resident_mb,
    start,
    stop,
    until_quiet,
    until_ready,
)
from tests.bench.workload import Input, installs
from tests.installed import TIDEWATCH

RATES = (2_000, 10_000)
CHAINS = ((2_000, 1.0), (10_000, 1.0), (10_000, 0.1))
"""Events a second, and how many of a hundred have a finding."""
WARM_UP_SECONDS = 4.0
"""Not counted, for any contestant: the first events come at the measured rate and fill caches."""
WARM_EVENTS = 20_000
"""Before that: by then the ledger has heard of nearly every release on every runner."""
RUNNERS = 10
"""Of each tenant."""
FINDINGS_PERCENT = 1
QUIET_SECONDS = 5.0
"""How long no alert has come when the chain has caught up with what it was warmed with."""
REST_SECONDS = 8.0
"""How long to wait for the last outputs."""


async def drip(bootstrap: str, topic: str, inputs: Sequence[Input], rate: int) -> dict[str, float]:
    """Write events at `rate` a second; return when each was due (seconds since the epoch)."""
    due: dict[str, float] = {}
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=0) as producer:
        await producer.partitions_for(topic)
        began, clock = time.monotonic(), time.time()
        pending = []
        sent = 0
        while sent < len(inputs):
            upto = min(len(inputs), int((time.monotonic() - began) * rate))
            for record in inputs[sent:upto]:
                due[record.incident_root or record.id] = due[record.id] = clock + sent / rate
                pending.append(await producer.send(topic, record.value, record.key))
                sent += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*pending)
    return due


async def records_of(bootstrap: str, topic: str) -> AsyncIterator[aiokafka.ConsumerRecord]:
    """Yield the records that a topic has by now."""
    async with aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        tps = [aiokafka.TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    yield record


async def appended(
    bootstrap: str, topic: str, name_of: Callable[[aiokafka.ConsumerRecord], str | None]
) -> dict[str, float]:
    """Return when the first record about each name was appended (seconds since the epoch)."""
    found: dict[str, float] = {}
    async for record in records_of(bootstrap, topic):
        name = name_of(record)
        if name is not None:
            found.setdefault(name, record.timestamp / 1000)
    return found


def _event_of(record: aiokafka.ConsumerRecord) -> str | None:
    causation = dict(record.headers).get("ce_causationid")
    return causation.decode() if causation else None


class Delays(NamedTuple):
    """The latency of one run."""

    p50_ms: float
    p99_ms: float
    counted: int
    wanted: int


def _delays(delays: Sequence[float], wanted: int) -> Delays:
    ordered = sorted(delays) or [float("nan")]

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000

    return Delays(at(0.5), at(0.99), len(delays), wanted)


def row(name: str, rate: int, runs: Sequence[Delays]) -> str:
    """Return the row of several runs: medians, with the least and most."""
    counted = sum(run.counted for run in runs)
    wanted = sum(run.wanted for run in runs)
    if not counted:
        return f"| {name} | {rate:,} | none of {wanted} | | |"
    told = [run for run in runs if run.counted]
    p50, p99 = ([getattr(run, key) for run in told] for key in ("p50_ms", "p99_ms"))
    return (
        f"| {name} | {rate:,} | {_spread(p50)} | {_spread(p99)} | {counted:,} of {wanted:,} "
        f"in {len(runs)} |"
    )


def _spread(values: Sequence[float]) -> str:
    middle = f"{statistics.median(values):,.0f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.0f} to {max(values):,.0f})"


async def hop(
    bootstrap: str, name: str, rate: int, seconds: float, folder: Path, number: int
) -> Delays:
    """Return the latency of one contestant: event due until its assessment was appended."""
    prefix = f"hop-{name}-{rate}-{number}-{os.getpid()}"
    topic = f"{prefix}.package-install"
    await make_topics(bootstrap, prefix)
    process = start(name, bootstrap, prefix, prefix, folder / prefix)
    try:
        await fill(bootstrap, topic, installs(WARM_EVENTS, FINDINGS_PERCENT, seed=1, hosts=RUNNERS))
        async with Ends(bootstrap, f"{prefix}.assessments") as ends:
            await until_ready(ends, WARM_EVENTS - 1, process, 90)
        count = int(rate * (seconds + WARM_UP_SECONDS))
        inputs = list(installs(count, FINDINGS_PERCENT, seed=2, hosts=RUNNERS))
        due = await drip(bootstrap, topic, inputs, rate)
        await asyncio.sleep(REST_SECONDS)
    finally:
        stop(process)
    times = await appended(bootstrap, f"{prefix}.assessments", _event_of)
    counted = [record.id for record in inputs[int(rate * WARM_UP_SECONDS) :]]
    delays = [times[key] - due[key] for key in counted if key in times]
    return _delays(delays, len(counted))


async def compare(
    bootstrap: str, names: Sequence[str], seconds: float, folder: Path, *, rounds: int
) -> None:
    """Print the latency of one hop at each rate; the contestants run in turn."""
    print(f"## One hop, open loop, after {WARM_EVENTS:,} events and {WARM_UP_SECONDS:.0f} s\n")
    print("| contestant | events/s | p50 ms | p99 ms | counted |\n|---|--:|--:|--:|--:|")
    for rate in RATES:
        asked = [
            name for name in names if name != "aiokafka" and (rate == RATES[0] or name != "faust")
        ]
        runs: dict[str, list[Delays]] = {name: [] for name in asked}
        for number in range(rounds):
            for name in asked:
                runs[name].append(await hop(bootstrap, name, rate, seconds, folder, number))
        for name in asked:
            print(row(name, rate, runs[name]), flush=True)
    print(f"\nload average {os.getloadavg()[0]:.1f}\n", flush=True)


async def chain(bootstrap: str, seconds: float, folder: Path, *, rounds: int) -> None:
    """Print the latency from event to alert through all apps, and their memory."""
    print("## Event to alert, through checks, ledger and incidents\n")
    print("| chain | events/s | p50 ms | p99 ms | counted |\n|---|--:|--:|--:|--:|")
    memory: list[tuple[str, float]] = []
    for rate, percent in CHAINS:
        runs: list[Delays] = []
        for number in range(rounds):
            run, memory = await _chain(bootstrap, (rate, percent), seconds, folder, number)
            runs.append(run)
        print(row(f"event to alert, {percent:g} % with a finding", rate, runs), flush=True)
    print("\n| process | RSS MB |\n|---|--:|")
    for name, resident in memory:
        print(f"| {name} | {resident:.0f} |")
    print(f"\nload average {os.getloadavg()[0]:.1f}\n", flush=True)


async def _chain(
    bootstrap: str, load: tuple[int, float], seconds: float, folder: Path, number: int
) -> tuple[Delays, list[tuple[str, float]]]:
    rate, percent = load
    prefix = f"chain-{rate}-{percent:g}-{number}-{os.getpid()}"
    topic = f"{prefix}.package-install"
    await make_topics(bootstrap, prefix, more=("alerts",))
    worker = start_worker(bootstrap, prefix, folder / prefix)
    try:
        warm = list(installs(WARM_EVENTS, FINDINGS_PERCENT, seed=1, hosts=RUNNERS))
        await fill(bootstrap, topic, warm)
        async with Ends(bootstrap, f"{prefix}.assessments") as ends:
            await until_ready(ends, WARM_EVENTS - 1, worker, 120)
        # An incident has several alerts: their number does not say how far the chain is.
        async with Ends(bootstrap, f"{prefix}.alerts") as ends:
            await until_ready(ends, 0, worker, 120)
            await until_quiet(ends, QUIET_SECONDS, 120)
        count = int(rate * (seconds + WARM_UP_SECONDS))
        inputs = list(installs(count, percent, seed=2, hosts=RUNNERS))
        due = await drip(bootstrap, topic, inputs, rate)
        await asyncio.sleep(REST_SECONDS)
        memory = _memory(worker)
    finally:
        stop(worker)
    roots = {
        incident_id(record.incident_root): record.incident_root
        for record in inputs[int(rate * WARM_UP_SECONDS) :]
        if record.incident_root
    }

    def root_of(record: aiokafka.ConsumerRecord) -> str | None:
        return roots.get((record.key or b"").decode().partition("|")[0])

    times = await appended(bootstrap, f"{prefix}.alerts", root_of)
    delays = [moment - due[root] for root, moment in times.items()]
    return _delays(delays, len(roots)), memory


def start_worker(bootstrap: str, prefix: str, state: Path) -> psutil.Process:
    """Start all apps, as `tidewatch worker` does."""
    state.mkdir(parents=True, exist_ok=True)
    settings = {
        "KAFKA": bootstrap,
        "TOPIC_PREFIX": f"{prefix}.",
        "GROUP_PREFIX": prefix,
        "STATE_DIR": str(state),
        "PARTITIONS": str(PARTITIONS),
        "LOG_LEVEL": "error",
    }
    with (state / "log").open("wb") as log:
        return psutil.Popen(
            [TIDEWATCH, "worker"],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, **{f"TIDEWATCH_{name}": text for name, text in settings.items()}},
        )


def _memory(worker: psutil.Process) -> list[tuple[str, float]]:
    children = sorted(worker.children(), key=lambda child: child.create_time())
    names = ["supervisor", *sorted(APPLICATIONS)]
    return [
        (name, resident_mb(process))
        for name, process in zip(names, [worker, *children], strict=True)
    ]

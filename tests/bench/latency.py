"""Open-loop latency: an event's due time until the broker appended what came of it.

Events are due at a steady rate, whatever the reader does; one that is sent late because the
machine is busy counts from when it was due. Append times are the broker's own, on one clock.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

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


def _row(name: str, rate: int, delays: Sequence[float], wanted: int) -> str:
    ordered = sorted(delays)
    if not ordered:
        return f"| {name} | {rate:,} | none of {wanted} | | |"

    def at(share: float) -> str:
        return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000:,.0f}"

    return f"| {name} | {rate:,} | {at(0.5)} | {at(0.99)} | {len(ordered):,} of {wanted:,} |"


async def hop(bootstrap: str, name: str, rate: int, seconds: float, folder: Path) -> str:
    """Return the row of one contestant: event due until its assessment was appended."""
    prefix = f"hop-{name}-{rate}-{os.getpid()}"
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
    return _row(name, rate, delays, len(counted))


async def compare(bootstrap: str, names: Sequence[str], seconds: float, folder: Path) -> None:
    """Print the latency of one hop at each rate."""
    print(f"## One hop, open loop, after {WARM_EVENTS:,} events and {WARM_UP_SECONDS:.0f} s\n")
    print("| contestant | events/s | p50 ms | p99 ms | counted |\n|---|--:|--:|--:|--:|")
    for rate in RATES:
        for name in names:
            if name != "aiokafka" and (rate == RATES[0] or name != "faust"):
                print(await hop(bootstrap, name, rate, seconds, folder), flush=True)
    print(f"\nload average {os.getloadavg()[0]:.1f}\n", flush=True)


async def chain(bootstrap: str, seconds: float, folder: Path) -> None:
    """Print the latency from event to alert through all apps, and their memory."""
    print("## Event to alert, through checks, ledger and incidents\n")
    print("| chain | events/s | p50 ms | p99 ms | counted |\n|---|--:|--:|--:|--:|")
    memory: list[tuple[str, float]] = []
    for rate in RATES:
        row, memory = await _chain(bootstrap, rate, seconds, folder)
        print(row, flush=True)
    print("\n| process | RSS MB |\n|---|--:|")
    for name, resident in memory:
        print(f"| {name} | {resident:.0f} |")
    print(f"\nload average {os.getloadavg()[0]:.1f}\n", flush=True)


async def _chain(
    bootstrap: str, rate: int, seconds: float, folder: Path
) -> tuple[str, list[tuple[str, float]]]:
    prefix = f"chain-{rate}-{os.getpid()}"
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
        inputs = list(installs(count, FINDINGS_PERCENT, seed=2, hosts=RUNNERS))
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
    return _row("event to alert", rate, delays, len(roots)), memory


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

"""Whether the whole chain keeps up with a steady load: its lag while events come at one rate.

`python -m tests.bench --parts sustained --minutes 10`. Bounded lag is what counts: at a rate that
is more than the machine can do it grows from one interval to the next.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient

from streams.apps.topology import APPLICATIONS
from tests.bench.latency import RUNNERS, WARM_EVENTS, drip, start_worker
from tests.bench.processes import Ends, cpu_seconds, fill, make_topics, stop, until_ready
from tests.bench.workload import Input, installs

RATE = 10_000
PERCENT = 0.1
INTERVAL_SECONDS = 10.0
SEED = 2


async def measure(bootstrap: str, minutes: float, folder: Path) -> None:
    """Print the records that each application is behind, at intervals, and what it cost."""
    prefix = f"sustained-{os.getpid()}"
    topic = f"{prefix}.package-install"
    await make_topics(bootstrap, prefix, more=("alerts",))
    worker = start_worker(bootstrap, prefix, folder / prefix)
    names = sorted(APPLICATIONS)
    print(f"## {RATE:,} events/s, {PERCENT:g} % with a finding, for {minutes:g} minutes: lag\n")
    print("| s | events | " + " | ".join(names) + " |\n|--:|--:" + "|--:" * len(names) + "|")
    try:
        warm = installs(WARM_EVENTS, PERCENT, seed=1, hosts=RUNNERS)
        await fill(bootstrap, topic, list(warm))
        async with Ends(bootstrap, f"{prefix}.assessments") as ends:
            await until_ready(ends, WARM_EVENTS - 1, worker, 120)
        made = list(installs(int(RATE * INTERVAL_SECONDS), PERCENT, seed=SEED, hosts=RUNNERS))
        cpu, began = cpu_seconds(worker), time.monotonic()
        steps = max(1, round(minutes * 60 / INTERVAL_SECONDS))
        for step in range(steps):
            await drip(bootstrap, topic, _renewed(made, step), RATE)
            lags = await _lags(bootstrap, prefix, names)
            cells = " | ".join(f"{lag:,}" for lag in lags)
            sent = (step + 1) * int(RATE * INTERVAL_SECONDS)
            print(f"| {time.monotonic() - began:.0f} | {sent:,} | {cells} |", flush=True)
        elapsed = time.monotonic() - began
        used = cpu_seconds(worker) - cpu
        print(f"\n{used / elapsed:.2f} cores in use by the four applications", end="")
        print(f", {sent / elapsed:,.0f} events/s on average while events were made and sent\n")
    finally:
        stop(worker)


def _renewed(made: list[Input], step: int) -> list[Input]:
    """Return events as new ones, with findings of their own; making them anew takes a core."""
    findings = installs(sum(event.incident_root is not None for event in made), 100, seed=step + 9)
    old, new = f"evt-{SEED}-", f"evt-{SEED}.{step}-"
    return [
        next(findings)
        if event.incident_root
        else event._replace(
            id=event.id.replace(old, new), value=event.value.replace(old.encode(), new.encode())
        )
        for event in made
    ]


async def _lags(bootstrap: str, prefix: str, names: list[str]) -> list[int]:
    """Return how many records each application has not acknowledged."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await admin.start()
    await consumer.start()
    try:
        lags: list[int] = []
        for name in names:
            held = await admin.list_consumer_group_offsets(f"{prefix}-{name}")
            ends = await consumer.end_offsets(list(held))
            lags.append(sum(max(ends[tp] - max(held[tp].offset, 0), 0) for tp in held))
        return lags
    finally:
        await consumer.stop()
        await admin.close()

"""How many events a second each contestant takes, and what processor time one costs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.contestants import checking
from tests.bench.processes import (
    Ends,
    cpu_seconds,
    fill,
    make_topics,
    resident_mb,
    start,
    stop,
    until_ready,
)
from tests.bench.workload import installs

PERCENTS = (1, 5)
LIMIT_SECONDS = 20.0
"""A slow contestant is measured over this long rather than to the end of the topic."""
PURE_EVENTS = 40_000


class Run(NamedTuple):
    """One contestant's figures."""

    name: str
    events_per_s: float
    cpu_us: float
    """Processor time for each event, microseconds, of all the process's threads."""
    rss_mb: float
    first_s: float
    """From process start to the first output."""


def pure_us(percent: float) -> float:
    """Return the processor time of decode, checks and encoding alone, microseconds an event."""
    check = checking()
    values = [one.value for one in installs(PURE_EVENTS, percent)]
    for value in values[: PURE_EVENTS // 10]:
        list(check(value, [], 1_800_000_000_000))
    check = checking()
    began = time.process_time()
    for value in values:
        for _ in check(value, [], 1_800_000_000_000):
            pass
    return (time.process_time() - began) / len(values) * 1e6


async def run(
    name: str, bootstrap: str, prefix: str, count: int, percent: int, folder: Path
) -> Run:
    """Let one contestant read the filled topic from its start."""
    every = 100 // percent
    wanted = count // every if name == "aiokafka" else count
    weight = every if name == "aiokafka" else 1
    async with Ends(bootstrap, f"{prefix}.assessments") as ends:
        base = await ends.count()
        began = time.monotonic()
        group = f"{prefix}-{name}"
        process = start(name, bootstrap, prefix, group, folder / group, every)
        try:
            first = await until_ready(ends, base, process, 60)
            done0, time0, cpu0 = await ends.count() - base, time.monotonic(), cpu_seconds(process)
            done = done0
            while done < wanted and time.monotonic() - time0 < LIMIT_SECONDS:
                await asyncio.sleep(0.05)
                done = await ends.count() - base
            elapsed = time.monotonic() - time0
            cpu = cpu_seconds(process) - cpu0
            rss = resident_mb(process)
        finally:
            stop(process)
    events = max(1, (done - done0) * weight)
    return Run(name, events / elapsed, cpu / events * 1e6, rss, first - began)


async def compare(bootstrap: str, names: Sequence[str], count: int, folder: Path) -> None:
    """Print the table of throughput, for each share of events with findings."""
    for percent in PERCENTS:
        prefix = f"install{percent}-{os.getpid()}"
        await make_topics(bootstrap, prefix)
        await fill(bootstrap, f"{prefix}.package-install", installs(count, percent))
        pure = pure_us(percent)
        runs = [await run(name, bootstrap, prefix, count, percent, folder) for name in names]
        _print(percent, pure, runs)


def _print(percent: int, pure: float, runs: Sequence[Run]) -> None:
    print(
        f"## Installs of two packages, {percent} % with a finding (checks alone: {pure:.0f} µs)\n"
    )
    print("| contestant | events/s | CPU µs/event | beyond the checks | RSS MB | first output s |")
    print("|---|--:|--:|--:|--:|--:|")
    by_name = {one.name: one for one in runs}
    for one in runs:
        beyond = f"{one.cpu_us - pure:.0f}" if one.name != "aiokafka" else "no checks"
        print(
            f"| {one.name} | {one.events_per_s:,.0f} | {one.cpu_us:.1f} | {beyond} "
            f"| {one.rss_mb:.0f} | {one.first_s:.1f} |"
        )
    engine, faust = by_name["engine"], by_name["faust"]
    times = engine.events_per_s / faust.events_per_s
    share = (faust.cpu_us - pure) / max(0.1, engine.cpu_us - pure)
    print(
        f"\nengine : stock Faust = {times:.1f} times the throughput, 1/{share:.1f} of the overhead"
        f"; load average {os.getloadavg()[0]:.1f}\n",
        flush=True,
    )

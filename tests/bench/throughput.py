"""How many events a second each contestant takes, and what processor time one costs."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench import before
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
RUNS = 5
LIMIT_SECONDS = 6.0
"""A run lasts this long at most, rather than to the end of the topic."""
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
    values = [install.value for install in installs(PURE_EVENTS, percent)]
    for value in values[: PURE_EVENTS // 10]:
        list(check(value, [], 1_800_000_000_000))
    check = checking()
    began = time.process_time()
    for value in values:
        for _ in check(value, [], 1_800_000_000_000):
            pass
    return (time.process_time() - began) / len(values) * 1e6


async def run(
    name: str, bootstrap: str, prefix: str, group: str, count: int, percent: int, folder: Path
) -> Run:
    """Let one contestant read the filled topic from its start."""
    every = 100 // percent
    wanted = count // every if name == "aiokafka" else count
    weight = every if name == "aiokafka" else 1
    async with Ends(bootstrap, f"{prefix}.assessments") as ends:
        base = await ends.count()
        began = time.monotonic()
        group = f"{group}-{name}"
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


async def compare(
    bootstrap: str, names: Sequence[str], count: int, folder: Path, *, rounds: int = RUNS
) -> None:
    """Print the table of throughput, for each share of events with findings.

    Args:
        bootstrap: The Kafka.
        names: The contestants. Each runs once in each round: all have the same machine.
        count: How many events lie ready.
        folder: For state and logs.
        rounds: How often each runs.
    """
    for percent in PERCENTS:
        prefix = f"install{percent}-{os.getpid()}"
        await make_topics(bootstrap, prefix)
        await fill(bootstrap, f"{prefix}.package-install", installs(count, percent))
        pure = pure_us(percent)
        runs: dict[str, list[Run]] = {name: [] for name in names}
        for number in range(rounds):
            order = names if number % 2 == 0 else names[::-1]
            for name in order:
                group = f"{prefix}-{number}"
                one = await run(name, bootstrap, prefix, group, count, percent, folder)
                runs[name].append(one)
        _print(percent, pure, runs)


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Return the median of some figures, and the least and the most."""
    ordered = sorted(values)
    middle = statistics.median(ordered)
    return f"{middle:,.{digits}f} ({ordered[0]:,.{digits}f} to {ordered[-1]:,.{digits}f})"


def _print(percent: int, pure: float, runs: Mapping[str, Sequence[Run]]) -> None:
    print(
        f"## Installs of two packages, {percent} % with a finding (checks alone: {pure:.0f} µs)\n"
    )
    print(f"{len(runs['engine'])} runs of each in turn: the median, and the least and most.")
    print(f"`before` is revision {before.REVISION[:12]}; the checks alone are this one's.\n")
    print("| contestant | events/s | CPU µs/event | beyond the checks | RSS MB | first output s |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, each in runs.items():
        cpu = statistics.median(run.cpu_us for run in each)
        beyond = {"aiokafka": "no checks", "before": "other checks"}.get(name, f"{cpu - pure:.0f}")
        print(
            f"| {name} | {spread(run.events_per_s for run in each)} "
            f"| {spread((run.cpu_us for run in each), 1)} | {beyond} "
            f"| {statistics.median(run.rss_mb for run in each):.0f} "
            f"| {statistics.median(run.first_s for run in each):.1f} |"
        )
    print()
    for name, each in runs.items():
        if name != "engine":
            pairs = list(zip(runs["engine"], each, strict=True))
            rates = spread((ours.events_per_s / other.events_per_s for ours, other in pairs), 2)
            costs = spread((other.cpu_us / ours.cpu_us for ours, other in pairs), 2)
            print(f"engine : {name} = {rates} times the events/s, {costs} times less CPU")
    print(f"\nload average {os.getloadavg()[0]:.1f}\n", flush=True)

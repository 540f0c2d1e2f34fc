"""Throughput of the whole chain with a feed of intelligence held, beside the same without.

All four apps run; a run is over when each has committed all that came of the events. The two run
in turn, several times and on the same events, so that each pair has the same machine under it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import aiokafka
import psutil

from streams.cli.live_view import TopicFollower
from streams.kafka.topics import ensure_topics
from streams.settings import Settings, load_settings
from tests.bench.contestants import PARTITIONS
from tests.bench.latency import start_worker
from tests.bench.processes import cpu_seconds, fill, stop
from tests.bench.workload import facts, installs

PAIRS = 5
FINDINGS_PERCENT = 1
WARM_EVENTS = 2_000
"""Checked before the clock starts: every app has its partitions, its state and the feed."""
LIMIT_SECONDS = 240.0
LOOK_SECONDS = 0.1


class Run(NamedTuple):
    """What one run came to."""

    events_per_s: float
    """Events of which everything is done, by all apps."""
    cpu_us: float
    """Processor time of all apps for each event, microseconds."""


async def finished(settings: Settings, worker: psutil.Process, events: int) -> float:
    """Wait until all apps have done all that came of `events`; return when (monotonic).

    Raises:
        TimeoutError: It did not come to that, or the worker ended.
    """
    follower = TopicFollower(settings)
    sampling = asyncio.ensure_future(follower.sample(LOOK_SECONDS))
    deadline = time.monotonic() + LIMIT_SECONDS
    looks = 0
    try:
        # two looks in a row: what one app wrote between two questions belongs to the next one
        while looks < 2:
            if sampling.done():
                sampling.result()
            if time.monotonic() > deadline or not worker.is_running():
                raise TimeoutError(f"behind by {follower.view.lag}")
            await asyncio.sleep(LOOK_SECONDS)
            view = follower.view
            looks = looks + 1 if view.settled and view.events >= events else 0
        return time.monotonic()
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)


async def publish_facts(bootstrap: str, prefix: str) -> None:
    """Fill the intel topic of a run with as many facts as a public feed holds."""
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        pending = [
            await producer.send(f"{prefix}.intel", value, key.encode()) for key, value in facts()
        ]
        await asyncio.gather(*pending)


async def run(bootstrap: str, prefix: str, count: int, folder: Path, *, with_facts: bool) -> Run:
    """Let all apps work off `count` events that lie ready."""
    settings = load_settings(
        kafka=bootstrap, topic_prefix=f"{prefix}.", group_prefix=prefix, partitions=PARTITIONS
    )
    await ensure_topics(settings)
    await asyncio.sleep(1)  # until every partition has its leader
    if with_facts:
        await publish_facts(bootstrap, prefix)
    topic = f"{prefix}.package-install"
    await fill(bootstrap, topic, installs(WARM_EVENTS, FINDINGS_PERCENT, seed=1))
    worker = start_worker(bootstrap, prefix, folder / prefix)
    try:
        await finished(settings, worker, WARM_EVENTS)
        for process in worker.children():
            process.suspend()
        await fill(bootstrap, topic, installs(count, FINDINGS_PERCENT, seed=2))
        cpu, began = cpu_seconds(worker), time.monotonic()
        for process in worker.children():
            process.resume()
        ended = await finished(settings, worker, WARM_EVENTS + count)
        cpu = cpu_seconds(worker) - cpu
    finally:
        for process in worker.children():
            process.resume()
        stop(worker)
    return Run(count / (ended - began), cpu / count * 1e6)


async def compare(bootstrap: str, count: int, folder: Path) -> None:
    """Print what a feed costs the whole chain."""
    runs: dict[bool, list[Run]] = {False: [], True: []}
    for pair in range(PAIRS):
        # each comes first in turn: neither always finds the machine as the other left it
        for with_facts in (False, True) if pair % 2 == 0 else (True, False):
            prefix = f"feed-{pair}-{int(with_facts)}-{os.getpid()}"
            one = await run(bootstrap, prefix, count, folder, with_facts=with_facts)
            runs[with_facts].append(one)
    print(f"## The whole chain, installs of two packages, {FINDINGS_PERCENT} % with a finding\n")
    print(f"{count:,} events, {PAIRS} runs of each in turn; the median, and the least and most\n")
    print("| intelligence | events/s | CPU µs/event, all apps |\n|---|--:|--:|")
    for with_facts, name in ((False, "none"), (True, "11,000 facts")):
        rates = sorted(run.events_per_s for run in runs[with_facts])
        costs = sorted(run.cpu_us for run in runs[with_facts])
        print(f"| {name} | {_spread(rates)} | {_spread(costs)} |")
    ratios = [
        held.events_per_s / free.events_per_s
        for free, held in zip(runs[False], runs[True], strict=True)
    ]
    print(
        f"\nwith intelligence : without, pair by pair = {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); load average {os.getloadavg()[0]:.1f}\n",
        flush=True,
    )


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({values[0]:,.0f} to {values[-1]:,.0f})"

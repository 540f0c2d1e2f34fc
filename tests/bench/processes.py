"""Starts contestants and topics, feeds them, and watches how far they are."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import aiokafka
import psutil
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from tests.bench import before
from tests.bench.contestants import OUTPUTS, PARTITIONS
from tests.bench.workload import Input

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "before"
"""The checks app of the revision that today's is compared with."""


def quix_python() -> str | None:
    """Return the interpreter of the environment that has Quix Streams, None where it is absent."""
    named = os.environ.get("BENCH_PYTHON", str(ROOT / ".venv" / "bench" / "bin" / "python"))
    return named if Path(named).exists() else None


def start(
    name: str, bootstrap: str, prefix: str, group: str, state: Path, every: int = 20
) -> psutil.Process:
    """Start a contestant in a process of its own; its log lies in the state folder."""
    python, root, libraries = sys.executable, ROOT, sysconfig.get_path("purelib")
    if name == "quix":
        python = quix_python() or python
    elif name == BEFORE:  # the program that measured that revision, with its libraries alone
        python, root, libraries = str(before.PYTHON), before.SOURCE, ""
        name = "engine"
    state.mkdir(parents=True, exist_ok=True)
    options = {"bootstrap": bootstrap, "prefix": prefix, "group": group, "every": str(every)}
    command = [python, "-m", "tests.bench.contestants", name, "--state", str(state)]
    for option, value in options.items():
        command += [f"--{option}", value]
    with (state / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=root,
            stdout=log,
            stderr=log,
            env={**os.environ, "BENCH_LIBRARIES": libraries},
        )
    return psutil.Process(process.pid)


def stop(process: psutil.Process) -> None:
    """Kill a process and those it started."""
    if not process.is_running():
        return
    family = [*process.children(recursive=True), process]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)


async def make_topics(bootstrap: str, prefix: str, more: Sequence[str] = ()) -> None:
    """Make the topics of a run; outputs carry the broker's append time."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    append = {"message.timestamp.type": "LogAppendTime"}
    topics = [NewTopic(f"{prefix}.package-install", PARTITIONS, 1)]
    topics += [
        NewTopic(f"{prefix}.{name}", PARTITIONS, 1, topic_configs=append)
        for name in (*OUTPUTS, *more)
    ]
    answer = await admin.create_topics(topics)
    for _, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error
    await admin.close()
    await asyncio.sleep(1)  # until every partition has its leader


async def fill(bootstrap: str, topic: str, inputs: Iterable[Input]) -> None:
    """Write events as fast as it goes."""
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type="lz4",
        linger_ms=20,
        max_batch_size=512 * 1024,
    ) as producer:
        pending = []
        for record in inputs:
            pending.append(await producer.send(topic, record.value, record.key))
            if len(pending) >= 10_000:
                await asyncio.gather(*pending)
                pending = []
        await asyncio.gather(*pending)


class Ends:
    """How many records a topic has had, by its partitions' ends."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Ask nothing yet."""
        self._topic = topic
        self._client = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False
        )

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._client.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._client.stop()

    async def count(self) -> int:
        """Return the sum of the partitions' ends."""
        tps = [aiokafka.TopicPartition(self._topic, number) for number in range(PARTITIONS)]
        return sum((await self._client.end_offsets(tps)).values())


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time a process and its children have used."""
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        times = member.cpu_times()
        total += times.user + times.system
    return total


def resident_mb(process: psutil.Process) -> float:
    """Return the resident memory of a process, MB."""
    return float(process.memory_info().rss) / 1e6


async def until_ready(ends: Ends, base: int, process: psutil.Process, seconds: float) -> float:
    """Wait until more than `base` records are there; return the time it became so (monotonic).

    Raises:
        TimeoutError: It did not, or the process ended.
    """
    deadline = time.monotonic() + seconds
    while await ends.count() <= base:
        if time.monotonic() > deadline or process.status() == psutil.STATUS_ZOMBIE:
            raise TimeoutError(
                f"nothing came out of process {process.pid}; see the log in its state folder"
            )
        await asyncio.sleep(0.02)
    return time.monotonic()


async def until_quiet(ends: Ends, quiet: float, seconds: float) -> None:
    """Wait until a topic has had no new record for `quiet` seconds.

    Raises:
        TimeoutError: Records still come after `seconds`.
    """
    deadline = time.monotonic() + seconds
    count, since = await ends.count(), time.monotonic()
    while time.monotonic() - since < quiet:
        if time.monotonic() > deadline:
            raise TimeoutError(f"records still come after {seconds:.0f} s")
        await asyncio.sleep(0.1)
        if (now := await ends.count()) != count:
            count, since = now, time.monotonic()

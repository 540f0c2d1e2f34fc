"""How long a worker takes from its start to its first output, and the demonstration to an alert."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

from streams.broker.paths import jars_dir
from tests.bench.latency import start_worker
from tests.bench.processes import ROOT, Ends, fill, make_topics, stop, until_ready
from tests.bench.workload import installs
from tests.installed import TIDEWATCH

EVENTS = 200
DEMO_SECONDS = 180.0


async def measure(bootstrap: str, folder: Path) -> None:
    """Print the table of start-up times."""
    prefix = f"start-{os.getpid()}"
    await make_topics(bootstrap, prefix, more=("alerts",))
    await fill(bootstrap, f"{prefix}.package-install", installs(EVENTS, 5))
    print("## From process start\n\n| what | seconds |\n|---|--:|", flush=True)
    for label in ("first", "second"):
        async with Ends(bootstrap, f"{prefix}.alerts") as ends:
            base = await ends.count()
            began = time.monotonic()
            worker = start_worker(bootstrap, prefix, folder / prefix)
            try:
                if label == "second":  # the first has committed what was there
                    await fill(
                        bootstrap, f"{prefix}.package-install", installs(EVENTS, 5, first=EVENTS)
                    )
                ready = await until_ready(ends, base, worker, 120)
            finally:
                worker.terminate()
                await asyncio.to_thread(worker.wait, 60)
                stop(worker)
        print(f"| all four apps, {label} start, to an alert | {ready - began:.1f} |", flush=True)
    for label in ("first", "second"):
        first, total = await demo(folder / "demo")
        print(f"| `up --demo --fresh`, {label} start, from typing to an alert | {first:.1f} |")
        print(f"| the same, to the summary and the end | {total:.1f} |", flush=True)
    print()


async def demo(state: Path) -> tuple[float, float]:
    """Run the demonstration on an empty broker of its own.

    Returns:
        Seconds from process start to the first alert, and to the end.
    """
    (state / "kafka").mkdir(parents=True, exist_ok=True)
    jars = state / "kafka" / "jars"
    if not jars.exists():
        jars.symlink_to(jars_dir())
    began = time.time()
    process = await asyncio.create_subprocess_exec(
        *(TIDEWATCH, "up", "--demo", "--fresh", "--exit-when-done"),
        cwd=ROOT,
        env={**os.environ, "TIDEWATCH_STATE_DIR": str(state)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    text, _ = await asyncio.wait_for(process.communicate(), DEMO_SECONDS)
    total = time.time() - began
    found = re.search(rb"first alert after ([0-9.]+) s", text)
    if found is None:
        raise RuntimeError(f"the demonstration showed no alert: {text[-500:]!r}")
    return float(found[1]), total

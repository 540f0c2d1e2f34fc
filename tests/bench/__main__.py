"""Measures the checks' hop and the whole chain on one machine, and prints one table.

`make bench`, or `python -m tests.bench`: an embedded broker is started unless one is named.
Contestants: the checks app, that of an earlier revision, a stock Faust agent and Quix Streams doing
the same checks, and a bare aiokafka loop doing none. Every figure of one run comes from one machine
at one time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from streams.broker import EmbeddedBroker
from streams.broker.paths import jars_dir
from tests.bench import before, gateway, intelligence, latency, start_up, sustained, throughput
from tests.bench.processes import BEFORE, quix_python


def machine() -> str:
    """Return what ran the benchmark."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    gib = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{model}, {os.cpu_count()} cores, {gib:.0f} GiB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, "
        f"load average {load:.1f} at the start"
    )


async def measure(bootstrap: str, args: argparse.Namespace, folder: Path) -> None:
    """Run the parts asked for and print each as it is ready."""
    parts = set(args.parts.split(","))
    names = ["engine", "faust", "aiokafka", *(["quix"] if quix_python() else [])]
    if "throughput" in parts:
        earlier = [BEFORE] if before.built() else []
        every = [*earlier, *names]
        await throughput.compare(bootstrap, every, args.events, folder, rounds=args.runs)
    if "intelligence" in parts:
        await intelligence.compare(bootstrap, args.events // 5, folder)
    if "latency" in parts:
        await latency.compare(bootstrap, names, args.seconds, folder, rounds=args.runs)
    if "chain" in parts:
        await latency.chain(bootstrap, args.seconds, folder, rounds=args.runs)
    if "sustained" in parts:
        await sustained.measure(bootstrap, args.minutes, folder)
    if "gateway" in parts:
        await gateway.compare(bootstrap, args.seconds, folder)
    if "start" in parts:
        await start_up.measure(bootstrap, folder)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--bootstrap", help="a Kafka of your own")
    parser.add_argument("--events", type=int, default=200_000, help="for each throughput run")
    parser.add_argument("--runs", type=int, default=throughput.RUNS, help="of each row")
    parser.add_argument("--seconds", type=float, default=15, help="for each latency run")
    parser.add_argument("--minutes", type=float, default=1, help="of the sustained run")
    parser.add_argument(
        "--parts",
        default="throughput,intelligence,latency,chain,sustained,gateway,start",
        help="which, separated by commas",
    )
    args = parser.parse_args()
    print(f"# {time.strftime('%Y-%m-%d')}: {machine()}\n", flush=True)
    if quix_python() is None:
        print("Quix Streams is left out: its environment is not there (make bench)\n")
    if not before.built():
        print("The revision before is left out: it is not built (make bench)\n")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bootstrap = args.bootstrap
        if bootstrap is None:
            broker = EmbeddedBroker(folder / "broker", jars=jars_dir())
            bootstrap = stack.enter_context(broker).bootstrap
        asyncio.run(measure(bootstrap, args, folder))
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()

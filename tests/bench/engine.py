"""Measures the stream engine's hop beside stock Faust and a bare aiokafka loop.

Run it with `python tests/bench/engine.py`; it starts an embedded broker unless one is named.
Throughput: a full topic is read, each event decoded, 5 % of them written out, delivered before
commit. Latency, open loop: event created until its output was appended by the broker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import aiokafka  # noqa: E402
import orjson  # noqa: E402
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # noqa: E402

PARTITIONS = 4
WARM_UP_SECONDS = 1.0
"""Not counted, for any contestant: connections are made and caches filled."""
EVENT = {
    "specversion": "1.0",
    "type": "package-install",
    "tenantid": "acme",
    "source": "ci/acme/build",
    "data": {"host": "gpu-01", "packages": [{"name": "torch", "version": "2.4.0"}] * 2},
}
CONTESTANTS = ("aiokafka", "faust", "engine", "engine-rows", "faust-rows")


def event(number: int) -> bytes:
    """Return one event, made now."""
    return orjson.dumps({**EVENT, "id": number, "made": time.time()})


async def fill(bootstrap: str, topic: str, count: int) -> None:
    """Write `count` events as fast as it goes."""
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type="lz4",
        linger_ms=20,
        max_batch_size=512 * 1024,
    )
    await producer.start()
    pending = [
        await producer.send(topic, event(number), b"k%d" % (number % 1000))
        for number in range(count)
    ]
    await asyncio.gather(*pending)
    await producer.stop()


async def drip(bootstrap: str, topic: str, rate: int, seconds: float) -> None:
    """Write `rate` events a second, whatever the reader does."""
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=0)
    await producer.start()
    began = time.monotonic()
    number = 0
    pending = []
    while time.monotonic() - began < seconds:
        due = int((time.monotonic() - began) * rate)
        while number < due:
            pending.append(await producer.send(topic, event(number), b"k%d" % (number % 1000)))
            number += 1
        await asyncio.sleep(0.002)
    await asyncio.gather(*pending)
    await producer.stop()


async def make_topics(bootstrap: str, prefix: str) -> None:
    """Make the topics of one run; outputs carry the broker's append time."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    append = {"message.timestamp.type": "LogAppendTime"}
    await admin.create_topics(
        [
            NewTopic(f"{prefix}.observations", PARTITIONS, 1),
            NewTopic(f"{prefix}.iocs", PARTITIONS, 1, topic_configs=append),
        ]
    )
    await admin.close()


async def outputs(
    bootstrap: str, prefix: str, wanted: int, deadline: float
) -> list[tuple[int, float]]:
    """Return (append time ms, latency s) of each output, once `wanted` have come."""
    consumer = aiokafka.AIOKafkaConsumer(
        f"{prefix}.iocs", bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    seen: dict[int, tuple[int, float]] = {}
    while len(seen) < wanted and time.monotonic() < deadline:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                body = orjson.loads(record.value)
                seen.setdefault(
                    body["id"], (record.timestamp, record.timestamp / 1000 - body["made"])
                )
    await consumer.stop()
    return list(seen.values())


def contestant(name: str, bootstrap: str, prefix: str, every: int, state: str) -> None:
    """Read, decode, and write every `every`th event out, until killed."""
    if name == "aiokafka":
        asyncio.run(_bare(bootstrap, prefix, every))
    elif name.startswith("engine"):
        _engine(name, bootstrap, prefix, every, state)
    else:
        _stock(name, bootstrap, prefix, every, state)


async def _bare(bootstrap: str, prefix: str, every: int) -> None:
    consumer = aiokafka.AIOKafkaConsumer(
        f"{prefix}.observations",
        bootstrap_servers=bootstrap,
        group_id=f"{prefix}-bare",
        auto_offset_reset="earliest",
    )
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="lz4")
    await consumer.start()
    await producer.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            for record in records:
                body = orjson.loads(record.value)
                if body["id"] % every == 0:
                    await producer.send(f"{prefix}.iocs", _output(body), record.key)


def _output(body: dict[str, Any]) -> bytes:
    return orjson.dumps({"id": body["id"], "made": body["made"]})


def _engine(name: str, bootstrap: str, prefix: str, every: int, state: str) -> None:
    from agents.ports import Message  # noqa: PLC0415 -- not in the other contestants
    from schemas.channels import Channel  # noqa: PLC0415
    from streams.app import run  # noqa: PLC0415
    from streams.logs import configure_logs  # noqa: PLC0415
    from streams.runtime import Binding  # noqa: PLC0415
    from streams.settings import load_settings  # noqa: PLC0415

    def decode(record: Any, origin: Any) -> Any:
        del origin
        return orjson.loads(record.value)

    async def plain(batch: Any, publish: Any) -> None:
        for delivery in batch.deliveries:
            body = delivery.value
            if body["id"] % every == 0:
                publish(Message(channel=Channel.IOCS, key="k", value=_output(body)))

    async def rows(batch: Any, publish: Any, rows: Any) -> None:
        for delivery in batch.deliveries:
            body = delivery.value
            key = delivery.record.key.decode()
            old = rows.get(key)
            rows.put(key, orjson.dumps((orjson.loads(old) if old else 0) | (body["id"] & 1)))
            if body["id"] % every == 0:
                publish(Message(channel=Channel.IOCS, key="k", value=_output(body)))

    keeps = name.endswith("rows")
    settings = load_settings(
        kafka=bootstrap,
        topic_prefix=f"{prefix}.",
        group_prefix=prefix,
        state_dir=state,
        log_level="error",
    )
    configure_logs(settings)
    binding = Binding(
        name="rows",
        channels=(Channel.OBSERVATIONS,),
        agent=rows if keeps else plain,
        decode=decode,
        rows=keeps,
    )
    run("bench", [binding], settings)


def _stock(name: str, bootstrap: str, prefix: str, every: int, state: str) -> None:
    import faust  # noqa: PLC0415 -- not in the other contestants

    app = faust.App(
        prefix,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=state,
        web_enabled=False,
        topic_partitions=PARTITIONS,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
        stream_wait_empty=False,
        producer_linger=0.005,
    )
    source = app.topic(f"{prefix}.observations", value_type=bytes, partitions=PARTITIONS)
    target = app.topic(f"{prefix}.iocs", value_serializer="raw", partitions=PARTITIONS)
    table = app.Table("seen", default=int, partitions=PARTITIONS) if "rows" in name else None

    @app.agent(source)
    async def work(stream: Any) -> None:
        async for event_ in stream.events():
            body = orjson.loads(event_.value)
            if table is not None:
                key = event_.key.decode()
                table[key] |= body["id"] & 1
            if body["id"] % every == 0:
                await target.send(key=event_.key, value=_output(body))

    app.finalize()
    worker = faust.Worker(app, loglevel="error")
    worker.execute_from_commandline()


def start(
    name: str, bootstrap: str, prefix: str, every: int, state: str
) -> subprocess.Popen[bytes]:
    """Start a contestant in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--contestant",
        name,
        "--bootstrap",
        bootstrap,
        "--prefix",
        prefix,
        "--every",
        str(every),
        "--state",
        state,
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
    )


async def throughput(bootstrap: str, name: str, count: int, every: int) -> dict[str, Any]:
    """Return events/s over the middle of a run, by the append times of the outputs."""
    prefix = f"thr-{name}-{os.getpid()}"
    await make_topics(bootstrap, prefix)
    await fill(bootstrap, f"{prefix}.observations", count)
    with tempfile.TemporaryDirectory() as state:
        worker = start(name, bootstrap, prefix, every, state)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seen = await outputs(bootstrap, prefix, count // every, time.monotonic() + 60)
        rss = _resident(worker.pid)
        worker.kill()
        worker.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = sorted(stamp for stamp, _ in seen)
    if len(times) < 3:
        return {"name": name, "events_per_s": 0}
    rate = len(times) * every / max(0.001, (times[-1] - times[0]) / 1000)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "name": name,
        "events_per_s": round(rate),
        "of": f"{len(times)}/{count // every}",
        "cpu_s": round(cpu, 1),
        "rss_mb": rss,
    }


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


async def latency(bootstrap: str, name: str, rate: int, seconds: float) -> dict[str, Any]:
    """Return open-loop latency percentiles in ms, at `rate` events/s, one output per 20."""
    prefix = f"lat-{name}-{rate}-{os.getpid()}"
    await make_topics(bootstrap, prefix)
    with tempfile.TemporaryDirectory() as state:
        worker = start(name, bootstrap, prefix, 20, state)
        await fill(bootstrap, f"{prefix}.observations", 100)
        await outputs(bootstrap, prefix, 5, time.monotonic() + 30)
        warm = time.time() + WARM_UP_SECONDS
        await drip(bootstrap, f"{prefix}.observations", rate, seconds + WARM_UP_SECONDS)
        wanted = int(rate * (seconds + WARM_UP_SECONDS) / 20) - 1
        seen = await outputs(bootstrap, prefix, wanted, time.monotonic() + 10)
        worker.kill()
        worker.wait()
    delays = sorted(delay for stamp, delay in seen if stamp / 1000 - delay > warm)
    if not delays:
        return {"name": name, "rate": rate}
    return {
        "name": name,
        "rate": rate,
        "n": len(delays),
        "p50_ms": round(delays[len(delays) // 2] * 1000, 1),
        "p99_ms": round(delays[int(len(delays) * 0.99)] * 1000, 1),
    }


async def compare(bootstrap: str, names: list[str], count: int, seconds: float) -> None:
    """Print one line for each measurement."""
    for name in names:
        size = count if not name.startswith("faust") else count // 10
        print(json.dumps(await throughput(bootstrap, name, size, 20)), flush=True)
    for name in names:
        if name != "aiokafka":
            print(json.dumps(await latency(bootstrap, name, 2000, seconds)), flush=True)


def main() -> None:
    """Run the comparison, or one contestant of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap")
    parser.add_argument("--contestant")
    parser.add_argument("--prefix", default="bench")
    parser.add_argument("--state", default="")
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--only", default=",".join(CONTESTANTS))
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    if args.contestant:
        contestant(args.contestant, args.bootstrap, args.prefix, args.every, args.state)
        return
    names = args.only.split(",")
    if args.bootstrap:
        asyncio.run(compare(args.bootstrap, names, args.events, args.seconds))
        return
    from streams.broker import EmbeddedBroker  # noqa: PLC0415 -- only when none is named

    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker(Path(folder)) as broker:
        asyncio.run(compare(broker.bootstrap, names, args.events, args.seconds))


if __name__ == "__main__":
    main()

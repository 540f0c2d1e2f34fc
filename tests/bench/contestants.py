"""The programs that are compared: each checks every package install and writes what follows.

Run as `python -m tests.bench.contestants NAME …` in a process of its own, until killed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

# Quix Streams lives in an environment of its own; the checks' libraries are in this one.
sys.path.extend(path for path in os.environ.get("BENCH_LIBRARIES", "").split(":") if path)

if TYPE_CHECKING:
    from agents.ports import Message

PARTITIONS = 4
OUTPUTS = ("observations", "incident-updates", "assessments", "operator-alerts")
MAX_BYTES = 1024 * 1024
Headers = list[tuple[str, bytes]]


def checking() -> Callable[[bytes, Headers, int], Iterator[Message]]:
    """Return what reads, validates and checks one install and yields the records that go out."""
    from agents.checking import SightingDeduplicator  # noqa: PLC0415 -- the bare loop has none
    from agents.domain.knowledge import MemoryKnowledge  # noqa: PLC0415
    from agents.package_install import install_check  # noqa: PLC0415
    from schemas.cloudevents import read_event  # noqa: PLC0415

    of_event = install_check(MemoryKnowledge(), SightingDeduplicator())

    def check(value: bytes, headers: Headers, timestamp_ms: int) -> Iterator[Message]:
        event = read_event(value, headers, timestamp_ms=timestamp_ms, max_bytes=MAX_BYTES)
        return of_event(event)

    return check


async def bare(bootstrap: str, prefix: str, group: str, every: int) -> None:
    """Read with aiokafka, decode JSON, write one record for every `every` events: no checks."""
    import aiokafka  # noqa: PLC0415 -- not in every contestant
    import orjson  # noqa: PLC0415

    consumer = aiokafka.AIOKafkaConsumer(
        f"{prefix}.package-install",
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
    )
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="lz4")
    await consumer.start()
    await producer.start()
    done = 0
    while True:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            for record in records:
                body = orjson.loads(record.value)
                done += 1
                if done % every == 0:
                    await producer.send(f"{prefix}.assessments", body["id"].encode(), record.key)


def engine(bootstrap: str, prefix: str, group: str, state: str) -> None:
    """Run the checks app as it is."""
    from streams.apps.supervisor import run_app  # noqa: PLC0415
    from streams.settings import load_settings  # noqa: PLC0415 -- not in every contestant

    settings = load_settings(
        kafka=bootstrap,
        topic_prefix=f"{prefix}.",
        group_prefix=group,
        state_dir=state,
        partitions=PARTITIONS,
        log_level="error",
    )
    sys.exit(run_app("checks", settings))


def stock_faust(bootstrap: str, prefix: str, group: str, state: str) -> None:
    """Run the same checks in a stock Faust agent, its sends awaited."""
    import faust  # noqa: PLC0415 -- not in every contestant

    check = checking()
    app = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=state,
        web_enabled=False,
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
        stream_wait_empty=False,
        producer_linger=0.005,
    )
    source = app.topic(f"{prefix}.package-install", value_type=bytes, partitions=PARTITIONS)
    targets = {
        name: app.topic(f"{prefix}.{name}", value_serializer="raw", partitions=PARTITIONS)
        for name in OUTPUTS
    }

    @app.agent(source)
    async def work(stream: Any) -> None:
        async for event in stream.events():
            headers = list((event.headers or {}).items())
            for message in check(event.value, headers, int(event.message.timestamp * 1000)):
                await targets[message.channel].send(
                    key=message.key.encode(), value=message.value, headers=list(message.headers)
                )

    app.finalize()
    sys.argv = sys.argv[:1]
    faust.Worker(app, loglevel="error").execute_from_commandline()


def quix(bootstrap: str, prefix: str, group: str, state: str) -> None:
    """Run the same checks in Quix Streams, which delivers its outputs before it commits."""
    from quixstreams import Application  # noqa: PLC0415 -- only in its own environment
    from quixstreams.models.serializers import Serializer  # noqa: PLC0415

    check = checking()
    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=state,
        loglevel="ERROR",
        commit_interval=0.3,
        producer_extra_config={"compression.type": "lz4", "linger.ms": 5},
    )

    class _Value(Serializer):  # type: ignore[misc]  # it comes without types
        def __call__(self, value: Any, ctx: Any) -> Any:
            del ctx
            return value.value

    source = app.topic(f"{prefix}.package-install", value_deserializer="bytes")
    targets = {name: app.topic(f"{prefix}.{name}", value_serializer=_Value()) for name in OUTPUTS}

    def expand(value: bytes, key: Any, timestamp: int, headers: Any) -> list[Message]:
        del key
        return list(check(value, list(headers or ()), timestamp))

    frame = app.dataframe(source).apply(expand, expand=True, metadata=True)
    frame = frame.set_headers(lambda message, *_: list(message.headers))
    frame.to_topic(
        lambda message, *_: targets[message.channel], key=lambda message: message.key.encode()
    )
    app.run()


def main() -> None:
    """Run one contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("aiokafka", "faust", "engine", "quix"))
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--state", required=True)
    parser.add_argument("--every", type=int, default=20)
    args = parser.parse_args()
    if args.name == "aiokafka":
        asyncio.run(bare(args.bootstrap, args.prefix, args.group, args.every))
        return
    run = {"faust": stock_faust, "engine": engine, "quix": quix}[args.name]
    run(args.bootstrap, args.prefix, args.group, args.state)


if __name__ == "__main__":
    main()

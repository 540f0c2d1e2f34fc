"""A bench of real worker processes on a real broker, each test under its own prefix."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiokafka
import aiokafka.errors
import orjson
import pytest

from schemas.channels import Channel
from streams.kafka.topics import ensure_topics, topic_name
from streams.settings import Settings, load_settings
from tests.streams.engine.channels import CHANNELS
from tests.streams.engine.nursery import Nursery
from tests.waiting import DEADLINE, wait_for


class Worker:
    """A worker process, and what it logged."""

    def __init__(self, nursery: Nursery, apps: str, options: dict[str, Any], log: Path) -> None:
        self.log_path = log
        log.touch()
        self.process = nursery.start(apps, options, log)

    def log(self) -> str:
        return self.log_path.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry.get("event") == event]

    def reading(self) -> set[str]:
        """Return the apps that were given partitions, however often."""
        return {entry["app"] for entry in self.logged("assigned")}

    def get(self, page: str, app: str | None = None) -> tuple[int, str]:
        reported = [
            entry for entry in self.logged("health-listening") if app in {None, entry["app"]}
        ]
        url = reported[0]["url"].replace("/healthz", page)
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def ready(self) -> None:
        wait_for(lambda: self.logged("assigned") or self.ended(), "partitions were assigned")

    def ended(self) -> bool:
        return self.process.poll() is not None

    def exit_code(self) -> int:
        wait_for(self.ended, lambda: f"the worker ended; it logged:\n{self.log()[-2000:]}")
        return self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


class Bench:
    """One test's prefix on the broker."""

    def __init__(self, kafka: str, folder: Path, nursery: Nursery) -> None:
        self.prefix = f"t{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self._nursery = nursery
        self.options: dict[str, Any] = {
            "kafka": kafka,
            "topic_prefix": f"{self.prefix}.",
            "group_prefix": self.prefix,
            "state_dir": str(folder / "state"),
            "partitions": 2,
            "session_seconds": 60,
            "tick_seconds": 3600,
            "log_format": "json",
        }
        self.workers: list[Worker] = []
        self._topics: dict[Channel, str] = {}

    def settings(self, **options: Any) -> Settings:
        return load_settings(**{**self.options, **options})

    def topic(self, channel: Channel) -> str:
        # reading the settings takes milliseconds, and each poll asks
        if channel not in self._topics:
            self._topics[channel] = topic_name(self.settings(), channel)
        return self._topics[channel]

    def start(self, apps: str, **options: Any) -> Worker:
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = Worker(self._nursery, apps, {**self.options, **options}, log)
        self.workers.append(worker)
        return worker

    def make_topics(self, **options: Any) -> None:
        self.do(ensure_topics(self.settings(**options), channels=CHANNELS))

    @staticmethod
    def do(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def send(self, *records: tuple[Any, ...], channel: Channel = Channel.OBSERVATIONS) -> None:
        """Write records: (key, value) or (key, value, partition); a dict goes as JSON."""
        self.do(self._send(self.topic(channel), records))

    async def _send(self, topic: str, records: tuple[tuple[Any, ...], ...]) -> None:
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.options["kafka"],
            max_request_size=20_000_000,
            acks="all",  # what a test sends is not lost with the broker that took it
        ) as producer:
            sends = []
            for key, value, *partition in records:
                raw = orjson.dumps(value) if isinstance(value, dict) else value
                name = None if key is None else key.encode()
                number = partition[0] if partition else None
                sends.append(await producer.send(topic, raw, name, partition=number))
            await asyncio.gather(*sends)

    def read(self, topic: str) -> list[Any]:
        """Return all records now in `topic`."""
        return list(self.do(self._read(topic)))

    async def _read(self, topic: str) -> list[Any]:
        found: list[Any] = []
        async with aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.options["kafka"], enable_auto_commit=False
        ) as consumer:
            tps = await self._assign(consumer, topic)
            if not tps:
                return found
            ends = await consumer.end_offsets(tps)
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(records)
        return found

    def outputs(self) -> list[Any]:
        """Return the ids published so far."""
        return [orjson.loads(r.value)["id"] for r in self.read(self.topic(Channel.IOCS))]

    def wait_outputs(self, wanted: set[Any], seconds: float = DEADLINE) -> list[Any]:
        """Return the ids published, once all `wanted` are among them."""
        missing = set(wanted)
        self.do(self._follow(self.topic(Channel.IOCS), missing, time.monotonic() + seconds))
        if missing:
            logs = "\n".join(worker.log()[-2000:] for worker in self.workers)
            pytest.fail(f"{len(missing)} of {len(wanted)} outputs did not come\n{logs}")
        return self.outputs()

    async def _follow(self, topic: str, missing: set[Any], deadline: float) -> None:
        """Read a topic as it grows, until the records of all ids came or it is too late."""
        while missing and time.monotonic() < deadline:
            async with aiokafka.AIOKafkaConsumer(
                bootstrap_servers=self.options["kafka"], enable_auto_commit=False
            ) as consumer:
                try:
                    if not await self._assign(consumer, topic):
                        await asyncio.sleep(0.1)  # there is no such topic yet
                        continue
                    while missing and time.monotonic() < deadline:
                        for records in (await consumer.getmany(timeout_ms=500)).values():
                            missing -= {orjson.loads(record.value)["id"] for record in records}
                except aiokafka.errors.KafkaError:
                    await asyncio.sleep(0.1)  # the broker is away

    @staticmethod
    async def _assign(consumer: Any, topic: str) -> list[aiokafka.TopicPartition]:
        """Let a consumer read a topic from its beginning; return its partitions."""
        await consumer._client.set_topics([topic])
        numbers = consumer.partitions_for_topic(topic) or set()
        tps = [aiokafka.TopicPartition(topic, number) for number in numbers]
        if tps:
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
        return tps

    def rows(self, table: str = "collect") -> dict[str, Any]:
        """Return the state according to its changelog."""
        state: dict[str, Any] = {}
        changelog = f"{self.prefix}-{table}-{table}-changelog"
        for record in sorted(self.read(changelog), key=lambda r: r.offset):
            if not record.key.startswith(b"\x00"):
                state[record.key.decode()] = orjson.loads(record.value)
        return state

    def committed(self, app: str) -> int:
        """Return how many records the group has committed."""
        return int(self.do(self._committed(f"{self.prefix}-{app}")))

    async def _committed(self, group: str) -> int:
        topic = self.topic(Channel.OBSERVATIONS)
        async with aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.options["kafka"], group_id=group, enable_auto_commit=False
        ) as consumer:
            total = 0
            for number in range(self.options["partitions"]):
                total += await consumer.committed(aiokafka.TopicPartition(topic, number)) or 0
            return total


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that workers are forks of."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def bench(kafka: str, tmp_path: Path, nursery: Nursery) -> Iterator[Bench]:
    """Workers, topics and records of one test."""
    made = Bench(kafka, tmp_path, nursery)
    yield made
    for worker in made.workers:
        if not worker.ended():
            worker.kill()

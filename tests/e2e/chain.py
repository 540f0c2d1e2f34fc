"""The whole chain as processes: topics, workers, and what came out of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiokafka
import msgspec
import orjson
import psutil
import pytest
from aiokafka.errors import KafkaConnectionError

from schemas.channels import Channel
from schemas.documents.ocsf import OCCURRENCES
from schemas.incidents.views import IncidentDocument, ProcessingTimes
from streams.cli.live_view import TopicFollower, View
from streams.kafka.client import client_options
from streams.kafka.topics import ensure_topics, topic_name
from streams.settings import Settings, load_settings
from tests.installed import TIDEWATCH

SETTLED_SECONDS = 3.0
MEASUREMENTS = 3
"""Measurements in a row by which no app is behind."""


class Chain:
    """One set of topics and groups on a broker, and the workers on it."""

    def __init__(
        self,
        kafka: str,
        folder: Path,
        *,
        credentials: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        """Make the topics; `credentials` are settings with which only the workers connect."""
        self.prefix = f"c{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.options: dict[str, Any] = {
            "kafka": kafka,
            "topic_prefix": f"{self.prefix}.",
            "group_prefix": self.prefix,
            "state_dir": str(folder / self.prefix),
            "partitions": 4,
            "session_seconds": 12,
            # longer than what counts as quiet: a chain with a tick under way is not settled
            "tick_seconds": 6,
            "log_format": "json",
            **options,
        }
        self._credentials = dict(credentials or {})
        self.workers: list[subprocess.Popen[bytes]] = []
        asyncio.run(ensure_topics(self.settings))

    @cached_property
    def settings(self) -> Settings:
        """The settings, read once: it takes milliseconds, and each record asks for its topic."""
        return load_settings(**self.options)

    def start(self, instance: str = "0") -> subprocess.Popen[bytes]:
        """Start all apps as `tidewatch worker` does."""
        environment = {
            **os.environ,
            **{
                f"TIDEWATCH_{name.upper()}": str(value)
                for name, value in (self.options | self._credentials).items()
            },
            "TIDEWATCH_INSTANCE": instance,
        }
        log = self.folder / f"{self.prefix}-worker-{len(self.workers)}.log"
        with log.open("wb") as opened:
            worker = subprocess.Popen(
                [TIDEWATCH, "worker"],
                env=environment,
                stdout=opened,
                stderr=opened,
            )
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """End every worker, kindly at first."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(30)
            if worker.poll() is None:
                worker.kill()
                worker.wait()

    def logs(self) -> str:
        """Return the end of every worker's log."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.folder.glob(f"{self.prefix}-worker-*.log"))
        )

    def send(self, channel: Channel, records: Iterable[tuple[str | None, bytes | None]]) -> None:
        """Write records with an idempotent producer."""
        asyncio.run(self._send(channel, list(records)))

    async def _send(self, channel: Channel, records: list[tuple[str | None, bytes | None]]) -> None:
        producer = await self._producer()
        try:
            topic = topic_name(self.settings, channel)
            pending = [
                await producer.send(topic, value, key.encode() if key is not None else None)
                for key, value in records
            ]
            for delivery in pending:
                await delivery
        finally:
            await producer.stop()

    def send_apart(self, records: Iterable[tuple[Channel, str, bytes]]) -> None:
        """Write records so that the broker appends each at a later time than the one before.

        Who introduced a digest is decided by append times, and among equal ones by partition.
        """
        asyncio.run(self._send_apart(list(records)))

    async def _send_apart(self, records: list[tuple[Channel, str, bytes]]) -> None:
        producer = await self._producer()
        appended = 0
        try:
            for channel, key, value in records:
                topic = topic_name(self.settings, channel)
                record = await producer.send_and_wait(topic, value, key.encode())
                assert record.timestamp > appended
                appended = record.timestamp
                # the broker counts whole milliseconds
                await asyncio.sleep(0.002)
        finally:
            await producer.stop()

    async def _producer(self) -> aiokafka.AIOKafkaProducer:
        """Return a connected producer, also while the broker is being restarted."""
        deadline = time.monotonic() + 60
        while True:
            producer = aiokafka.AIOKafkaProducer(
                **client_options(self.settings),
                enable_idempotence=True,
                max_request_size=20_000_000,
                linger_ms=5,
            )
            try:
                await producer.start()
            except KafkaConnectionError:
                await producer.stop()
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)
            else:
                return producer

    def settle(self, seconds: float, *, until: Callable[[View], bool] | None = None) -> View:
        """Wait until no app is behind for a while; fail after `seconds` in which nothing changed.

        A machine with much else to do takes long for all, and never so long for a part.
        """
        return asyncio.run(self._settle(seconds, until))

    async def _settle(self, seconds: float, until: Callable[[View], bool] | None) -> View:
        follower = TopicFollower(self.settings)
        tasks = [
            asyncio.ensure_future(follower.run()),
            asyncio.ensure_future(follower.sample(0.5)),
        ]
        deadline = time.monotonic() + seconds
        quiet: float | None = None
        measured = 0
        progress: tuple[dict[str, int], dict[Channel, int]] | None = None
        try:
            while True:
                for task in tasks:
                    if task.done():
                        task.result()
                now = time.monotonic()
                view = follower.view
                if progress != (view.lag, view.counts):
                    progress = dict(view.lag), dict(view.counts)
                    deadline = now + seconds
                if view.measured:
                    # However slow the machine, each measurement counts once.
                    calm = view.settled and (until is None or until(view))
                    quiet, measured = (quiet or now, measured + 1) if calm else (None, 0)
                    view.measured = False
                if quiet is not None and measured > MEASUREMENTS and now - quiet >= SETTLED_SECONDS:
                    return view
                if now > deadline:
                    pytest.fail(
                        f"no change for {seconds} s; behind {view.lag}, counts {view.counts}\n"
                        f"{self.logs()}"
                    )
                await asyncio.sleep(0.1)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def read(self, channel: Channel) -> list[Any]:
        """Return all records of a channel now on the broker, in order of partition and offset."""
        return self.read_topic(topic_name(self.settings, channel))

    def read_topic(self, topic: str) -> list[Any]:
        """Return all records of a topic now on the broker."""
        return asyncio.run(self._read(topic))

    async def _read(self, topic: str) -> list[Any]:
        consumer = aiokafka.AIOKafkaConsumer(
            **client_options(self.settings), enable_auto_commit=False
        )
        await consumer.start()
        found: list[Any] = []
        try:
            tps = [
                aiokafka.TopicPartition(topic, number)
                for number in range(self.options["partitions"])
            ]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends = await consumer.end_offsets(tps)
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(records)
        finally:
            await asyncio.sleep(0)
            await consumer.stop()
        return found

    def processes(self) -> list[psutil.Process]:
        """Return the app processes that run, of all workers."""
        found: list[psutil.Process] = []
        for worker in self.workers:
            if worker.poll() is None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.extend(psutil.Process(worker.pid).children())
        return found


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain put out, in a shape that two runs can be compared by."""

    findings: frozenset[str]
    commands: frozenset[str]
    alerts: dict[str, Any]
    incidents: dict[str, Any]
    assessments: dict[str, Any]
    dead_letters: frozenset[str]
    events: frozenset[str]
    """Ids of events with an assessment."""
    indicators: frozenset[str]


def results(chain: Chain) -> Results:
    """Read the outputs of a chain; processing times are left out."""
    return results_of(chain.read)


def results_of(read: Callable[[Channel], list[Any]]) -> Results:
    """Return what was put out; `read` gives the records of a channel, oldest first."""
    findings = set()
    for record in read(Channel.INCIDENT_UPDATES):
        update = orjson.loads(record.value)
        if update["type"] == "finding-update":
            findings.add(update["finding"]["id"])
    commands = {
        orjson.loads(record.value)["command_id"]
        for channel in (Channel.CONTAINMENT_COMMANDS, Channel.CONTAINMENT_PROPOSALS)
        for record in read(channel)
    }
    assessments = _last(read(Channel.ASSESSMENTS), "id")
    return Results(
        findings=frozenset(findings),
        commands=frozenset(commands),
        alerts={
            uid: _without_processing(document)
            for uid, document in _last(read(Channel.ALERTS), "metadata", "uid").items()
        },
        incidents={
            uid: _incident(document)
            for uid, document in _last(read(Channel.INCIDENTS), "id").items()
        },
        assessments=assessments,
        dead_letters=frozenset(
            sha256(record.value or b"").hexdigest() for record in read(Channel.DEAD_LETTER)
        ),
        events=frozenset(document["event_id"] for document in assessments.values()),
        indicators=frozenset(_last(read(Channel.IOCS), "id")),
    )


def _last(records: list[Any], *path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in records:
        if record.value is None:
            continue
        document = orjson.loads(record.value)
        value: Any = document
        for name in path:
            value = value[name]
        found[value] = document
    return found


def _without_processing(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in document["metadata"].items() if k != "processed_time"}
    return {**document, "metadata": metadata, "activity_id": None, "activity_name": None,
            "type_uid": None, "type_name": None}  # fmt: skip


def _incident(document: dict[str, Any]) -> dict[str, Any]:
    incident = msgspec.convert(document, IncidentDocument)
    plain: dict[str, Any] = orjson.loads(
        msgspec.json.encode(msgspec.structs.replace(incident, processing=ProcessingTimes()))
    )
    # Whether it was shared follows from what was known at some moment, as times do.
    plain.pop("shared", None)
    for command in plain["commands"]:
        command["spec"].pop("expires", None)
    for entry in plain["timeline"]:
        if entry["what"] not in OCCURRENCES:
            entry["at"] = None
    plain["timeline"].sort(key=orjson.dumps)
    return plain

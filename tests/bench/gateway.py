"""Requests to the gateway until the broker acknowledged them, beside a bare ASGI echo.

Each of a number of connections sends one event after the other; a request takes from its first byte
to its answer, 202. Then the same with a thousand slow clients connected and broken requests beside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp
import orjson

from schemas.channels import Channel
from streams.gateway.reading import STRUCTURED
from streams.kafka.client import client_options
from streams.kafka.topics import topic_name
from streams.settings import load_settings
from tests.bench.processes import ROOT
from tests.installed import TIDEWATCH
from tests.schemas.events import PACKAGE_INSTALL

CONNECTIONS = 16
SLOW = 1000
SLOW_PAUSE = 5.0
SECRET = "a-secret-of-acme-0001"
ECHO = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 202, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


class Figures(NamedTuple):
    """The times of answers, in seconds, and what was acknowledged."""

    seconds: list[float]
    statuses: dict[int, int]
    acknowledged: set[str]
    took: float

    def line(self, name: str) -> str:
        """Return them as a row."""
        ordered = sorted(self.seconds)
        p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
        said = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        rate = len(ordered) / self.took
        return f"{name:34} {rate:8,.0f}/s  p50 {p50:7.1f} ms  p99 {p99:7.1f} ms  {said}"


def event(name: str) -> bytes:
    """Return an event of that id."""
    return orjson.dumps({**PACKAGE_INSTALL, "id": name, "tenantid": "acme"})


async def load(url: str, seconds: float) -> Figures:
    """Send events by all connections for a while."""
    found: list[float] = []
    statuses: dict[int, int] = {}
    acknowledged: set[str] = set()
    run = uuid.uuid4().hex[:8]
    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": STRUCTURED}
    began = time.monotonic()

    async def one(number: int, session: aiohttp.ClientSession) -> None:
        count = 0
        while time.monotonic() - began < seconds:
            name = f"{run}-{number}-{count}"
            count += 1
            at = time.monotonic()
            async with session.post(url, data=event(name), headers=headers) as answer:
                await answer.read()
            found.append(time.monotonic() - at)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            if answer.status == 202:
                acknowledged.add(name)

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(one(number, session) for number in range(CONNECTIONS)))
    return Figures(found, statuses, acknowledged, time.monotonic() - began)


@contextlib.asynccontextmanager
async def slow_clients(port: int) -> AsyncIterator[None]:
    """Keep clients connected that send a byte now and then, from several addresses."""
    writers: list[asyncio.StreamWriter] = []

    async def connect(number: int) -> None:
        source = f"127.0.0.{2 + number % 8}"
        _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        writer.write(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        writers.append(writer)

    async def drip() -> None:
        while True:
            await asyncio.sleep(SLOW_PAUSE)
            for writer in writers:
                with contextlib.suppress(ConnectionError):
                    writer.write(b"a")

    for at in range(0, SLOW, 100):
        await asyncio.gather(*(connect(number) for number in range(at, min(at + 100, SLOW))))
    dripping = asyncio.ensure_future(drip())
    try:
        yield
    finally:
        dripping.cancel()
        for writer in writers:
            writer.close()


async def broken(url: str, stop: asyncio.Event) -> dict[int, int]:
    """Send invalid requests until stopped: too large, malformed, without the right secret."""
    right = {"Authorization": f"Bearer {SECRET}", "Content-Type": STRUCTURED}
    requests = [
        (b"x" * 2_000_000, right),
        (b"{", right),
        (event("wrong"), {**right, "Authorization": "Bearer not-the-secret-at-all"}),
    ]
    statuses: dict[int, int] = {}
    async with aiohttp.ClientSession() as session:
        while not stop.is_set():
            for body, headers in requests:
                try:
                    async with session.post(url, data=body, headers=headers) as answer:
                        statuses[answer.status] = statuses.get(answer.status, 0) + 1
                except aiohttp.ClientError:
                    statuses[0] = statuses.get(0, 0) + 1
    return statuses


async def written(bootstrap: str, prefix: str) -> list[str]:
    """Return the ids of the events on the topic."""
    import aiokafka  # noqa: PLC0415 -- the rest needs no Kafka

    settings = load_settings(kafka=bootstrap, topic_prefix=prefix)
    found: list[str] = []
    async with aiokafka.AIOKafkaConsumer(
        topic_name(settings, Channel.PACKAGE_INSTALL),
        **client_options(settings),
        auto_offset_reset="earliest",
    ) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [orjson.loads(record.value)["id"] for record in records]
    return found


def until(what: Callable[[], object]) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _start(
    folder: Path, echo_port: int, environment: dict[str, str]
) -> list[subprocess.Popen[bytes]]:
    uvicorn = [sys.executable, "-m", "uvicorn", "echo:app", "--app-dir", str(folder)]
    commands = (
        [TIDEWATCH, "gateway", "--config", str(folder / "gateway.toml")],
        [*uvicorn, "--port", str(echo_port), "--http", "h11", "--log-level", "warning"],
    )
    with (folder / "log").open("wb") as log:
        return [
            subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT)
            for command in commands
        ]


async def compare(bootstrap: str, seconds: float, folder: Path) -> None:
    """Measure the echo, the gateway, and the gateway under trouble; print a row of each."""
    folder = folder / "gateway"
    folder.mkdir()
    prefix = f"bench-gateway-{uuid.uuid4().hex[:8]}."
    (folder / "secret").write_text(SECRET)
    port, echo_port = _free_port(), _free_port()
    (folder / "gateway.toml").write_text(
        f"[listen]\nport = {port}\n[limits]\nconnections = 2048\nhead_seconds = 600\n"
        f'[endpoints.ci]\ntenant = "acme"\nproducer = "cloudevents"\n'
        f'secret = "file:{folder}/secret"\n'
    )
    (folder / "echo.py").write_text(ECHO)
    environment = {
        **os.environ,
        "TIDEWATCH_KAFKA": bootstrap,
        "TIDEWATCH_TOPIC_PREFIX": prefix,
        "TIDEWATCH_STATE_DIR": str(folder / "state"),
        "TIDEWATCH_LOG_LEVEL": "warning",
    }
    running = _start(folder, echo_port, environment)
    url = f"http://127.0.0.1:{port}/v1/events"
    try:
        until(lambda: _answers(port) and _answers(echo_port))
        await load(url, 1)  # until the first answers the broker may not be reached yet
        print(f"gateway, {CONNECTIONS} connections, one event a request, for {seconds:g} s each:")
        echo = await load(f"http://127.0.0.1:{echo_port}/", seconds)
        print(echo.line("a bare ASGI echo (uvicorn, h11)"), flush=True)
        calm = await load(url, seconds)
        print(calm.line("gateway, to the acknowledgement"), flush=True)
        stop = asyncio.Event()
        async with slow_clients(port):
            trouble = asyncio.ensure_future(broken(url, stop))
            pressed = await load(url, seconds)
            stop.set()
            print(pressed.line(f"the same, {SLOW} slow clients and broken requests"))
            print(f"  answers to what was broken: {json.dumps(await trouble)}", flush=True)
        on_topic = await written(bootstrap, prefix)
        lost = (calm.acknowledged | pressed.acknowledged) - set(on_topic)
        print(f"  acknowledged and not on the topic: {len(lost)}\n", flush=True)
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(60)

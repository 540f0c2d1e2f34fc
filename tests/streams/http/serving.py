"""A server of the test's own in a thread, and clients that write to it byte by byte."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from starlette.routing import BaseRoute

from streams.http.listening import Limits, Listen
from streams.http.server import HttpServer

SECONDS = 30.0
ANY_PORT = Listen(port=0)


class Answer(NamedTuple):
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


@contextmanager
def serving(
    routes: Sequence[BaseRoute],
    limits: Limits | None = None,
    *,
    listen: Listen = ANY_PORT,
    drain_seconds: float = 5,
) -> Iterator[HttpServer]:
    """Serve routes until the end of the block."""
    server = HttpServer("trial", routes, listen, limits or Limits(), drain_seconds=drain_seconds)
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    ready = threading.Event()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        ready.set()
        await server.serve(stop)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(SECONDS)
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(SECONDS)
        assert not thread.is_alive()


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    """Connect, from an address of this machine."""
    return socket.create_connection(
        ("127.0.0.1", port), timeout=SECONDS, source_address=(source, 0)
    )


def read_all(link: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    parts: list[bytes] = []
    try:
        while part := link.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def read_answer(raw: bytes) -> Answer:
    """Return the first answer of what came."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)


def say(port: int, raw: bytes, source: str = "127.0.0.1") -> Answer:
    """Write bytes, and return the answer; the server closes or the request asks it to."""
    with connect(port, source) as link:
        link.sendall(raw)
        return read_answer(read_all(link))

"""Health and metrics over HTTP, and the watchdog, in threads that a busy loop can't block."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams.engine.crash import crash
from streams.metrics import exposition

log = Logger()

CHECK_SECONDS = 0.5
SIBLING_SECONDS = 1.0
"""Timeout for the answer of another app of the same worker."""
EVERYWHERE = "0.0.0.0"  # noqa: S104 -- compared with, not listened on


class Health:
    """The health of one app.

    Unhealthy after half the watchdog's time, so that an orchestrator can see it; after all of it
    the process ends, and another one reads the unacknowledged records again.
    """

    def __init__(self, name: str, *, watchdog_seconds: float) -> None:
        """Start healthy and not ready."""
        self.name = name
        self.ready = False
        self.port: int | None = None
        self._limit = watchdog_seconds
        self._beat = time.monotonic()
        self._stalled = 0.0
        self._closed = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def beat(self, stalled_seconds: float) -> None:
        """Record that the event loop is alive, and how long lag has made no progress."""
        self._beat = time.monotonic()
        self._stalled = stalled_seconds

    def stalled(self) -> float:
        """Return the seconds without progress while there was work."""
        return max(self._stalled, time.monotonic() - self._beat)

    @property
    def healthy(self) -> bool:
        """Whether there was progress within half the watchdog's time."""
        return self.stalled() < self._limit / 2

    def serve(self, host: str, port: int, siblings: Sequence[int] = ()) -> None:
        """Answer /healthz, /readyz and /metrics on `host:port` (0: a free port), and watch.

        Args:
            host: The address to listen on.
            port: The port.
            siblings: Ports of other apps on the same host that /healthz and /readyz cover too.

        Raises:
            TidewatchError: The port is taken or the address is not this machine's.
        """
        near = "127.0.0.1" if host == EVERYWHERE else host
        others = tuple((near, sibling) for sibling in siblings)
        handler = type("Handler", (_Handler,), {"health": self, "siblings": others})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise TidewatchError(
                f"health and metrics can't listen ({error.strerror})",
                where=f"{host}:{port}",
                remedy="set TIDEWATCH_HTTP_PORT to a free port, or 0 for any",
            ) from error
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._beat = time.monotonic()
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        log.info("health-listening", app=self.name, url=f"http://{host}:{self.port}/healthz")

    def _watch(self) -> None:
        while not self._closed.wait(CHECK_SECONDS):
            stalled = self.stalled()
            if stalled > self._limit:
                crash("watchdog", app=self.name, stalled_seconds=round(stalled, 1))

    def close(self) -> None:
        """Stop answering and watching."""
        self._closed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    health: Health
    siblings: tuple[tuple[str, int], ...]
    timeout = 5

    def do_GET(self) -> None:
        """Answer the three pages; anything else is not found."""
        health = self.health
        if self.path == "/metrics":
            self._answer(200, exposition(), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == "/healthz":
            word = "ok\n" if health.healthy else f"stalled {health.stalled():.0f} s\n"
            self._answer_for_all(word, well=health.healthy)
        elif self.path == "/readyz":
            ready = health.ready and health.healthy
            self._answer_for_all("ready\n" if ready else "not ready\n", well=ready)
        else:
            self._answer(404, b"not found\n")

    def _answer_for_all(self, word: str, *, well: bool) -> None:
        """Answer for this app and its siblings: a sibling that can't be reached is unhealthy."""
        for host, port in self.siblings if well else ():
            problem = _problem_of(host, port, self.path)
            if problem is not None:
                word, well = f"the app on port {port}: {problem}\n", False
                break
        self._answer(200 if well else 503, word.encode())

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        """Log nothing: probes come every few seconds."""


def _problem_of(host: str, port: int, page: str) -> str | None:
    """Return the problem of the app on a port, None if it is healthy."""
    link = http.client.HTTPConnection(host, port, timeout=SIBLING_SECONDS)
    try:
        link.request("GET", page)
        answer = link.getresponse()
        text = answer.read(100).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        return "no answer"
    finally:
        link.close()
    return None if answer.status == 200 else text  # noqa: PLR2004 -- fine

"""Health and metrics over HTTP, and the watchdog, in threads that a busy loop can't block."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog

from schemas.errors import TidewatchError
from streams.crash import crash
from streams.metrics import exposition

log = structlog.get_logger()

CHECK_SECONDS = 0.5


class Health:
    """What is known of the state of one app.

    Unhealthy at half the watchdog's time, so that an orchestrator can see it; at the whole of it
    the process ends, and another reads again what was not acknowledged.
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
        """Say that the event loop is alive, and how long there was lag without progress."""
        self._beat = time.monotonic()
        self._stalled = stalled_seconds

    def stalled(self) -> float:
        """Return for how many seconds there has been no progress though there was work."""
        return max(self._stalled, time.monotonic() - self._beat)

    @property
    def healthy(self) -> bool:
        """Whether progress was made in half the watchdog's time."""
        return self.stalled() < self._limit / 2

    def serve(self, host: str, port: int) -> None:
        """Answer /healthz, /readyz and /metrics on `host:port` (0: a free port), and watch.

        Raises:
            TidewatchError: The port is taken or the address is not this machine's.
        """
        handler = type("Handler", (_Handler,), {"health": self})
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
    timeout = 5

    def do_GET(self) -> None:
        """Answer the three pages; anything else is not found."""
        health = self.health
        if self.path == "/metrics":
            self._answer(200, exposition(), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == "/healthz":
            word = b"ok\n" if health.healthy else f"stalled {health.stalled():.0f} s\n".encode()
            self._answer(200 if health.healthy else 503, word)
        elif self.path == "/readyz":
            ready = health.ready and health.healthy
            self._answer(200 if ready else 503, b"ready\n" if ready else b"not ready\n")
        else:
            self._answer(404, b"not found\n")

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        """Say nothing: probes come every few seconds."""

"""Serves an application until it is stopped, then drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Generator, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from uvicorn.config import Config
from uvicorn.server import Server

from agents.logs import Logger
from schemas.errors import TidewatchError
from streams.http.connection import Door, GuardedProtocol
from streams.http.guard import Guard
from streams.http.listening import Limits, Listen, open_socket, tls_context
from streams.http.problems import on_fault, on_http_exception, on_tidewatch_error

log = Logger()

OTHER_FILES: Final = 256
"""Open files that a server needs in addition to its connections."""


class HttpServer:
    """One application on one address."""

    def __init__(
        self,
        name: str,
        routes: Sequence[BaseRoute],
        listen: Listen,
        limits: Limits,
        *,
        drain_seconds: float,
        extra_single: frozenset[bytes] = frozenset(),
    ) -> None:
        """Bind the address; nothing is accepted yet.

        Args:
            name: The application's name in logs and metrics.
            routes: Its routes.
            listen: Its address and certificates.
            limits: Limits of its connections.
            drain_seconds: How long a stop waits for requests that are under way.
            extra_single: Headers, in lower case, that a request may have once only.

        Raises:
            TidewatchError: The address or a TLS file can't be used.
        """
        self._name = name
        _allow_files(limits.connections + OTHER_FILES)
        self._tls = tls_context(listen)
        self._socket = open_socket(listen)
        self._listen = listen
        self.port: int = self._socket.getsockname()[1]
        self._door = Door(name, limits)
        app = Starlette(
            routes=list(routes),
            exception_handlers={
                HTTPException: on_http_exception,
                TidewatchError: on_tidewatch_error,
                Exception: on_fault,
            },
        )
        app.router.redirect_slashes = False
        # connection errors are the client's; the guard logs the server's own
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._config = Config(
            Guard(app, name, head_bytes=limits.head_bytes, extra_single=extra_single),
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=max(1, int(limits.idle_seconds)),
            timeout_graceful_shutdown=max(1, int(drain_seconds)),
            h11_max_incomplete_event_size=limits.head_bytes,
        )
        self._server = _Server(self._config, self._door, self._tls)

    @property
    def url(self) -> str:
        """The address as a URL."""
        host = f"[{self._listen.host}]" if ":" in self._listen.host else self._listen.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def serve(self, stop: asyncio.Event) -> None:
        """Answer requests until `stop` is set; then accept no more, and finish those under way."""
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        stopping = asyncio.ensure_future(stop.wait())
        log.info("http-listening", app=self._name, url=self.url)
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._server.should_exit = True
            await serving
        finally:
            stopping.cancel()
            self._socket.close()
            log.info("http-stopped", app=self._name)

    def close(self) -> None:
        """Give the address back, if it was never served."""
        self._socket.close()


def _allow_files(wanted: int) -> None:
    """Raise this process's limit of open files to what its connections need.

    Raises:
        TidewatchError: The system does not allow as many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise TidewatchError(
            f"{wanted} open files are needed, the system allows {hard}",
            where="limits.connections",
            remedy="lower it, or raise the limit of open files (ulimit -Hn)",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(Server):
    """uvicorn's server with bounded connections and without signal handlers."""

    def __init__(self, config: Config, door: Door, tls: Any) -> None:  # noqa: ANN401 -- None as well
        super().__init__(config)
        self._door = door
        self._tls = tls

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the caller."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, with a limit on the time of a TLS handshake."""
        loop = asyncio.get_running_loop()
        handshake = self._door.limits.head_seconds if self._tls is not None else None
        self.servers = [
            await loop.create_server(
                lambda: GuardedProtocol(self.config, self.server_state, self._door, loop),
                sock=sock,
                ssl=self._tls,
                ssl_handshake_timeout=handshake,
            )
            for sock in sockets or ()
        ]
        self.started = True

"""The outermost layer of an application: refusals, access logs, metrics, faults."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from http import HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.logs import Logger
from streams import metrics
from streams.cli.output import plain
from streams.http.problems import PROBLEM_TYPE, plain_problem, problem_bytes

log = Logger()

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SINGLE: Final = frozenset(
    {
        b"authorization",
        b"content-type",
        b"content-encoding",
        b"content-length",
        b"host",
        b"transfer-encoding",
    }
)
"""Headers that readers interpret differently if they are repeated."""
SHOWN_PATH: Final = 200
SHOWN_PARTS: Final = 3
DRAIN_BYTES: Final = 1024 * 1024
DRAIN_SECONDS: Final = 2.0
HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
"""Headers of each answer that does not set them itself."""


class Guard:
    """Wraps an application.

    A request that two readers could understand differently is refused. Each answer is counted and
    logged: method, path without its query, status, time; never a header or a body. A fault is
    logged and answered 500 without its text.
    """

    def __init__(
        self, app: ASGIApp, name: str, *, head_bytes: int, extra_single: frozenset[bytes]
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            name: Its name in metrics and logs.
            head_bytes: Most bytes of path and headers.
            extra_single: More headers, in lower case, that may come once only.
        """
        self._app = app
        self._name = name
        self._single = SINGLE | extra_single
        self._head_bytes = head_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope, receive, send)
        problem = self._refusal(scope)
        try:
            if problem is not None:
                metrics.HTTP_REFUSED.labels(self._name, "ambiguous").inc()
                exchange.last = True
                await exchange.answer(scope, problem)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass  # the client is gone
        except asyncio.CancelledError:
            # the server stops, and the drain time of this request is over
            if not exchange.started:
                await exchange.answer(scope, plain_problem(HTTPStatus.SERVICE_UNAVAILABLE))
        except Exception:
            # a fault in one request must not end others
            log.exception("request-failed", route=_route(scope))
            if not exchange.started:
                fault = plain_problem(HTTPStatus.INTERNAL_SERVER_ERROR)
                await exchange.answer(scope, fault)
        self._note(scope, exchange)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer for a request that two readers could understand differently."""
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers) + len(scope["raw_path"])
        if size > self._head_bytes:
            return plain_problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        counted = Counter(name for name, _ in headers)
        twice = sorted(name for name in self._single if counted[name] > 1)
        if not twice and counted[b"content-length"] and counted[b"transfer-encoding"]:
            twice = [b"content-length", b"transfer-encoding"]
        if not twice:
            return None
        body = problem_bytes(
            HTTPStatus.BAD_REQUEST,
            "a header came twice, or contradicts another",
            detail=", ".join(name.decode("ascii", "replace") for name in twice),
        )
        return Response(body, HTTPStatus.BAD_REQUEST, media_type=PROBLEM_TYPE)

    def _note(self, scope: Scope, exchange: _Exchange) -> None:
        route, method = _route(scope), scope["method"]
        seconds = time.monotonic() - exchange.began
        known = method if method in METHODS else "other"
        status = str(exchange.status or "none")
        metrics.HTTP_REQUESTS.labels(self._name, route, known, status).inc()
        metrics.HTTP_SECONDS.labels(self._name, route).observe(seconds)
        log.info(
            "request",
            method=known,
            path=_shown(scope),
            status=exchange.status,
            received=exchange.received,
            seconds=round(seconds, 4),
            client=scope["client"][0] if scope.get("client") else None,
        )


def _route(scope: Scope) -> str:
    """Return the template of the path, which is bounded, rather than the path, which is not."""
    return getattr(scope.get("route"), "path", "unknown")


def _shown(scope: Scope) -> str:
    """Return the path for the log, without the secret part of its route.

    A path without a route is cut: it may be a mistyped address with a secret.
    """
    path: str = scope["path"]
    if "route" not in scope:
        parts = path.split("/")
        path = "/".join([*parts[:SHOWN_PARTS], *(["…"] if len(parts) > SHOWN_PARTS else [])])
    secret = scope.get("path_params", {}).get("secret")
    if secret:
        path = f"{path.removesuffix(secret)}…"
    return plain(path, SHOWN_PATH)


class _Exchange:
    """A request and its answer, as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.began = time.monotonic()
        self.started = False
        self.status: int | None = None
        self.received = 0
        self.last = False
        """Whether the connection closes after this answer, since further bytes can't be trusted."""
        self._whole = False
        self._asks = any(name == b"expect" for name, _ in scope["headers"])
        """Whether the client sends no body until it is asked to, which `receive` does."""

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            late = message["status"] == HTTPStatus.REQUEST_TIMEOUT
            if not (self._whole or late or (self._asks and not self.received)):
                await self._drain()
            self.started = True
            self.status = int(message["status"])
            given = {name.lower() for name, _ in message["headers"]}
            headers = [
                *message["headers"],
                *(header for header in HEADERS if header[0] not in given),
            ]
            if self.last or not self._whole:
                # the rest of the body must not be read as the next request
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def answer(self, scope: Scope, response: Response) -> None:
        await response(scope, self.receive, self.send)

    async def _drain(self) -> None:
        """Read the rest of a body if it is short: otherwise the client can't read the answer."""
        left = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._whole and left > 0:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        return
                    left -= len(message.get("body", b""))
                    self._whole = not message.get("more_body", False)
        except TimeoutError:
            return

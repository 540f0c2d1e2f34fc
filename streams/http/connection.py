"""One connection of a server: bounded in number, and in the time that each of its phases takes."""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from streams import metrics
from streams.http.listening import Limits
from streams.http.problems import PROBLEM_TYPE, problem_bytes

PEER: Final = "tidewatch.peer"
"""In a request's state: the verified client certificate as a mapping, if there is one."""


class Door:
    """The connections of one server."""

    def __init__(self, name: str, limits: Limits) -> None:
        """Keep the name for metrics, and the limits."""
        self.name = name
        self.limits = limits
        self._of_address: Counter[str] = Counter()
        self._all = 0

    def enter(self, address: str) -> bool:
        """Count a connection; return whether there is room for it."""
        limits = self.limits
        if self._all >= limits.connections:
            return False
        if self._of_address[address] >= limits.connections_per_address:
            return False
        self._all += 1
        self._of_address[address] += 1
        metrics.HTTP_CONNECTIONS.labels(self.name).set(self._all)
        return True

    def leave(self, address: str) -> None:
        """Forget a connection that had entered."""
        self._all -= 1
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]
        metrics.HTTP_CONNECTIONS.labels(self.name).set(self._all)

    def refuse(self, reason: str) -> None:
        """Count a connection or request that was refused before it reached a handler."""
        metrics.HTTP_REFUSED.labels(self.name, reason).inc()


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 over h11, with deadlines that it lacks.

    uvicorn bounds the pause between two requests. It does not bound how long a request's head
    takes, nor how long an answer stays unread: either holds a connection indefinitely.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        door: Door,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Prepare a connection of a server."""
        super().__init__(config, server_state, {}, loop)
        self._door = door
        self._entered: str | None = None
        self._head: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or refuse it."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not self._door.enter(address):
            self._door.refuse("connections")
            self._turn_away(
                HTTPStatus.SERVICE_UNAVAILABLE, "too many connections", {"retry-after": "1"}
            )
            return
        self._entered = address
        peer = transport.get_extra_info("peercert")
        if peer:
            self.app_state = {PEER: peer}
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._entered is not None:
            self._door.leave(self._entered)
            self._entered = None
        self._cancel_head()
        self._cancel_unread()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a request's head must be whole by its deadline."""
        if self._entered is None or self.transport.is_closing():
            return
        if self._head is None and self.conn.their_state is h11.IDLE:
            self._await_head()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._cancel_head()

    def on_response_complete(self) -> None:
        """Wait for the next request, if the client may send one."""
        super().on_response_complete()
        self._cut_if_unread()

    def shutdown(self) -> None:
        """Close when idle; else after the answer that is under way."""
        super().shutdown()
        self._cut_if_unread()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        super().timeout_keep_alive_handler()
        self._cut_if_unread()

    def pause_writing(self) -> None:
        """Wait for a client that does not read, up to a deadline."""
        super().pause_writing()
        self._cut_unless_read()

    def resume_writing(self) -> None:
        """Go on writing: the client reads."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._cancel_unread()

    def send_400_response(self, msg: str) -> None:
        """Answer anything that is not an HTTP/1.1 request."""
        self._door.refuse("malformed")
        self._turn_away(HTTPStatus.BAD_REQUEST, msg.rstrip("."))

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self._door.limits.head_seconds, self._head_is_late)

    def _cancel_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _cancel_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _head_is_late(self) -> None:
        self._head = None
        self._door.refuse("slow-head")
        self._turn_away(HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive in time")

    def _turn_away(self, status: int, title: str, more: dict[str, str] | None = None) -> None:
        """Answer without the application, and close."""
        if self.transport.is_closing():
            return
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE} and not self._answering():
            body = problem_bytes(status, title)
            headers = {
                "content-type": PROBLEM_TYPE,
                "content-length": str(len(body)),
                "connection": "close",
                **(more or {}),
            }
            event = h11.Response(status_code=status, headers=list(headers.items()))
            written: list[Any] = [event, h11.Data(data=body), h11.EndOfMessage()]
            self.transport.write(b"".join(self.conn.send(part) or b"" for part in written))
        if self.cycle is not None and not self.cycle.response_complete:
            # the request's handler learns that the client is gone
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self._cut_if_unread()

    def _answering(self) -> bool:
        """Return whether the application has begun to answer a request of this connection."""
        cycle = self.cycle
        return cycle is not None and cycle.response_started and not cycle.response_complete

    def _cut_if_unread(self) -> None:
        """Limit how long a closing connection waits for the client to read the rest."""
        if self.transport.is_closing():
            self._cut_unless_read()

    def _cut_unless_read(self) -> None:
        if self._unread is None:
            seconds = self._door.limits.write_seconds
            self._unread = self.loop.call_later(seconds, self._cut)

    def _cut(self) -> None:
        self._unread = None
        self._door.refuse("unread-answer")
        self.transport.abort()

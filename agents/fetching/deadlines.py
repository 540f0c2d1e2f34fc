"""Bounds the time of an answer: a minimum speed, and a deadline for each request."""

from __future__ import annotations

import http.client
import io
import math
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from agents.fetching.errors import FetchError
from agents.fetching.fetch_scope import FetchRules, Location


class Pace:
    """Enforces a minimum average speed of one answer."""

    def __init__(self, rules: FetchRules, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock."""
        self._rules = rules
        self._clock = clock
        self._began = clock()
        self._bytes = 0

    def came(self, count: int, location: Location) -> None:
        """Count received bytes."""
        self._bytes += count
        rules = self._rules
        late = self._clock() - self._began - rules.slow_seconds
        if late > 0 and self._bytes < late * rules.bytes_per_second:
            raise FetchError(
                f"the server sends less than {rules.bytes_per_second} bytes a second",
                where=location.uri[:200],
            )


class RequestDeadlines(threading.local):
    """When the request of this thread must have been answered, on the monotonic clock."""

    until: float = math.inf


class _TimedReader(io.RawIOBase):
    """Reads a connection; each read waits at most until the request's deadline.

    The connection's own timeout restarts with every byte, so an answer might never end.
    """

    def __init__(
        self, inner: io.RawIOBase, sock: socket.socket, deadlines: RequestDeadlines
    ) -> None:
        super().__init__()
        self._inner = inner
        self._sock = sock
        self._deadlines = deadlines
        self._longest = sock.gettimeout() or math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 -- a writable buffer
        left = self._deadlines.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request timed out")
        patience = min(left, self._longest)
        if patience < math.inf:
            self._sock.settimeout(patience)
        return self._inner.readinto(buffer)

    def close(self) -> None:
        self._inner.close()
        super().close()


def timed(base: type[Any], deadlines: RequestDeadlines) -> type[Any]:
    """Return a connection class of urllib3 whose answers are read by `_TimedReader`."""

    class Answered(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- as its base
            super().__init__(sock, *args, **kwargs)
            # nothing is read yet, so no buffered bytes are lost
            self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock, deadlines))

    return type("Timed", (base,), {"response_class": Answered})

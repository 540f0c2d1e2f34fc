"""Sessions of people who signed in, and the one-time links by which this machine's user does."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from streams.console.viewer import Viewer

TOKEN_BYTES: Final = 32
MOST_SESSIONS: Final = 2_000
MOST_OF_ONE: Final = 20
"""The most sessions of one person; the least recently used one ends."""
LINK_SECONDS: Final = 12 * 3600.0
IDLE_SECONDS: Final = 8 * 3600.0
SESSION_SECONDS: Final = 24 * 3600.0


class Session(msgspec.Struct, kw_only=True):
    """One signed-in browser."""

    viewer: Viewer
    csrf: str
    """The token that each of its forms carries."""
    began: float
    used: float
    streams: int = 0
    """Its open streams of events."""


class Sessions:
    """All sessions of one console, in memory: a restart ends them."""

    def __init__(
        self,
        *,
        idle_seconds: float = IDLE_SECONDS,
        session_seconds: float = SESSION_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without any.

        Args:
            idle_seconds: How long one may be unused.
            session_seconds: How long one lasts in any case.
            clock: Returns monotonic seconds.
        """
        self._idle = idle_seconds
        self._lasts = session_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._links: OrderedDict[bytes, tuple[Viewer, float]] = OrderedDict()

    def start(self, viewer: Viewer) -> str:
        """Return the token of a new session, which the browser keeps as its cookie.

        Args:
            viewer: The person who signed in.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now = self._clock()
        session = Session(
            viewer=viewer, csrf=secrets.token_urlsafe(TOKEN_BYTES), began=now, used=now
        )
        with self._lock:
            own = [
                key for key, opened in self._sessions.items() if opened.viewer.name == viewer.name
            ]
            for key in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
                del self._sessions[key]
            while len(self._sessions) >= MOST_SESSIONS:
                self._sessions.popitem(last=False)
            self._sessions[_digest(token)] = session
        return token

    def of(self, token: str | None) -> Session | None:
        """Return the session of a token, None if there is none or it is over.

        Args:
            token: The token that the browser sent.
        """
        if not token:
            return None
        key = _digest(token)
        now = self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            if now - session.used > self._idle or now - session.began > self._lasts:
                del self._sessions[key]
                return None
            session.used = now
            self._sessions.move_to_end(key)
            return session

    def lives(self, token: str | None) -> bool:
        """Return whether a session is still valid; this does not count as use."""
        with self._lock:
            session = self._sessions.get(_digest(token or ""))
        return session is not None and self._clock() - session.began <= self._lasts

    def end(self, token: str | None) -> None:
        """End a session."""
        if token:
            with self._lock:
                self._sessions.pop(_digest(token), None)

    def new_link(self, viewer: Viewer) -> str:
        """Return the token of a link that signs a viewer in, once; one made before ends.

        Args:
            viewer: The person to sign in.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            self._links.clear()
            self._links[_digest(token)] = (viewer, self._clock())
        return token

    def link_waits(self) -> bool:
        """Return whether there is a link that can still be used."""
        with self._lock:
            return any(self._clock() - made <= LINK_SECONDS for _, made in self._links.values())

    def use_link(self, token: str) -> Viewer | None:
        """Return the viewer whom a link signs in, None if it was used or has expired."""
        with self._lock:
            found = self._links.pop(_digest(token), None)
        if found is None or self._clock() - found[1] > LINK_SECONDS:
            return None
        return found[0]


def same(given: str, expected: str) -> bool:
    """Return whether a form's token is that of the session, in constant time."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

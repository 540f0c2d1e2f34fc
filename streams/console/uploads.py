"""Keeps uploaded files that are not confirmed yet, in memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec

MOST: Final = 8
"""Most files that are kept; the oldest is dropped for a further one."""
SECONDS: Final = 900.0
"""How long one waits to be confirmed."""


class Upload(msgspec.Struct, frozen=True):
    """A file as a browser sent it."""

    name: str
    raw: bytes


class Uploads:
    """Files of sessions: of each session the last one, under its digest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without any.

        Args:
            clock: Returns monotonic seconds.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[str, float, Upload, Upload | None]] = OrderedDict()

    def keep(self, session: str, file: Upload, manifest: Upload | None = None) -> str:
        """Keep a file instead of the session's last one; return its digest.

        Args:
            session: A secret of this session.
            file: The file.
            manifest: Its publisher's signed manifest.
        """
        digest = sha256(file.raw).hexdigest()
        now = self._clock()
        with self._lock:
            self._kept.pop(session, None)
            for other in [upload for upload, kept in self._kept.items() if kept[1] <= now]:
                del self._kept[other]
            while len(self._kept) >= MOST:
                self._kept.popitem(last=False)
            self._kept[session] = (digest, now + SECONDS, file, manifest)
        return digest

    def find(self, session: str, digest: str) -> tuple[Upload, Upload | None] | None:
        """Return a session's file and its manifest; None: it is not kept.

        Args:
            session: A secret of this session.
            digest: The digest of the file.
        """
        with self._lock:
            kept = self._kept.get(session)
        if kept is None or kept[0] != digest or kept[1] <= self._clock():
            return None
        return kept[2], kept[3]

    def drop(self, session: str) -> None:
        """Drop a session's file.

        Args:
            session: A secret of this session.
        """
        with self._lock:
            self._kept.pop(session, None)

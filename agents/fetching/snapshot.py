"""One snapshot of a file: the bytes scanned are the bytes hashed, or the change is reported."""

from __future__ import annotations

import hashlib
import threading
from typing import Final, Protocol

from agents.fetching.errors import FetchError

BLOCK: Final = 64 * 1024
"""Bytes that one hash covers."""
CHUNK: Final = 64 * BLOCK
_HASH_BYTES: Final = 16


class _Readable(Protocol):
    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


class Snapshot:
    """Serves a file in whole blocks and remembers each by its hash.

    A path that is opened twice, or a server that is asked twice, may return other bytes the second
    time: so every further read of a block, and the digest of the whole, must match the earlier
    read. Only hashes are stored.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._size: int | None = None
        self._hashes: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def _same_size(self, source: _Readable) -> int:
        if self._size is None:
            self._size = source.size
        if source.size != self._size:
            raise FetchError("the file changed while it was read: it has another size")
        return self._size

    def _note(self, index: int, block: bytes) -> None:
        found = hashlib.blake2b(block, digest_size=_HASH_BYTES).digest()
        with self._lock:
            if self._hashes.setdefault(index, found) != found:
                raise FetchError(f"the file changed while it was read, at byte {index * BLOCK}")

    def read(self, source: _Readable, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset` of a source of the file.

        Raises:
            FetchError: they can't be read, or differ from an earlier read.
        """
        size = self._same_size(source)
        if offset < 0 or length <= 0 or offset >= size:
            return b""
        end = min(offset + length, size)
        first = offset // BLOCK
        start = first * BLOCK
        raw = self._blocks(source, start, min(-(-end // BLOCK) * BLOCK, size))
        return raw[offset - start : end - start]

    def _blocks(self, source: _Readable, start: int, end: int) -> bytes:
        raw = source.read(start, end - start)
        if len(raw) != end - start:
            raise FetchError(f"ends at byte {start + len(raw)}, {self._size} were announced")
        for offset in range(0, len(raw), BLOCK):
            self._note((start + offset) // BLOCK, raw[offset : offset + BLOCK])
        return raw

    def sha256(self, source: _Readable) -> str:
        """Return the SHA-256 of the whole file, in hex, consistent with all earlier reads.

        Args:
            source: The file, reopened or still open.

        Raises:
            FetchError: it can't be read to its end, or differs from an earlier read.
        """
        size = self._same_size(source)
        digest = hashlib.sha256()
        for start in range(0, size, CHUNK):
            digest.update(self._blocks(source, start, min(start + CHUNK, size)))
        return digest.hexdigest()

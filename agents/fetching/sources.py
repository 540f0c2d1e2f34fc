"""Read bytes by range through a block cache, and compute their digest in one pass."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from typing import Final, Protocol, Self

from agents.fetching.errors import FetchError

BLOCK: Final = 256 * 1024
"""Bytes per request; parsers read headers and directories in small pieces."""
CACHED_BLOCKS: Final = 64
"""Blocks kept per open source: 16 MiB."""
CHUNK: Final = 4 * 1024 * 1024
"""Bytes per read when a file is streamed."""


class OpenSource(Protocol):
    """A source of bytes by range that holds a file or connection open."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer at the end."""

    def close(self) -> None:
        """Close the file or connection."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(self, *exc: object) -> None:
        """Close."""


class DescriptorSource:
    """A regular file, by a descriptor that it owns."""

    def __init__(self, descriptor: int, size: int | None = None) -> None:
        """Take over an open descriptor.

        Args:
            descriptor: Of a regular file.
            size: Its length, if already known.
        """
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size if size is None else size

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""
        return self._size

    @property
    def descriptor(self) -> int:
        """The descriptor, for a reader in another process."""
        return self._descriptor

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        return os.pread(self._descriptor, max(length, 0), offset) if offset >= 0 else b""

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()


class RangeReader(Protocol):
    """Reads ranges of a remote object."""

    def read_range(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`, which lie within the size."""


class BlockSource:
    """A remote object, read through a cache of blocks; the least recently used is dropped first."""

    def __init__(
        self, reader: RangeReader, size: int, *, block: int = BLOCK, cached: int = CACHED_BLOCKS
    ) -> None:
        """Start with nothing fetched.

        Args:
            reader: Fetches ranges.
            size: Length of the object in bytes.
            block: Bytes per block.
            cached: Number of blocks kept.
        """
        self._reader = reader
        self._size = size
        self._block = block
        self._cached = cached
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.fetched = 0
        """Bytes fetched so far."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`.

        Raises:
            FetchError: a range could not be read.
        """
        if offset < 0 or offset >= self._size or length <= 0:
            return b""
        end = min(offset + length, self._size)
        with self._lock:
            if end - offset >= 2 * self._block:
                # A long read bypasses the cache; it would evict every block.
                return self._fetch(offset, end - offset)
            parts = []
            for index in range(offset // self._block, (end - 1) // self._block + 1):
                start = index * self._block
                block = self._get(index)
                parts.append(block[max(offset - start, 0) : end - start])
            return b"".join(parts)

    def _get(self, index: int) -> bytes:
        found = self._blocks.get(index)
        if found is None:
            start = index * self._block
            found = self._fetch(start, min(self._block, self._size - start))
            self._blocks[index] = found
            if len(self._blocks) > self._cached:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(index)
        return found

    def _fetch(self, offset: int, length: int) -> bytes:
        raw = self._reader.read_range(offset, length)
        if len(raw) != length:
            raise FetchError(f"{len(raw)} bytes came where {length} were asked for")
        self.fetched += length
        return raw

    def close(self) -> None:
        """Drop the blocks, and close the reader if it can be closed."""
        self._blocks.clear()
        close = getattr(self._reader, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()


class _Readable(Protocol):
    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


def sha256_stream(source: _Readable, *, limit: int | None = None) -> str:
    """Return the SHA-256 of all bytes of a source, in hex, in one pass.

    Args:
        source: The source to read.
        limit: Most bytes; a larger source is not read.

    Raises:
        FetchError: the source exceeds the limit, or ends before its size.
    """
    if limit is not None and source.size > limit:
        raise FetchError(f"{source.size} bytes are more than a digest is computed over ({limit})")
    digest = hashlib.sha256()
    offset = 0
    while offset < source.size:
        chunk = source.read(offset, min(CHUNK, source.size - offset))
        if not chunk:
            raise FetchError(f"ends at byte {offset}, {source.size} were announced")
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()

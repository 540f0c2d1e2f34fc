"""Reads a source by ranges through a small buffer, never beyond its end."""

from __future__ import annotations

import struct
from typing import Final

from agents.checks.artifacts.scanning import (
    BudgetExceededError,
    CorruptFileError,
    Scan,
    Source,
)

CHUNK: Final = 1 << 16
"""Bytes fetched at a time: metadata is close together, and a remote read costs a round trip."""
MAX_DOCUMENT: Final = 64 << 20
"""Bytes of a text document (JSON, YAML, XML, source code) that are read whole."""

_CONTROLS: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\x0b\x0c\r\x1b")


class Window:
    """Bytes of a source by offset, fetched in chunks, the last of them kept."""

    def __init__(self, source: Source) -> None:
        """Start without data."""
        self._source = source
        self.size = source.size
        self._start = 0
        self._chunk = b""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises:
            CorruptFileError: the file ends before.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CorruptFileError(f"the file ends within the structure at offset {offset}")
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._chunk):
            if length >= CHUNK:
                return self._exactly(offset, length)
            self._chunk = self._source.read(offset, min(CHUNK, self.size - offset))
            self._start = offset
            begin = 0
            if len(self._chunk) < length:
                raise CorruptFileError(f"the file ends within the structure at offset {offset}")
        return self._chunk[begin : begin + length]

    def _exactly(self, offset: int, length: int) -> bytes:
        raw = self._source.read(offset, length)
        if len(raw) < length:
            raise CorruptFileError(f"the file ends within the structure at offset {offset}")
        return raw

    def number(self, offset: int, length: int, *, signed: bool = False) -> int:
        """Return the little-endian integer of `length` bytes at `offset`."""
        return int.from_bytes(self.read(offset, length), "little", signed=signed)


class Cursor:
    """Reads a window forward, little-endian."""

    def __init__(self, window: Window, offset: int = 0, end: int | None = None) -> None:
        """Begin at `offset`; nothing at `end` or after it is read."""
        self.window = window
        self.offset = offset
        self.end = window.size if end is None else min(end, window.size)

    @property
    def left(self) -> int:
        """Bytes up to the end."""
        return self.end - self.offset

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes.

        Raises:
            CorruptFileError: fewer are left.
        """
        self._check(length)
        raw = self.window.read(self.offset, length)
        self.offset += length
        return raw

    def skip(self, length: int) -> None:
        """Skip `length` bytes without reading them.

        Raises:
            CorruptFileError: fewer are left.
        """
        self._check(length)
        self.offset += length

    def unsigned(self, length: int) -> int:
        """Return the next unsigned integer of `length` bytes."""
        return int.from_bytes(self.take(length), "little")

    def signed(self, length: int) -> int:
        """Return the next signed integer of `length` bytes."""
        return int.from_bytes(self.take(length), "little", signed=True)

    def unpack(self, layout: str) -> tuple[int, ...]:
        """Return the next values in `struct` layout, little-endian."""
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def _check(self, length: int) -> None:
        if length < 0 or length > self.left:
            raise CorruptFileError(
                f"{length} bytes are declared at offset {self.offset}, {max(self.left, 0)} are left"
            )


def read_document(scan: Scan, source: Source) -> bytes:
    """Return a whole document, and charge the budget for its bytes.

    Raises:
        BudgetExceededError: it is larger than a document may be.
    """
    if source.size > MAX_DOCUMENT:
        raise BudgetExceededError(f"the document is larger than {MAX_DOCUMENT} bytes")
    scan.budget.step(1 + source.size // 64)
    raw = source.read(0, source.size)
    if len(raw) < source.size:
        raise CorruptFileError("the file ends before its declared size")
    return raw


def controls(text: bytes) -> int:
    """Return how many bytes are control characters that no text has."""
    return len(text) - len(text.translate(None, _CONTROLS))


def is_unicode_text(raw: bytes) -> bool:
    """Return whether bytes are UTF-8 or its beginning, with no control characters."""
    if not raw.strip() or controls(raw):
        return False
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(raw) - 3 and error.reason == "unexpected end of data"
    return True


def decode_text(raw: bytes) -> str:
    """Return text as its readers would: by its byte order mark, else as UTF-8 with replacement."""
    for mark, encoding in (
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
        (b"\xef\xbb\xbf", "utf-8-sig"),
    ):
        if raw.startswith(mark):
            return raw.decode(encoding, "replace")
    return raw.decode("utf-8", "replace")

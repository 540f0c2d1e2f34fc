"""Decompresses within limits: compressed bytes as a source of their own."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from agents.checks.artifacts.scanning import (
    Budget,
    BudgetExceededError,
    BytesSource,
    CorruptFileError,
    Scan,
    Source,
)

CHUNK: Final = 1 << 18
HELD: Final = 32 << 20
"""Data that expands to less is kept in memory; more is decompressed again for each pass."""
BOMB_RATIO: Final = 200
BOMB_SIZE: Final = 100 << 20
"""Arrays of zeros reach any ratio; below this size that is harmless."""


class _Zlib:
    """zlib's decompressor with the interface of the others: held-back input is fed again."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class _Whole:
    """A decompressor that can't limit its output; it gets its input in small pieces."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 -- zstandard's and lz4's
        self._inner = inner

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data or b""

    needs_input = True

    def decompress(self, data: bytes, max_length: int) -> bytes:  # noqa: ARG002
        out: bytes = self._inner.decompress(data)
        return out


def _zstd() -> Any:  # noqa: ANN401
    import zstandard  # noqa: PLC0415 -- costs memory where it is not needed

    return _Whole(zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj())


def _lz4() -> Any:  # noqa: ANN401
    import lz4.frame  # type: ignore[import-untyped]  # noqa: PLC0415 -- the same; not typed

    return lz4.frame.LZ4FrameDecompressor()


def _bz2() -> Any:  # noqa: ANN401 -- whichever library's decompressor
    import bz2  # noqa: PLC0415 -- of such data alone

    return bz2.BZ2Decompressor()


def _xz() -> Any:  # noqa: ANN401 -- the same
    import lzma  # noqa: PLC0415 -- of such data alone

    return lzma.LZMADecompressor(memlimit=256 << 20)


def _lzma() -> Any:  # noqa: ANN401 -- the same
    import lzma  # noqa: PLC0415 -- of such data alone

    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=256 << 20)


METHODS: Final[dict[str, Callable[[], Any]]] = {
    "gzip": lambda: _Zlib(31),
    "zlib": lambda: _Zlib(15),
    "deflate": lambda: _Zlib(-15),
    "bz2": _bz2,
    "xz": _xz,
    "lzma": _lzma,
    "zstd": _zstd,
    "lz4": _lz4,
}
_SMALL_INPUT: Final = {"zstd": 1 << 12}
_ERRORS: Final[tuple[type[Exception], ...]] = (
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
)


def expand(method: str, source: Source, budget: Budget) -> Iterator[bytes]:
    """Yield the decompressed bytes, member by member, and charge the budget.

    Raises:
        CorruptFileError: the bytes are not of the method, or end early.
        BudgetExceededError: more than the scan may expand.
    """
    offset = 0
    feed = _SMALL_INPUT.get(method, CHUNK)
    engine = METHODS[method]()
    started = False
    size = source.size
    errors = (*_ERRORS, *_further_errors(method))
    while True:
        data = b""
        if getattr(engine, "needs_input", True):
            data = source.read(offset, feed)
            offset += len(data)
            if not data:
                if started:
                    raise CorruptFileError(f"{method} data ends early")
                return
        started = True
        try:
            out = engine.decompress(data, CHUNK)
        except errors as error:
            raise CorruptFileError(f"not {method} data: {error}") from error
        budget.expand(len(out))
        if out:
            yield out
        if engine.eof:
            offset -= len(engine.unused_data or b"")
            rest = source.read(offset, 16)
            if offset >= size or method == "deflate" or not _continues(method, rest):
                return
            engine = METHODS[method]()


def _further_errors(method: str) -> tuple[type[Exception], ...]:
    """Return the errors of a method's own library."""
    if method == "zstd":
        import zstandard  # noqa: PLC0415 -- loaded already

        return (zstandard.ZstdError,)
    if method in ("xz", "lzma"):
        import lzma  # noqa: PLC0415 -- loaded already

        return (lzma.LZMAError,)
    return ()


def _continues(method: str, rest: bytes) -> bool:
    """Return whether another member of the same method follows."""
    heads = {
        "gzip": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ", "zstd": b"\x28\xb5\x2f\xfd",
        "lz4": b"\x04\x22\x4d\x18",
    }  # fmt: skip
    head = heads.get(method)
    return head is not None and rest.startswith(head)


class Inflated:
    """The expanded form of compressed bytes, by range; to go back, it begins again."""

    def __init__(self, method: str, source: Source, budget: Budget, size: int) -> None:
        """Prepare; the expanded size is known."""
        self._method = method
        self._source = source
        self._budget = budget
        self.size = size
        self._restart()

    def _restart(self) -> None:
        self._pieces = expand(self._method, self._source, self._budget)
        self._buffer = b""
        self._start = 0

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        if offset < self._start:
            self._restart()
        end = min(offset + length, self.size)
        while self._start + len(self._buffer) < end:
            if offset > self._start + len(self._buffer):
                self._start += len(self._buffer)
                self._buffer = b""
            try:
                piece = next(self._pieces, b"")
            except CorruptFileError:
                piece = b""
            if not piece:
                break
            keep = max(min(offset - self._start, len(self._buffer)) - CHUNK, 0)
            self._buffer = self._buffer[keep:] + piece
            self._start += keep
        begin = offset - self._start
        return self._buffer[begin : begin + length] if begin >= 0 else b""


def inflate(scan: Scan, method: str, source: Source, declared: int | None = None) -> Source:
    """Return the expanded form as a source; report damage and bombs, and keep what was expanded.

    A bomb is expanded no further than it takes to recognise it, and only its beginning is kept.

    Args:
        scan: Receives findings; its budget is charged.
        method: One of METHODS.
        source: The compressed bytes.
        declared: The expanded size its container declares.
    """
    pieces: list[bytes] = []
    total = 0
    try:
        for piece in expand(method, source, scan.budget):
            total += len(piece)
            if total <= HELD:
                pieces.append(piece)
            if total > BOMB_SIZE and total > BOMB_RATIO * max(source.size, 1):
                report_bomb(scan, source.size, total)
                scan.mark_incomplete(f"of a bomb only {BOMB_SIZE} bytes were expanded")
                return BytesSource(b"".join(pieces))
            if declared is not None and total > declared + CHUNK and total > 2 * declared:
                scan.report(
                    "TW-ARCHIVE-MISMATCH",
                    f"more comes out than the declared {declared} bytes",
                    name="expanded-size",
                )
                declared = None
    except CorruptFileError as error:
        scan.mark_corrupt(error.what)
    except BudgetExceededError as error:
        scan.mark_incomplete(error.what)
        report_bomb(scan, source.size, total)
    if total <= HELD:
        return BytesSource(b"".join(pieces))
    pieces.clear()
    return Inflated(method, source, scan.budget, total)


def report_bomb(scan: Scan, packed: int, expanded: int) -> None:
    """Report data with an extreme compression ratio."""
    scan.report(
        "TW-ARCHIVE-BOMB",
        f"{packed} bytes expand to {expanded} and more",
        packed=packed,
        expanded=expanded,
    )

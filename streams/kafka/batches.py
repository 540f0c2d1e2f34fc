"""Limits the decompressed size of record batches, for every Kafka client of the process.

aiokafka inflates a compressed batch whole, before it reads one record: 600 kB on the wire may be
600 MB in memory. Here a batch is inflated as a stream, up to a limit. One that holds more, or that
can't be parsed, is passed on as a single record whose value is a `RefusedBatch`: the range of
unread offsets, for the dead letters.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cramjam
import lz4.frame  # type: ignore[import-untyped]  # no types
import zstandard
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from schemas import dead_letters as reasons

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH_FACTOR: Final = 8
"""Bytes that a batch may expand to, in units of the largest event: the largest record of any
topic is six events, with its headers."""
_LOG_OVERHEAD: Final = 12
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""Of a batch of format 2; source: org.apache.kafka.common.record.DefaultRecordBatch."""
_LENGTH: Final = struct.Struct(">i")
_OFFSET: Final = struct.Struct(">q")
"""A batch begins with its first offset; in the formats before 2, with its last one."""
_MAGIC_OFFSET: Final = 16
_ATTRIBUTES: Final = struct.Struct(">h")
_ATTRIBUTES_OFFSET: Final = 21
_COUNT_OFFSET: Final = 57
_CODEC_MASK: Final = 0x07
LOG_APPEND_TIME: Final = 1
"""The `timestamp_type` of records whose time the broker set; it refuses producers' own claims."""
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES: Final = 16
_PLAIN_MAGIC: Final = 2
_LEGACY_VALUE_OFFSET: Final = {0: 18, 1: 26}
"""Offset of the key length in a message of the formats before 2, by format."""
_MAX_ERROR_CHARS: Final = 300


class RefusedBatch(bytes):
    """The value of the one record that replaces the unread records of a batch.

    Never sent by a producer: values from the wire are plain `bytes`.
    """

    first: int
    """The first offset that was not read."""
    records: int
    """The count in the batch's header; 0 if it has none."""
    reason: str
    """One of the constants of `schemas.dead_letters`."""
    error: str

    @classmethod
    def of(cls, *, first: int, records: int, reason: str, error: str) -> RefusedBatch:
        """Return the placeholder of a range of offsets."""
        made = cls()
        made.first, made.records, made.reason = first, records, reason
        made.error = error[:_MAX_ERROR_CHARS]
        return made


class BatchTooLargeError(Exception):
    """A batch expands beyond the limit."""


class _Record(NamedTuple):
    """The record protocol of aiokafka."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    checksum: int | None = None


def inflated(data: bytes, codec: int, limit: int) -> bytes:
    """Decompress the payload of a batch.

    Args:
        data: The compressed payload.
        codec: Kafka's id of the compression.
        limit: The most bytes it may expand to.

    Raises:
        Exception: It is larger than `limit`, or invalid for its codec.
    """
    if codec == _GZIP:
        return _in_members(data, limit, lambda: zlib.decompressobj(31))
    if codec == _LZ4:
        return _in_members(data, limit, lz4.frame.LZ4FrameDecompressor)
    if codec == _ZSTD:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return _within(reader.read(limit + 1), limit)
    if codec == _SNAPPY:
        return _snappy(data, limit)
    raise ValueError(f"unknown compression {codec}")


def _within(found: bytes, limit: int) -> bytes:
    if len(found) > limit:
        raise BatchTooLargeError
    return found


def _in_members(data: bytes, limit: int, opened: Any) -> bytes:  # noqa: ANN401 -- zlib's and lz4's
    parts: list[bytes] = []
    room = limit
    while data:
        stream = opened()
        part = _within(stream.decompress(data, room + 1), room)
        if not stream.eof:
            raise ValueError("the compressed data ends early")
        parts.append(part)
        room -= len(part)
        data = stream.unused_data or b""
    return b"".join(parts)


def _snappy(data: bytes, limit: int) -> bytes:
    """Inflate raw snappy, or the blocks of the xerial framing; each starts with its size."""
    if not data.startswith(_XERIAL):
        blocks = [data]
    else:
        blocks, at = [], _XERIAL_HEADER_BYTES
        while at < len(data):
            (size,) = _LENGTH.unpack_from(data, at)
            if size < 0 or at + _LENGTH.size + size > len(data):
                raise ValueError("a snappy block ends early")
            blocks.append(data[at + _LENGTH.size : at + _LENGTH.size + size])
            at += _LENGTH.size + size
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > limit:
        raise BatchTooLargeError
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


class _Batch:
    """A batch as aiokafka reads it, within the limit."""

    def __init__(self, inner: Any, raw: memoryview, limit: int) -> None:  # noqa: ANN401 -- aiokafka's
        self._inner = inner
        self._raw = raw
        self._limit = limit
        self.is_control_batch = inner.is_control_batch
        self.is_transactional = inner.is_transactional
        self.producer_id = inner.producer_id
        (self.base_offset,) = _OFFSET.unpack_from(raw)
        self.next_offset = inner.next_offset

    def validate_crc(self) -> bool:
        """Return whether the checksum of the batch is valid."""
        return bool(self._inner.validate_crc())

    def __iter__(self) -> Iterator[Any]:
        """Yield the records; the last one is the placeholder of unreadable ones, if any."""
        given, after = 0, self.base_offset
        try:
            for record in self._opened():
                yield record
                given, after = given + 1, record.offset + 1
        except BatchTooLargeError:
            reason = reasons.BATCH_TOO_LARGE
            error = f"{len(self._raw)} bytes that expand to more than {self._limit}"
        except Exception as problem:  # noqa: BLE001 -- whatever a producer made of its batch
            reason = reasons.UNREADABLE_BATCH
            error = f"{type(problem).__name__}: {problem}"
        else:
            return
        yield self._refused(after, given, reason, error)

    def _refused(self, first: int, given: int, reason: str, error: str) -> _Record:
        records = 0
        stamp = stamp_type = 0
        if self._raw[_MAGIC_OFFSET] >= _PLAIN_MAGIC:
            (count,) = _LENGTH.unpack_from(self._raw, _COUNT_OFFSET)
            records = max(0, count - given)
            stamp, stamp_type = self._inner.max_timestamp, self._inner.timestamp_type
        return _Record(
            offset=max(first, self.next_offset - 1),
            timestamp=stamp,
            timestamp_type=stamp_type,
            key=None,
            value=RefusedBatch.of(first=first, records=records, reason=reason, error=error),
        )

    def _opened(self) -> Any:  # noqa: ANN401 -- aiokafka's
        raw = self._raw
        magic = raw[_MAGIC_OFFSET]
        if magic < _PLAIN_MAGIC:
            self._check_legacy(magic)
            return self._inner
        (attributes,) = _ATTRIBUTES.unpack_from(raw, _ATTRIBUTES_OFFSET)
        codec = attributes & _CODEC_MASK
        if not codec:
            return self._inner
        payload = inflated(bytes(raw[_HEADER.size :]), codec, self._limit)
        plain = bytearray(raw[: _HEADER.size]) + payload
        _ATTRIBUTES.pack_into(plain, _ATTRIBUTES_OFFSET, attributes & ~_CODEC_MASK)
        _LENGTH.pack_into(plain, _LOG_OVERHEAD - _LENGTH.size, len(plain) - _LOG_OVERHEAD)
        return DefaultRecordBatch(bytes(plain))

    def _check_legacy(self, magic: int) -> None:
        """Inflate a wrapper message of an old format once to check its size; aiokafka reads it."""
        raw = self._raw
        codec = raw[_MAGIC_OFFSET + 1] & _CODEC_MASK
        if not codec:
            return
        at = _LEGACY_VALUE_OFFSET[magic]
        (key_size,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size + max(0, key_size) + _LENGTH.size
        inflated(bytes(raw[at:]), codec, self._limit)


class BoundedRecords:
    """The fetched batches of one partition. Replaces aiokafka's `MemoryRecords`."""

    limit = 8 * 1024 * 1024
    """The limit of this process; see `bound_batches`."""

    def __init__(self, data: bytes) -> None:
        """Index the batches of `data`, none of them inflated yet."""
        self._inner = MemoryRecords(data)
        self._view = memoryview(data)
        self._at = 0

    def size_in_bytes(self) -> int:
        """Return the bytes as received."""
        return int(self._inner.size_in_bytes())

    def has_next(self) -> bool:
        """Return whether there is a further whole batch."""
        return bool(self._inner.has_next())

    def next_batch(self) -> Any:  # noqa: ANN401 -- what aiokafka takes for a batch
        """Return the next batch."""
        batch = self._inner.next_batch()
        if batch is None:
            return None
        (length,) = _LENGTH.unpack_from(self._view, self._at + 8)
        end = self._at + _LOG_OVERHEAD + length
        raw, self._at = self._view[self._at : end], end
        return batch if batch.is_control_batch else _Batch(batch, raw, self.limit)


def bound_batches(limit: int) -> None:
    """Make every client of this process refuse batches that expand to more than `limit` bytes."""
    BoundedRecords.limit = limit
    fetcher.MemoryRecords = BoundedRecords

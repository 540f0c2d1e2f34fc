"""No batch is inflated beyond the limit, whatever its codec; what is refused says which offsets."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.structs import TopicPartition

from schemas import dead_letters as reasons
from streams.kafka import batches
from streams.kafka.batches import BoundedRecords, RefusedBatch

MIB = 1024 * 1024
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def batch(codec: int, values: list[bytes], base: int = 0, headers: Any = ()) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1 << 31,
    )  # fmt: skip
    for number, value in enumerate(values):
        builder.append(number, timestamp=5, key=b"k", value=value, headers=list(headers))
    return struct.pack(">q", base) + bytes(builder.build())[8:]


def read(data: bytes, limit: int, start: int = 0) -> list[Any]:
    class Limited(BoundedRecords):
        pass

    Limited.limit = limit
    records = PartitionRecords(
        TopicPartition("t", 0), Limited(data), [], start, None, None, True, 0
    )
    found = list(records)
    found.append(records.next_fetch_offset)
    return found


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_batches_within_the_limit_read_as_they_were_written(codec: int) -> None:
    values = [b"a" * number for number in range(200)]
    data = batch(codec, values, 10, [("h", b"1")]) + batch(codec, [b"x"], 210)
    *records, after = read(data, MIB)
    assert [record.value for record in records] == [*values, b"x"]
    assert [record.offset for record in records] == list(range(10, 211))
    assert records[0].headers == (("h", b"1"),)
    assert (records[0].key, records[0].timestamp) == (b"k", 5)
    assert after == 211


@pytest.mark.parametrize("codec", list(CODECS.values())[1:], ids=list(CODECS)[1:])
def test_a_batch_that_expands_too_far_is_one_record_and_its_neighbours_are_read(codec: int) -> None:
    bomb = batch(codec, [b"{" + b" " * MIB + b"}"] * 40, 7)
    data = batch(codec, [b"before"], 6) + bomb + batch(codec, [b"after"], 47)
    tracemalloc.start()
    before, refused, behind, after = read(data, 2 * MIB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (before.value, behind.value, after) == (b"before", b"after", 48)
    assert type(refused.value) is RefusedBatch
    assert refused.value.reason == reasons.BATCH_TOO_LARGE
    assert (refused.value.first, refused.offset, refused.value.records) == (7, 46, 40)
    assert peak < 20 * MIB


def test_reading_goes_on_behind_records_that_were_read_before() -> None:
    *records, after = read(batch(CODECS["zstd"], [b"a", b"b", b"c"], 0), MIB, start=1)
    assert [record.value for record in records] == [b"b", b"c"]
    assert after == 3


def _with_crc(data: bytearray) -> bytes:
    from aiokafka.record.util import calc_crc32c  # noqa: PLC0415 -- beside its only use

    struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    return bytes(data)


def test_a_batch_that_is_no_batch_does_not_stop_those_behind_it() -> None:
    """A header's name that is no UTF-8: the broker takes it, aiokafka can't read it."""
    data = bytearray(batch(0, [b"fine", b"odd"], 0, [("hh", b"1")]))
    at = data.rindex(b"hh")
    data[at : at + 2] = b"\xff\xff"
    one, refused, after, *rest = read(_with_crc(data) + batch(0, [b"next"], 2), MIB)
    assert one.value == b"fine"
    assert refused.value.reason == reasons.UNREADABLE_BATCH
    assert (refused.value.first, refused.offset, refused.value.records) == (1, 1, 1)
    assert (after.value, rest) == (b"next", [3])


@pytest.mark.parametrize("codec", list(CODECS.values())[1:], ids=list(CODECS)[1:])
def test_wrong_compression_is_refused(codec: int) -> None:
    data = bytearray(batch(codec, [b"a" * 1000, bytes(range(256)) * 3], 4))
    data[61:] = bytes(255 - byte for byte in data[61:])
    refused, after = read(_with_crc(data), MIB)
    assert refused.value.reason == reasons.UNREADABLE_BATCH
    assert (refused.value.first, refused.offset, after) == (4, 5, 6)


@pytest.mark.parametrize("magic", [0, 1])
def test_old_formats_are_read_and_bounded_as_well(magic: int) -> None:
    def legacy(values: list[bytes]) -> bytes:
        builder = LegacyRecordBatchBuilder(magic=magic, compression_type=1, batch_size=1 << 30)
        for number, value in enumerate(values):
            builder.append(number, timestamp=5, key=None, value=value)
        return bytes(builder.build())

    *records, _ = read(legacy([b"a", b"b"]), MIB)
    assert [record.value for record in records] == [b"a", b"b"]
    (refused, _) = read(legacy([b" " * MIB] * 4), MIB)
    assert refused.value.reason == reasons.BATCH_TOO_LARGE


def test_members_are_bounded_together_and_a_torn_one_is_no_end() -> None:
    twice = gzip.compress(b"a" * 600) * 2
    assert batches.inflated(twice, CODECS["gzip"], 1200) == b"a" * 1200
    with pytest.raises(batches.BatchTooLargeError):
        batches.inflated(twice, CODECS["gzip"], 1199)
    with pytest.raises(ValueError, match="ends early"):
        batches.inflated(twice[:-1], CODECS["gzip"], 1200)
    with pytest.raises(zlib.error):
        batches.inflated(b"nonsense", CODECS["gzip"], 1200)


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown compression 7"):
        batches.inflated(b"", 7, 10)

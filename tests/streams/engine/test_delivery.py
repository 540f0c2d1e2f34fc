"""Records go to the partition Kafka's own clients choose, through parts aiokafka still has."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from aiokafka.partitioner import murmur2
from aiokafka.producer import message_accumulator as accumulator
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.delivery import key_hash


@given(st.binary(max_size=200))
def test_a_key_goes_where_every_kafka_client_sends_it(key: bytes) -> None:
    assert key_hash(key) == murmur2(key) & 0x7FFFFFFF


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (accumulator.MessageAccumulator, "_append_batch", "self, builder, tp"),
        (accumulator.BatchBuilder, "append", "self, timestamp, key, value, headers"),
        (accumulator.MessageBatch, "wait_drain", "self, timeout"),
        (
            accumulator.MessageBatch,
            "done",
            "self, base_offset, timestamp, log_start_offset, _record_metadata_class",
        ),
    ],
)
def test_the_producer_has_the_parts_records_are_put_into(
    owner: Any, name: str, parameters: str
) -> None:
    assert ", ".join(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_the_accumulator_keeps_batches_by_partition_and_its_end() -> None:
    source = inspect.getsource(accumulator.MessageAccumulator)
    for part in ("self._batches = ", "self._exception = None", "self._closed = False"):
        assert part in source
    assert "self.future = " in inspect.getsource(accumulator.MessageBatch)

"""Turns a fetched record of aiokafka into the `Record` that agents and decoders take."""

from __future__ import annotations

from typing import Any

from agents.ports import Record
from streams.kafka.batches import LOG_APPEND_TIME


def record_of(raw: Any, entered_ms: int = 0) -> Record:  # noqa: ANN401 -- aiokafka's, untyped
    """Return a record as the broker holds it.

    Args:
        raw: The fetched record.
        entered_ms: When the event that led to it entered Kafka.
    """
    return Record(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        timestamp_ms=raw.timestamp,
        key=raw.key,
        value=raw.value,
        headers=tuple(raw.headers),
        entered_ms=entered_ms,
        appended=raw.timestamp_type == LOG_APPEND_TIME,
    )

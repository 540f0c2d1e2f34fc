"""What is still known of a record that could not be read: whose source it probably came from."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agents.ports import Message, Record
from agents.triage.routing import source_notice
from schemas.canonical import stable_id
from schemas.cloudevents import first_headers

NAME_LIMIT: Final = 200
UNKNOWN: Final = "unknown"


class _Names(msgspec.Struct, frozen=True):
    tenantid: Any = None
    source: Any = None


_DECODER: Final = msgspec.json.Decoder(_Names)


def _named(record: Record) -> tuple[str, str]:
    headers = first_headers(record.headers)
    tenant = headers.get("ce_tenantid", b"").decode("utf-8", "replace")
    source = headers.get("ce_source", b"").decode("utf-8", "replace")
    if not tenant or not source:
        try:
            names = _DECODER.decode(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            names = _Names()
        tenant = tenant or (names.tenantid if isinstance(names.tenantid, str) else "")
        source = source or (names.source if isinstance(names.source, str) else "")
    if not tenant:
        key = (record.key or b"").decode("utf-8", "replace")
        tenant = key.partition("|")[0]
    return tenant[:NAME_LIMIT] or UNKNOWN, source[:NAME_LIMIT] or UNKNOWN


def refusal_message(record: Record) -> Message:
    """Return the notice that a source's record became a dead letter, for the watch on blind spots.

    What the record claims of its origin is not trusted for anything else.
    """
    tenant, source = _named(record)
    return source_notice(
        tenant=tenant,
        source=source,
        event_id=stable_id("dlq", record.topic, str(record.partition), str(record.offset)),
        at_ms=record.timestamp_ms,
        outcome="dead-letter",
    )

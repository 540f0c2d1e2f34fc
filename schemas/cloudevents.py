"""CloudEvents 1.0 on Kafka: records in either mode to typed events, documents to binary mode."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
import orjson

from schemas import dead_letters as reasons
from schemas.errors import UnreadableRecordError
from schemas.events import (
    TYPE_PACKAGE_INSTALL,
    TYPE_PIPELINE_RUN,
    TYPE_REGISTRY_PUSH,
    Event,
    PackageInstall,
    PipelineRun,
    RegistryPush,
)
from schemas.install_decoder import InstallDecoder
from schemas.reading import Decoder, decode_as

STRUCTURED: Final = b"application/cloudevents"
JSON: Final = "application/json"
CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""An event time that exceeds the broker's by more than this is clamped: clocks may differ a bit."""
MAX_DEPTH: Final = 64
"""Nesting of arrays and objects; deeper JSON is an attack on recursive readers."""
ID_LIMIT: Final = 1024
_TYPE: Final = re.compile(r"(?P<name>[a-z0-9.\-]+)\.v(?P<major>[0-9]{1,9})")
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')

Header = tuple[str, bytes]


class _Structured(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    specversion: str = ""
    id: str = ""
    source: str = ""
    type: str = ""
    subject: str = ""
    time: datetime | None = None
    tenantid: str = ""
    data: msgspec.Raw = msgspec.Raw()
    baseline: bool | str = False


_ENVELOPE: Final = msgspec.json.Decoder(_Structured)
_IDENTITY: Final = ("id", "source", "type", "tenantid")
_BY_TYPE: Final[dict[str, Decoder[Any]]] = {
    TYPE_REGISTRY_PUSH: msgspec.json.Decoder(RegistryPush),
    TYPE_PACKAGE_INSTALL: InstallDecoder(),
    TYPE_PIPELINE_RUN: msgspec.json.Decoder(PipelineRun),
}
_DATA: Final = {name.rpartition(".v")[0]: decoder for name, decoder in _BY_TYPE.items()}
_MAJOR: Final = 1
SPECVERSION: Final = ("ce_specversion", b"1.0")
_MILLISECONDS: Final = len('"2026-01-31T12:00:00.000')
_ENCODER: Final = msgspec.json.Encoder()


def nesting(raw: bytes, limit: int = MAX_DEPTH) -> int:
    """Return how deep the JSON text nests, without recursion; stops counting past `limit`.

    Text without that many brackets is not scanned for strings at all, which keeps the usual
    event cheap.
    """
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return 0
    depth = deepest = 0
    for match in _BRACKETS.finditer(raw):
        token = match.group()
        if token in {b"[", b"{"}:
            depth += 1
            deepest = max(deepest, depth)
            if deepest > limit:
                break
        elif token in {b"]", b"}"}:
            depth -= 1
    return deepest


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableRecordError(
            reasons.INVALID_UTF8, f"{what}: byte {error.start} is not UTF-8"
        ) from error


def _binary(value: bytes, headers: Mapping[str, bytes]) -> _Structured:
    attributes = {
        name: _text(headers.get(f"ce_{name}", b""), f"header ce_{name}")
        for name in ("specversion", "id", "source", "type", "subject", "tenantid")
    }
    time: datetime | None = None
    if raw_time := headers.get("ce_time"):
        try:
            time = msgspec.convert(_text(raw_time, "header ce_time"), datetime)
        except msgspec.ValidationError as error:
            raise UnreadableRecordError(
                reasons.INVALID_ENVELOPE, f"header ce_time: {error}"
            ) from error
    baseline = _text(headers.get("ce_baseline", b""), "header ce_baseline")
    return _Structured(**attributes, time=time, data=msgspec.Raw(value), baseline=baseline)


def first_headers(headers: Sequence[Header]) -> dict[str, bytes]:
    """Return the headers by lower-case name.

    Equal duplicates are harmless; of different ones the first counts, on every replay alike.
    """
    result: dict[str, bytes] = {}
    for name, value in headers:
        result.setdefault(name.lower(), value or b"")
    return result


def read_event(
    value: bytes | None,
    headers: Sequence[Header],
    *,
    timestamp_ms: int,
    max_bytes: int,
    bound_tenant: str | None = None,
) -> Event[Any]:
    """Return the event of a record, in structured or binary mode.

    The content type decides the mode first, as the Kafka protocol binding for CloudEvents 1.0
    says; a structured record may carry `ce_` headers as well.

    Args:
        value: The record's value.
        headers: Its headers.
        timestamp_ms: The broker's timestamp, milliseconds since the epoch.
        max_bytes: The largest value that is read.
        bound_tenant: The tenant the topic belongs to, where topics are bound to tenants.

    Raises:
        UnreadableRecordError: with the reason code the dead letter carries.
    """
    if value is None:
        raise UnreadableRecordError(reasons.NULL_VALUE, "the record has no value")
    if len(value) > max_bytes:
        raise UnreadableRecordError(
            reasons.TOO_LARGE, f"{len(value)} bytes, the limit is {max_bytes}"
        )
    if nesting(value) > MAX_DEPTH:
        raise UnreadableRecordError(reasons.TOO_DEEP, f"nested deeper than {MAX_DEPTH}")
    by_name = first_headers(headers)
    content_type = by_name.get("content-type", b"").lstrip().lower()
    if content_type.startswith(STRUCTURED) or "ce_type" not in by_name:
        envelope = decode_as(_ENVELOPE, value, reasons.INVALID_ENVELOPE)
    else:
        envelope = _binary(value, by_name)
    return _event(envelope, timestamp_ms, bound_tenant)


def _event(envelope: _Structured, timestamp_ms: int, bound_tenant: str | None) -> Event[Any]:
    if envelope.specversion.partition(".")[0] not in {"", "1"}:
        raise UnreadableRecordError(
            reasons.UNSUPPORTED_VERSION, f"specversion {envelope.specversion[:20]!r}"
        )
    if not _is_identified(envelope):
        missing = [name for name in _IDENTITY if not getattr(envelope, name).strip()]
        if bound_tenant is not None and "tenantid" in missing:
            missing.remove("tenantid")
        if missing:
            raise UnreadableRecordError(reasons.MISSING_IDENTITY, f"no {', '.join(missing)}")
    if envelope.time is None:
        raise UnreadableRecordError(reasons.MISSING_IDENTITY, "no time")
    if len(envelope.id) + len(envelope.source) + len(envelope.type) > ID_LIMIT or (
        len(envelope.subject) + len(envelope.tenantid) > ID_LIMIT
    ):
        _check_lengths(envelope)
    tenant = envelope.tenantid or bound_tenant or ""
    if bound_tenant is not None and tenant != bound_tenant:
        raise UnreadableRecordError(
            reasons.TENANT_MISMATCH, "the event names another tenant than its topic's"
        )
    decoder = _BY_TYPE.get(envelope.type) or _decoder(envelope.type)
    if not bytes(envelope.data):
        raise UnreadableRecordError(reasons.INVALID_EVENT, "the event has no data")
    data = decode_as(decoder, envelope.data, reasons.INVALID_EVENT)
    received = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    time = envelope.time
    if time.tzinfo is not UTC:
        try:
            time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except OverflowError as error:
            raise UnreadableRecordError(
                reasons.INVALID_ENVELOPE, f"time {time.isoformat()} is out of range"
            ) from error
    return Event(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        subject=envelope.subject or _subject(data, envelope.source),
        time=min(time, received + CLOCK_TOLERANCE),
        tenantid=tenant,
        data=data,
        received_ms=timestamp_ms,
        baseline=envelope.baseline in {True, "true"},
    )


def _is_identified(envelope: _Structured) -> bool:
    return bool(
        envelope.id.strip()
        and envelope.source.strip()
        and envelope.type.strip()
        and envelope.tenantid.strip()
    )


def _check_lengths(envelope: _Structured) -> None:
    for name in (*_IDENTITY, "subject"):
        if len(getattr(envelope, name)) > ID_LIMIT:
            raise UnreadableRecordError(
                reasons.INVALID_ENVELOPE, f"{name} is longer than {ID_LIMIT} characters"
            )


def _decoder(kind: str) -> Decoder[Any]:
    match = _TYPE.fullmatch(kind)
    if match is None or match["name"] not in _DATA:
        raise UnreadableRecordError(reasons.UNKNOWN_TYPE, f"type {kind[:100]!r}")
    if int(match["major"]) != _MAJOR:
        raise UnreadableRecordError(
            reasons.UNSUPPORTED_VERSION, f"type {kind!r}, version 1 is read"
        )
    return _DATA[match["name"]]


def _subject(data: RegistryPush | PackageInstall | PipelineRun, source: str) -> str:
    match data:
        case RegistryPush():
            name = f"{data.registry or ''}/{data.repository or ''}".strip("/")
            subject = f"{data.kind}:{name}" if name else ""
        case PackageInstall():
            name = data.system or data.image or ""
            subject = f"host:{name}" if name else ""
        case _:
            subject = f"pipeline:{data.pipeline}" if data.pipeline else ""
    if not subject:
        raise UnreadableRecordError(
            reasons.MISSING_IDENTITY, f"no subject, and none can be derived, from {source[:100]}"
        )
    return subject


def binary_headers(
    *,
    id: str,  # noqa: A002 -- the attribute's name in CloudEvents
    type: str,  # noqa: A002 -- the attribute's name in CloudEvents
    source: str,
    time: datetime | None,
    tenant: str,
    subject: str | None = None,
    content_type: str = JSON,
    correlation: str | None = None,
    causation: str | None = None,
    extra: Sequence[Header] = (),
) -> tuple[Header, ...]:
    """Return the headers of a binary-mode CloudEvent; the value is then the bare document.

    Args:
        id: Unique for the source; the same on every replay.
        type: The event type.
        source: The part of Tidewatch that made it.
        time: When the reported thing happened; None: at no particular time.
        tenant: The tenant it belongs to.
        subject: Its subject.
        content_type: Of the value.
        correlation: The incident it belongs to.
        causation: The record that caused it.
        extra: More headers, for instance a signature.
    """
    of_source, of_type, of_content = constant_headers(source, type, content_type)
    headers = [
        SPECVERSION,
        ("ce_id", id.encode()),
        of_source,
        of_type,
        *(() if time is None else (("ce_time", format_time(time).encode()),)),
        ("ce_tenantid", tenant.encode()),
    ]
    if subject:
        headers.append(("ce_subject", subject.encode()))
    if correlation:
        headers.append(("ce_correlationid", correlation.encode()))
    if causation:
        headers.append(("ce_causationid", causation.encode()))
    headers.append(of_content)
    return (*headers, *extra)


@lru_cache(256)
def constant_headers(source: str, kind: str, content_type: str) -> tuple[Header, Header, Header]:
    """Return the headers that all records of one kind have alike.

    Args:
        source: The part of Tidewatch that makes them.
        kind: Their event type.
        content_type: Of their values.
    """
    return (
        ("ce_source", source.encode()),
        ("ce_type", kind.encode()),
        ("content-type", content_type.encode()),
    )


def format_time(time: datetime) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds."""
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    return milliseconds(_ENCODER.encode(time)).decode()


def milliseconds(time: bytes) -> bytes:
    """Return a time as `format_time` does.

    Args:
        time: A JSON string, as msgspec encodes times in UTC: without digits of the second, or with
            six.
    """
    return time[1:_MILLISECONDS] + b"Z" if len(time) > _MILLISECONDS else time[1:-2] + b".000Z"


def write_structured(event: Event[Any]) -> bytes:
    """Return an event as a structured-mode CloudEvent in JSON."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "time": format_time(event.time),
            "tenantid": event.tenantid,
            "datacontenttype": JSON,
            **({"baseline": True} if event.baseline else {}),
            "data": orjson.Fragment(msgspec.json.encode(event.data)),
        }
    )

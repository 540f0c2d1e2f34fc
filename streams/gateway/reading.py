"""Requests as event records of one tenant: CloudEvents in each mode, and producers' payloads."""

from __future__ import annotations

import re
from email.message import Message
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from schemas import dead_letters as reasons
from schemas.cloudevents import MAX_DEPTH, nesting, read_event
from schemas.counting import counted
from schemas.errors import UnreadableRecordError
from streams.adapters import adapt
from streams.event_records import CONTENT_TYPE, EventRecord, written
from streams.gateway.config import GITHUB, Endpoint
from streams.gateway.proofs import Headers, single
from streams.http.problems import HttpError

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
MAX_BATCH: Final = 1000
MAX_EXTENSIONS: Final = 32
_ATTRIBUTE: Final = re.compile(rb"ce-([a-z0-9]{1,20})")
_CORE: Final = frozenset({"specversion", "id", "source", "type", "subject", "time", "tenantid"})
_PASSED_ON: Final = (b"x-github-", b"x-mlflow-", b"ce-")
"""Headers that adapters read; none contains a secret."""
_GITHUB_KINDS: Final = {
    "workflow_run": "github-workflow-run",
    "package": "github-package",
    "registry_package": "github-package",
}
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def read_hook(
    endpoint: Endpoint, headers: Headers, body: bytes, *, now_ms: int, max_bytes: int
) -> list[EventRecord]:
    """Return the events of a producer's payload; none if it concerns nothing that is monitored.

    Args:
        endpoint: The endpoint: tenant and kind of payload.
        headers: The request's headers, names in lower case.
        body: The payload.
        now_ms: The time of reception, for payloads without a time.
        max_bytes: The largest event that is read.

    Raises:
        UnreadableRecordError: It can't be read.
    """
    kind = endpoint.producer
    if kind == GITHUB:
        known = _GITHUB_KINDS.get(single(headers, "x-github-event") or "")
        if known is None:
            return []
        kind = known
    options = {"system": endpoint.system, "registry": endpoint.registry}
    events = adapt(
        kind,
        body,
        tenant=endpoint.tenant,
        received_ms=now_ms,
        headers={
            name.decode("ascii"): value.decode("utf-8", "replace")
            for name, value in headers
            if name.startswith(_PASSED_ON)
        },
        **{name: value for name, value in options.items() if value is not None},
    )
    records = [written(event) for event in events]
    for record in records:
        _check_size(record.value, max_bytes)
        if record.event.tenantid != endpoint.tenant:
            raise UnreadableRecordError(reasons.TENANT_MISMATCH, "it names another tenant")
    return records


def read_cloudevents(
    headers: Headers, body: bytes, *, tenant: str, now_ms: int, max_bytes: int
) -> list[EventRecord]:
    """Return the events of a request in structured, batched or binary mode.

    Each is bound to the tenant: one that names none becomes its, one that names another is refused,
    and of duplicate members the last one counts, here as on the topic.

    Args:
        headers: The request's headers, names in lower case.
        body: The request's body.
        tenant: The tenant of its token.
        now_ms: The time of reception.
        max_bytes: The largest event that is read.

    Raises:
        UnreadableRecordError: An event can't be read; none of a batch is then taken.
        HttpError: 415, another content type.
    """
    _check_text(body)
    kind, charset = _content_type(single(headers, "content-type") or "")
    binary = [name for name, _ in headers if name.startswith(b"ce-")]
    if charset not in {"", "utf-8"}:
        raise _unsupported("the charset is not UTF-8")
    if kind == STRUCTURED:
        return [_bound(_members(body), tenant, now_ms, max_bytes)]
    if kind == BATCH:
        _check_depth(body)
        try:
            parts = _LIST.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableRecordError(reasons.INVALID_JSON, str(error)) from error
        if len(parts) > MAX_BATCH:
            raise UnreadableRecordError(
                reasons.TOO_LARGE,
                f"{counted(len(parts), 'event')} at once, the limit is {MAX_BATCH}",
            )
        return [
            _of_batch(number, bytes(part), tenant, now_ms, max_bytes)
            for number, part in enumerate(parts)
        ]
    if binary and (kind == "application/json" or kind.endswith("+json")):
        return [_bound(_of_binary(headers, body, kind), tenant, now_ms, max_bytes)]
    raise _unsupported("the content type is not that of a CloudEvent")


def _unsupported(what: str) -> HttpError:
    return HttpError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        what,
        where="content-type",
        remedy=f"send {STRUCTURED}, {BATCH}, or JSON with ce- headers",
        headers={"accept": f"{STRUCTURED}, {BATCH}, application/json"},
    )


def _content_type(value: str) -> tuple[str, str]:
    """Return the essence of a content type, and its charset; both in lower case."""
    parsed = Message()
    parsed["content-type"] = value.encode("ascii", "replace").decode()
    charset = parsed.get_param("charset", "")
    return parsed.get_content_type(), str(charset).lower() if value else ""


def _of_batch(number: int, part: bytes, tenant: str, now_ms: int, max_bytes: int) -> EventRecord:
    try:
        return _bound(_members(part), tenant, now_ms, max_bytes)
    except UnreadableRecordError as error:
        raise UnreadableRecordError(error.reason, f"[{number}]: {error.error}") from error


def _check_text(raw: bytes) -> None:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableRecordError(
            reasons.INVALID_UTF8, f"byte {error.start} is not UTF-8"
        ) from error


def _check_depth(raw: bytes) -> None:
    if nesting(raw) > MAX_DEPTH:
        raise UnreadableRecordError(reasons.TOO_DEEP, f"nested deeper than {MAX_DEPTH}")


def _check_size(value: bytes, max_bytes: int) -> None:
    if len(value) > max_bytes:
        raise UnreadableRecordError(
            reasons.TOO_LARGE, f"{len(value)} bytes, the limit is {max_bytes}"
        )


def _members(raw: bytes) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object, each as it was written."""
    _check_depth(raw)
    try:
        return _MEMBERS.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnreadableRecordError(reasons.INVALID_JSON, str(error)) from error


def _of_binary(headers: Headers, body: bytes, kind: str) -> dict[str, msgspec.Raw]:
    """Return an event in binary mode as the members of the same one in structured mode.

    Source: CloudEvents HTTP protocol binding 1.0.2, section 3.1: `ce-` headers are attributes,
    percent-encoded.
    """
    _check_depth(body)
    members: dict[str, msgspec.Raw] = {}
    for name, value in headers:
        if not name.startswith(b"ce-"):
            continue
        match = _ATTRIBUTE.fullmatch(name)
        attribute = match[1].decode() if match else ""
        if not attribute or attribute == "data" or attribute in members:
            shown = name[:40].decode("ascii", "replace")
            raise UnreadableRecordError(
                reasons.INVALID_ENVELOPE, f"header {shown} is not an attribute, or is repeated"
            )
        try:
            text = unquote_to_bytes(value).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableRecordError(
                reasons.INVALID_UTF8, f"header ce-{attribute}: byte {error.start} is not UTF-8"
            ) from error
        members[attribute] = msgspec.Raw(msgspec.json.encode(text))
    if len(members.keys() - _CORE) > MAX_EXTENSIONS:
        raise UnreadableRecordError(
            reasons.INVALID_ENVELOPE, f"more than {MAX_EXTENSIONS} extension attributes"
        )
    try:
        data = _ANY.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnreadableRecordError(reasons.INVALID_JSON, f"data: {error}") from error
    members["datacontenttype"] = msgspec.Raw(msgspec.json.encode(kind))
    members["data"] = data
    return members


def _bound(
    members: dict[str, msgspec.Raw], tenant: str, now_ms: int, max_bytes: int
) -> EventRecord:
    """Return the record of an event that is bound to a tenant."""
    if bytes(members.get("tenantid", b"null")) == b"null":
        members.pop("tenantid", None)
    claimed = msgspec.json.encode(members)
    event = read_event(
        claimed, (CONTENT_TYPE,), timestamp_ms=now_ms, max_bytes=max_bytes, bound_tenant=tenant
    )
    members["tenantid"] = msgspec.Raw(msgspec.json.encode(tenant))
    value = msgspec.json.encode(members)
    _check_size(value, max_bytes)
    return EventRecord(event, value)


__all__ = ["BATCH", "MAX_BATCH", "STRUCTURED", "read_cloudevents", "read_hook"]

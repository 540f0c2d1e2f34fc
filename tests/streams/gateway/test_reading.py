"""Requests become records of the tenant that they are bound to, or nothing does."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import dead_letters as reasons
from schemas.cloudevents import read_event
from schemas.errors import UnreadableRecordError
from streams.event_records import CONTENT_TYPE, EventRecord
from streams.gateway.config import CLOUDEVENTS, PRODUCERS, Endpoint
from streams.gateway.reading import BATCH, MAX_BATCH, STRUCTURED, read_cloudevents, read_hook
from streams.http.problems import HttpError
from tests.each import each
from tests.samples import sample
from tests.streams.adapters.payloads import SAMPLES
from tests.streams.gateway.requests import TENANT, event, raw

MAX = 1 << 20
NOW_MS = time.time_ns() // 1_000_000


def read(body: Any, kind: str = STRUCTURED, **headers: str) -> list[EventRecord]:
    """Read a request to /v1/events."""
    given_headers = {"content-type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}}
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_cloudevents(
        raw(given_headers), content, tenant=TENANT, now_ms=NOW_MS, max_bytes=MAX
    )


def refused(body: Any, kind: str = STRUCTURED, **headers: str) -> str:
    with pytest.raises(UnreadableRecordError) as caught:
        read(body, kind, **headers)
    return caught.value.reason


def binary(**changed: str) -> dict[str, str]:
    made = event()
    names = ("specversion", "id", "source", "type", "subject", "time", "tenantid")
    return {f"ce_{name}": str(made[name]) for name in names} | changed


def test_each_mode_gives_the_same_event() -> None:
    made = event()
    (structured,) = read(made)
    (batched,) = read([made], BATCH)
    (from_binary,) = read(orjson.dumps(made["data"]), "application/json", **binary())
    assert structured.event == batched.event == from_binary.event
    for record in (structured, batched, from_binary):
        # what is written is read the same by the checks, which know no bound tenant
        again = read_event(record.value, (CONTENT_TYPE,), timestamp_ms=NOW_MS, max_bytes=MAX)
        assert again == record.event
        assert again.tenantid == TENANT


def test_unknown_fields_are_kept_as_written() -> None:
    text = json.dumps(event(theirs=1.5)).replace("1.5", "123456789012345678901234567890.10")
    (record,) = read(text.encode())
    assert b'"theirs":123456789012345678901234567890.10' in record.value


@each("tenantid", [None, "", TENANT])
def test_an_event_without_a_tenant_becomes_the_tokens(tenantid: str | None) -> None:
    (record,) = read(event(tenantid=tenantid))
    assert record.event.tenantid == TENANT
    assert json.loads(record.value)["tenantid"] == TENANT


FOREIGN_TENANTS = ["globex", "ACME", " acme", "acme ", "acme\0", "acme|x", "\u0430cme", "@acme"]


@each("tenantid", FOREIGN_TENANTS)
def test_another_tenant_is_refused_in_every_mode(tenantid: str) -> None:
    made = event(tenantid=tenantid)
    assert refused(made) == reasons.TENANT_MISMATCH
    assert refused([event(), made], BATCH) == reasons.TENANT_MISMATCH
    encoded = tenantid.encode().hex("%", 1) if tenantid.strip() else tenantid
    assert (
        refused(orjson.dumps(made["data"]), "application/json", **binary(ce_tenantid=f"%{encoded}"))
        == reasons.TENANT_MISMATCH
    )


def test_of_members_that_come_twice_no_reader_sees_but_one() -> None:
    text = orjson.dumps(event()).decode()
    own, foreign = '"tenantid":"acme"', '"tenantid":"globex"'
    (record,) = read(text.replace(own, f"{foreign},{own}").encode())
    assert record.value.count(b'"tenantid"') == 1
    assert refused(text.replace(own, f"{own},{foreign}").encode()) == reasons.TENANT_MISMATCH


def test_source_and_subject_say_nothing_of_the_tenant() -> None:
    (record,) = read(event(source="//globex/ci", subject="model:@globex/secret"))
    assert record.event.tenantid == TENANT


@each(
    ("body", "reason"),
    [
        (b"", reasons.INVALID_JSON),
        (b"[]", reasons.INVALID_JSON),
        (b"nul", reasons.INVALID_JSON),
        (b'{"id":1}', reasons.INVALID_ENVELOPE),
        (b'{"id":"\xff"}', reasons.INVALID_UTF8),
        (b"[" * 100_000, reasons.TOO_DEEP),
        (b'{"a":' * 100_000, reasons.TOO_DEEP),
        (orjson.dumps(event(id=None)), reasons.MISSING_IDENTITY),
        (orjson.dumps(event(time=None)), reasons.MISSING_IDENTITY),
        (orjson.dumps(event(data=None)), reasons.INVALID_EVENT),
        (orjson.dumps(event(type="com.example.other")), reasons.UNKNOWN_TYPE),
        (orjson.dumps(event(type="tidewatch.package.install.v9")), reasons.UNSUPPORTED_VERSION),
        (orjson.dumps(event(specversion="2.0")), reasons.UNSUPPORTED_VERSION),
        (orjson.dumps(event(id="x" * 5000)), reasons.INVALID_ENVELOPE),
        (orjson.dumps(event(more="x" * MAX)), reasons.TOO_LARGE),
    ],
)
def test_unreadable_request_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    assert refused(body) == reason


def test_a_batch_is_taken_as_a_whole_or_not_at_all() -> None:
    assert len(read([event(id=str(n)) for n in range(MAX_BATCH)], BATCH)) == MAX_BATCH
    assert refused([event()] * (MAX_BATCH + 1), BATCH) == reasons.TOO_LARGE
    with pytest.raises(UnreadableRecordError, match=r"\[1\]"):
        read([event(), event(id=None), event()], BATCH)
    assert read([], BATCH) == []


def test_attributes_of_binary_mode_are_percent_encoded_text() -> None:
    data = orjson.dumps(event()["data"])
    (record,) = read(data, "application/json", **binary(ce_subject="pypi%3Aleft%2Dpad%20%C3%A9"))
    assert record.event.subject == "pypi:left-pad é"
    headers = binary(ce_subject="%FF")
    assert refused(data, "application/json", **headers) == reasons.INVALID_UTF8
    # what would end a JSON text is a part of the value
    (record,) = read(data, "application/json", **binary(ce_id='","tenantid":"globex'))
    assert record.event.id == '","tenantid":"globex'
    assert json.loads(record.value)["tenantid"] == TENANT


@each("body", [b'{},"tenantid":"globex"', b'{}}{"tenantid":"globex"', b'1,"data":{}', b""])
def test_data_of_binary_mode_is_one_document(body: bytes) -> None:
    assert refused(body, "application/json", **binary()) == reasons.INVALID_JSON


@each("header", ["ce_data", "ce_UPPER", "ce_a b", "ce_", "ce_" + "x" * 30])
def test_a_header_that_is_no_attribute_is_refused(header: str) -> None:
    headers = binary() | {header: "x"}
    found = raw({"content-type": "application/json"})
    found += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(UnreadableRecordError) as caught:
        read_cloudevents(found, b"{}", tenant=TENANT, now_ms=NOW_MS, max_bytes=MAX)
    assert caught.value.reason == reasons.INVALID_ENVELOPE


@each(
    "kind",
    [
        "",
        "text/plain",
        "application/json",
        "application/cloudevents+avro",
        "application/cloudevents+json; charset=utf-16",
        "multipart/form-data; boundary=x",
    ],
)
def test_another_content_type_is_refused(kind: str) -> None:
    with pytest.raises(HttpError) as caught:
        read(event(), kind)
    assert caught.value.status == 415


@given(st.binary(max_size=200), st.sampled_from([STRUCTURED, BATCH, "application/json"]))
def test_no_body_causes_a_crash(body: bytes, kind: str) -> None:
    with suppress(UnreadableRecordError, HttpError):
        read(body, kind, **binary())


def hook(producer: str, body: bytes, headers: dict[str, str] | None = None) -> list[EventRecord]:
    endpoint = Endpoint(tenant=TENANT, producer=producer, secret="env:X")
    return read_hook(endpoint, raw(headers or {}), body, now_ms=NOW_MS, max_bytes=MAX)


@each(("name", "kind"), SAMPLES.items())
def test_every_producers_payload_is_read_and_twice_it_is_the_same(name: str, kind: str) -> None:
    assert kind in PRODUCERS
    body = sample("in", name)
    first, again = hook(kind, body), hook(kind, body)
    assert [entry.event.id for entry in first] == [entry.event.id for entry in again]
    assert {entry.event.tenantid for entry in first} == {TENANT}
    for record in first:
        read_event(record.value, (CONTENT_TYPE,), timestamp_ms=NOW_MS, max_bytes=MAX)


def test_one_address_takes_all_that_github_sends() -> None:
    run = sample("in", "github.workflow_run_completed.json")
    package = sample("in", "github.package_published.npm.json")
    assert hook("github", run, {"X-GitHub-Event": "workflow_run"})[0].event.type.startswith(
        "tidewatch.pipeline"
    )
    assert hook("github", package, {"X-GitHub-Event": "package"})[0].event.type.startswith(
        "tidewatch.registry"
    )
    assert hook("github", b'{"zen":"x","hook_id":1}', {"X-GitHub-Event": "ping"}) == []
    assert hook("github", run) == []


@given(
    st.sampled_from([name for name in PRODUCERS if name != CLOUDEVENTS]), st.binary(max_size=100)
)
def test_no_payload_causes_a_crash(producer: str, body: bytes) -> None:
    with suppress(UnreadableRecordError):
        hook(producer, body, {"X-GitHub-Event": "package"})

"""The wire contract: native events in both modes, and what is refused with which reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import dead_letters as reasons
from schemas.cloudevents import (
    first_headers,
    format_time,
    nesting,
    read_event,
    write_structured,
)
from schemas.errors import UnreadableRecordError
from tests.each import each
from tests.samples import sample

NOW_MS = 1_795_000_000_000
MIB = 1 << 20
EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "//ci/runner",
    "type": "tidewatch.package.install.v1",
    "subject": "host:runner",
    "time": "2026-11-20T08:16:02Z",
    "tenantid": "tenant-a",
    "data": {"packages": [{"name": "numpy", "version": "2.0.0"}]},
}


def read(document, headers=(), **kwargs):
    raw = document if isinstance(document, bytes | None) else orjson.dumps(document)
    return read_event(raw, headers, timestamp_ms=NOW_MS, max_bytes=MIB, **kwargs)


@pytest.mark.parametrize("name", ["registry-push", "package-install", "pipeline-run"])
def test_the_native_samples_read_in_both_modes_alike(name):
    raw = sample("events", f"{name}.json")
    document = orjson.loads(raw)
    structured = read(raw, [("content-type", b"application/cloudevents+json; charset=UTF-8")])
    binary = read(
        orjson.dumps(document["data"]),
        [
            *(
                (f"ce_{key}", str(value).encode())
                for key, value in document.items()
                if key not in {"data", "datacontenttype"}
            ),
            ("content-type", b"application/json"),
        ],
    )
    assert structured.id == binary.id == document["id"]
    assert structured.subject == binary.subject
    again = read(write_structured(structured))
    assert again.id == structured.id
    assert type(again.data) is type(structured.data)


def test_unknown_fields_and_huge_integers_never_fail_an_event():
    document = {**EVENT, "x": 10**400, "data": {**EVENT["data"], "__faust": {"ns": "x"}, "n": 1}}
    raw = orjson.dumps({k: v for k, v in document.items() if k != "x"})
    raw = raw[:-1] + b',"x":1' + b"0" * 400 + b"}"
    assert read(raw).data.packages[0].name == "numpy"


def test_a_time_in_the_future_is_clamped_to_the_brokers():
    event = read({**EVENT, "time": "2126-01-01T00:00:00Z"})
    assert event.time.timestamp() * 1000 == NOW_MS + 300_000


@each(
    ("value", "headers", "reason"),
    [
        (None, (), reasons.NULL_VALUE),
        (b"\xff\xfe", (), reasons.INVALID_JSON),
        (b"{", (), reasons.INVALID_JSON),
        (b'{"id":"\xff"}', (), reasons.INVALID_UTF8),
        (b"[" * 10_000 + b"]" * 10_000, (), reasons.TOO_DEEP),
        (b" " * (MIB + 1), (), reasons.TOO_LARGE),
        ({**EVENT, "id": ""}, (), reasons.MISSING_IDENTITY),
        ({**EVENT, "time": None}, (), reasons.MISSING_IDENTITY),
        ({**EVENT, "type": "tidewatch.package.install.v2"}, (), reasons.UNSUPPORTED_VERSION),
        ({**EVENT, "type": "other"}, (), reasons.UNKNOWN_TYPE),
        ({**EVENT, "data": {"packages": "no"}}, (), reasons.INVALID_EVENT),
        ({**EVENT, "id": 7}, (), reasons.INVALID_ENVELOPE),
        (b"{}", [("ce_type", b"\xff\xff")], reasons.INVALID_UTF8),
        (b"{}", [("ce_type", b"x"), ("ce_time", b"yesterday")], reasons.INVALID_ENVELOPE),
    ],
)
def test_unreadable_record_is_refused_with_a_reason(value, headers, reason):
    with pytest.raises(UnreadableRecordError) as caught:
        read(value, headers)
    assert caught.value.reason == reason


def test_a_tenant_bound_to_its_topic_cannot_be_claimed_by_another():
    assert read(EVENT, bound_tenant="tenant-a").tenantid == "tenant-a"
    with pytest.raises(UnreadableRecordError) as caught:
        read(EVENT, bound_tenant="tenant-b")
    assert caught.value.reason == reasons.TENANT_MISMATCH


def test_of_duplicate_headers_the_first_counts():
    assert first_headers([("A", b"1"), ("a", b"2")]) == {"a": b"1"}


def test_brackets_in_strings_do_not_count_as_depth():
    assert nesting(orjson.dumps({"a": "[" * 500})) == 1


_ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone.min])


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=_ZONES),  # noqa: DTZ001
    st.booleans(),
)
def test_a_time_is_written_in_milliseconds_that_are_cut_not_rounded(time, whole):
    time = time.replace(microsecond=0) if whole else time
    in_utc = time.astimezone(UTC).isoformat(timespec="milliseconds")
    assert format_time(time) == in_utc.removesuffix("+00:00") + "Z"

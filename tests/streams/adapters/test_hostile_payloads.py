"""A payload with anything in any place gives events or a clear error, never a crash."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import dead_letters as reasons
from schemas.cloudevents import read_event, write_structured
from schemas.errors import TidewatchError, UnreadableRecordError
from streams.adapters import adapt
from tests.depth import examples
from tests.each import each
from tests.streams.adapters.payloads import RECEIVED_MS, SAMPLES, payload_of


@each(
    ("payload", "reason"),
    [
        (b"", reasons.INVALID_JSON),
        (b"[]", reasons.INVALID_EVENT),
        (b"\xff{}", reasons.INVALID_JSON),
        (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", reasons.TOO_DEEP),
        (b'{"a": "' + b"x" * (9 << 20) + b'"}', reasons.TOO_LARGE),
    ],
)
@each("kind", sorted(set(SAMPLES.values()) | {"wandb"}))
def test_malformed_payload_is_refused_with_a_reason(kind, payload, reason):
    with pytest.raises(UnreadableRecordError) as caught:
        adapt(kind, payload, tenant="t", received_ms=RECEIVED_MS)
    assert caught.value.reason == reason


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x" * 3000, "http://[", "sha256:zz", "\u0000", "2020-13-45", "-1"])
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip


def paths(document, prefix=()):
    yield prefix
    entries = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in entries:
        yield from paths(value, (*prefix, key))


def replaced(document, path, value):
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_a_payload_with_anything_in_any_place_gives_events_or_a_clear_error(data):
    name = data.draw(st.sampled_from(sorted(SAMPLES)))
    document = orjson.loads(payload_of(name))
    places = [path for path in paths(document) if path and len(path) < 7]
    for path in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        try:
            document = replaced(document, path, data.draw(HOSTILE))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier replacement removed the place
    try:
        events = adapt(SAMPLES[name], orjson.dumps(document), tenant="t", received_ms=RECEIVED_MS)
    except TidewatchError:
        return
    for event in events:
        read_event(write_structured(event), (), timestamp_ms=RECEIVED_MS, max_bytes=1 << 24)

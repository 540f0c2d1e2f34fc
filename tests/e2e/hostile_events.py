"""Events with something hostile in each of their fields in turn, and records that are no events."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import msgspec
import orjson

from schemas import dead_letters as reasons
from schemas.channels import Channel
from tests.schemas.events import PACKAGE_INSTALL, PIPELINE_RUN, REGISTRY_PUSH

SAMPLES = {
    Channel.REGISTRY_PUSH: REGISTRY_PUSH,
    Channel.PACKAGE_INSTALL: PACKAGE_INSTALL,
    Channel.PIPELINE_RUN: PIPELINE_RUN,
}
HUGE = 10**400
LARGE = "A" * 900_000
"""A value that fills the record, nearly."""

TEXTS = (
    '"\\ud800"',
    '"a\\u0000b"',
    '"\\u001b[2J\\r\\n\\u202e\\u2066x"',
    '"../../../../etc/passwd"',
    '"@globex/secret"',
    '"model:@globex/secret"',
    '"sha256:' + "f" * 64 + '"',
    '"a|b\\u0001c#d@e:f/g%2e%2e"',
    '"file:///etc/passwd"',
    '"http://[::1/\\u0130"',
    '""',
    '"' + "é" * 3_000 + '"',
)
"""JSON of strings, raw: a serialiser would refuse some."""
NUMBERS = (str(HUGE), str(-(2**63) - 1), "-1", "1e308", "0.1", '"12"', "null")
OTHERS = ("null", "{}", "[]", "[[]]", '[{"":""}]', "false", '{"__faust":{"ns":"x.Y"}}')
TIMES = (
    '"0001-01-01T00:00:00Z"',
    '"9999-12-31T23:59:59Z"',
    '"0001-01-01T00:00:00+14:00"',
    '"2026-02-30T00:00:00Z"',
)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every place of a document, whole lists and objects too."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:2]):
            yield from _leaves(inner, (*path, number))


def _with(document: dict[str, Any], path: tuple[Any, ...], raw: str) -> bytes:
    """Return the JSON of a document with raw text at one place."""
    changed = copy.deepcopy(document)
    inner: Any = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = msgspec.Raw(raw.encode())
    return msgspec.json.encode(changed)


def _choices(path: tuple[Any, ...], value: Any) -> tuple[str, ...]:
    if path == ("id",):
        return TEXTS
    if isinstance(value, bool) or value is None:
        return OTHERS
    if isinstance(value, str):
        return TEXTS + (TIMES if "time" in str(path[-1]) or str(path[-1]).endswith("_at") else ())
    if isinstance(value, int | float):
        return NUMBERS
    return OTHERS


def hostile() -> Iterator[tuple[Channel, str, bytes]]:
    """Yield channel, event id and value: each sample with one hostile value, place by place.

    An id that begins with `any-` is not the event's: that one is hostile itself.
    """
    for channel, sample in SAMPLES.items():
        number = 0
        for path, value in _leaves(sample):
            for raw in _choices(path, value):
                number += 1
                reported = "any" if path == ("id",) else "hostile"
                event_id = f"{reported}-{channel}-{number}"
                yield channel, event_id, _with({**sample, "id": event_id}, path, raw)
        for name, value in large(sample):
            event_id = f"large-{channel}-{name}"
            yield channel, event_id, orjson.dumps({**value, "id": event_id})


def large(sample: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield samples that are as large as an event may be."""
    for name in ("source", "subject"):
        yield name, {**sample, name: LARGE}
    data = sample["data"]
    whole = 5_000
    for name, value in data.items():
        if isinstance(value, str):
            yield name, {**sample, "data": {**data, name: LARGE}}
        elif isinstance(value, list) and value:
            one = value[0]
            count = min(whole, 900_000 // (len(orjson.dumps(one)) + 40))
            whole = 300  # what follows from the size is the same for each list
            many = [_numbered(one, number) for number in range(count)]
            yield f"many-{name}", {**sample, "data": {**data, name: many}}
    if "packages" in data:
        named = {**data["packages"][0], "name": LARGE}
        yield "package-name", {**sample, "data": {**data, "packages": [named]}}
    if "repository" in data:
        file = {**data["files"][0], "path": LARGE, "uri": f"file:///{'../' * 2_000}etc/passwd"}
        yield "file-path", {**sample, "data": {**data, "files": [file]}}


def _numbered(one: Any, number: int) -> Any:
    if isinstance(one, str):
        return f"{one}-{number}"
    if not isinstance(one, dict):
        return one
    named = [name for name in ("name", "path", "component", "url", "uri") if name in one]
    return {**one, **{name: f"{one[name]}-{number}" for name in named[:1]}}


Header = tuple[str, bytes]


def poison() -> Iterator[tuple[Channel, str | None, bytes | None, list[Header], str]]:
    """Yield channel, key, value, headers and the reason for which it must be refused."""
    for channel, sample in SAMPLES.items():
        good = orjson.dumps(sample)
        kind = sample["type"]
        yield channel, "k", good.replace(b"tenant-a", b"tenant-\xff"), [], reasons.INVALID_UTF8
        yield channel, None, b"\xff\xfe\x00{", [], reasons.INVALID_JSON
        yield channel, "k", b"[1, 2]", [], reasons.INVALID_ENVELOPE
        yield channel, "k", _with(sample, ("data",), '"text"'), [], reasons.INVALID_EVENT
        yield channel, "k", _with(sample, ("id",), "12"), [], reasons.INVALID_ENVELOPE
        without = {name: value for name, value in sample.items() if name != "id"}
        yield channel, "k", orjson.dumps(without), [], reasons.MISSING_IDENTITY
        newer = {**sample, "type": kind.replace(".v1", ".v2")}
        yield channel, "k", orjson.dumps(newer), [], reasons.UNSUPPORTED_VERSION
        yield channel, "k", None, [], reasons.NULL_VALUE
        deep = b"[" * 10_000 + b"]" * 10_000
        nested = good.replace(b'"data":{', b'"data":{"deep":' + deep + b",", 1)
        yield channel, "k", nested, [], reasons.TOO_DEEP
        yield channel, "k", orjson.dumps({**sample, "x": "A" * 1_100_000}), [], reasons.TOO_LARGE
        binary = [("ce_specversion", b"1.0"), ("ce_type", kind.encode()), ("ce_id", b"\xff\xfe"),
                  ("ce_source", b"//x"), ("ce_tenantid", b"tenant-a")]  # fmt: skip
        yield channel, "k", orjson.dumps(sample["data"]), binary, reasons.INVALID_UTF8
        timed = [*binary[:2], ("ce_id", b"e"), *binary[3:], ("ce_time", b"noon")]
        yield channel, "k", orjson.dumps(sample["data"]), timed, reasons.INVALID_ENVELOPE


def odd() -> Iterator[tuple[Channel, str, str | None, bytes, list[Header]]]:
    """Yield channel, event id, key, value and headers of what is odd and must be processed."""
    for channel, sample in SAMPLES.items():
        faust = {"__faust": {"ns": "agents.x.Y"}}
        marked = {**sample, **faust, "data": {**sample["data"], **faust}}
        yield channel, f"null-key-{channel}", None, orjson.dumps(sample), []
        yield channel, f"faust-{channel}", "k", orjson.dumps(marked), []
        number = {**sample, "data": {**sample["data"], "unknown": msgspec.Raw(str(HUGE).encode())}}
        yield channel, f"huge-{channel}", "k", msgspec.json.encode(number), []
        names = ("specversion", "type", "source", "subject", "time", "tenantid")
        headers = [(f"ce_{name}", sample[name].encode()) for name in names]
        event_id = f"twice-{channel}"
        headers = [*headers, ("ce_id", event_id.encode())] * 2
        yield channel, event_id, "k", orjson.dumps(sample["data"]), headers

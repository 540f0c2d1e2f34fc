"""A large document read item by item is judged as one that is made objects of."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.checks.artifacts.dispatch import dispatch, scan_source
from agents.checks.artifacts.formats import json_reader, targets
from agents.checks.artifacts.formats.targets import leaves, mappings
from agents.checks.artifacts.readers import long_lists
from agents.checks.artifacts.readers.long_lists import LARGE, LongList, read_large
from agents.checks.artifacts.report import FileReport
from agents.checks.artifacts.scanning import Budget, BudgetExceededError, BytesSource, Scan
from tests.each import each

NAMES = st.sampled_from(
    ["", "a", "name", "type", "_target_", "target", "args", "auto_map", "x_kwargs", "x", "class",
     "trust_remote_code", "config", "class_name", "layers", "learner", "cells", "nbformat"]
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False, width=32),
    st.sampled_from(["", "os.system", "a/b", "import os; os.system('id')", "é", '"'])
)  # fmt: skip
DOCUMENTS = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.lists(inner), st.lists(st.dictionaries(NAMES, inner)), st.dictionaries(NAMES, inner)
    ),
    max_leaves=40,
)
TEXTS = st.lists(st.sampled_from('{}[],:"\\ 1\n')).map("".join).map(str.encode)


@pytest.fixture(autouse=True)
def any_size_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_lists, "LARGE", 0)
    monkeypatch.setattr(json_reader, "LARGE", 0)


def either(read: Callable[[bytes], Any], raw: bytes) -> Any:
    try:
        return read(raw)
    except (ValueError, msgspec.DecodeError):
        return "not JSON"


@given(st.one_of(DOCUMENTS.map(orjson.dumps), TEXTS))
@example(b'[{"a": 1}, {"a": 01}]')
@example(b'[{"a": "\xff"}]')
@example(b'[{"\\ud800": 1}]')
@example(b'{"\\ud800": [{}]}')
@example(b'{"a": [[]], "a": [{}]}')
@example(b"[[], NaN]")
@example(b' \n[ [1 ], {"a" :[[ ]]}] ')
def test_it_is_what_a_tree_of_objects_would_be(raw: bytes) -> None:
    read = either(read_large, raw)
    assert read == either(orjson.loads, raw)
    assert repr(read) == repr(either(orjson.loads, raw))


@given(DOCUMENTS)
def test_its_mappings_and_texts_are_found_in_the_same_order(document: Any) -> None:
    raw = orjson.dumps(document)
    for look in (mappings, leaves, lambda *given: leaves(*given, texts_alone=True)):
        plain, long = (Scan("x", dispatch, Budget()) for _ in range(2))
        read = read_large(raw)
        expected = list(look(plain, orjson.loads(raw)))
        assert list(look(long, read)) == expected
        assert long.budget.steps == plain.budget.steps
        if look is mappings:  # as the next reader does, at no cost
            assert list(look(long, read)) == expected
            assert long.budget.steps == plain.budget.steps


@given(DOCUMENTS, st.sampled_from(["config.json", "modules.json", "data.json"]))
def test_it_is_judged_alike(document: Any, name: str) -> None:
    raw = orjson.dumps(document)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "LARGE", LARGE)
        expected = scan_source(name, BytesSource(raw))
    assert scan_source(name, BytesSource(raw)) == expected


@each("limit", ["MAX_MAPPINGS", "MAX_TREE"])
def test_its_limits_are_those_of_any_document(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(targets, limit, 100)
    read = read_large(orjson.dumps([{"a": "x", "b": {}}] * 60))
    assert type(read) is LongList
    look = mappings if limit == "MAX_MAPPINGS" else leaves
    found = []
    with pytest.raises(BudgetExceededError, match="more than 100 "):
        found += look(Scan("x", dispatch, Budget()), read)


def test_options_that_were_passed_on_excuse_no_other_mapping() -> None:
    # objects that are made anew may have the identity of those that are gone
    asked = {"x_name": "acme/model", "x_kwargs": {"trust_remote_code": True}}
    raw = orjson.dumps([*[asked] * 50, *[{"trust_remote_code": True}] * 50])
    found = scan_source("config.json", BytesSource(raw)).detections
    assert len(found) == len(_judged_whole("config.json", raw).detections) == 100


def _judged_whole(name: str, raw: bytes) -> FileReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "LARGE", len(raw))
        return scan_source(name, BytesSource(raw))


def test_reading_many_records_takes_little_more_memory_than_their_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(long_lists, "LARGE", 1 << 12)
    record = {"id": 7, "text": "a b c", "label": [1, 2], "meta": {"from": "x"}}
    raw = orjson.dumps({"data": [record] * 2_000})
    scan_source("data.json", BytesSource(orjson.dumps(record)))  # what is imported first
    tracemalloc.start()
    try:
        report = scan_source("data.json", BytesSource(raw))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (report.verdict, report.reasons) == ("clean", ())
    # a slice of the source is the source's own copy
    assert peak < 3 * len(raw)

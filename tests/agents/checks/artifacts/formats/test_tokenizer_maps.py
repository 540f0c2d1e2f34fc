"""Large tokenizers are read without the part that nothing judges."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.formats import tokenizer_maps
from agents.checks.artifacts.formats.tokenizer_maps import LARGE, without_merges
from agents.checks.artifacts.scanning import BytesSource
from tests.each import each


def _tokenizer(merges: bytes, model: bytes = b"") -> bytes:
    vocab = b'{"type": "BPE", "vocab": {"a": 0, "\\u00e9": 1}, "merges": ' + merges + model + b"}"
    return (
        b'{"added_tokens": [{"id": 2, "content": "<s>"}], "model": ' + vocab + b', "decoder": null}'
    )


@each(
    "merges",
    [
        b'["a b", "a\\u00e9"]',
        b'[["a", "b"] , ["\\"", "\\\\"]]',
        b'["a b", [ "\xc3\xa9" , "]" ]]',
        b' [\n "a",\r\t"b" ] ',
    ],
)
def test_text_merges_are_skipped_and_the_rest_is_read(
    monkeypatch: pytest.MonkeyPatch, merges: bytes
) -> None:
    monkeypatch.setattr(tokenizer_maps, "LARGE", 0)
    raw = _tokenizer(merges, b', "dropout": [0.5, {"x": []}]')
    whole: dict[str, Any] = orjson.loads(raw)
    whole["model"]["merges"] = []
    assert without_merges(raw) == whole


@each(
    "merges",
    [
        b"[]",
        b"{}",
        b'["a", 1]',
        b'["a", {"_target_": "os.system"}]',
        b'[["a", "b", "c"]]',
        b'[["a", ["b"]]]',
        b'["a",]',
        b'["a" "b"]',
        b'["\\x"]',
        b'["\\ud800"]',
        b'["a\n"]',
        b'["\xff"]',
        b'["\xc3"]',
    ],
)
def test_other_merges_are_read_in_full(monkeypatch: pytest.MonkeyPatch, merges: bytes) -> None:
    monkeypatch.setattr(tokenizer_maps, "LARGE", 0)
    assert without_merges(_tokenizer(merges)) is None


def test_a_target_among_many_merges_is_found() -> None:
    merges = b"[" + b'"a b", ' * (LARGE // 6) + b'{"_target_": "os.system"}]'
    report = scan_source("tokenizer.json", BytesSource(_tokenizer(merges)))
    assert [found.rule_id for found in report.detections] == ["TW-MODEL-TARGET-DANGEROUS"]


def test_a_target_beside_many_merges_is_found() -> None:
    merges = b"[" + b'"a b", ' * (LARGE // 6) + b'"a"]'
    raw = _tokenizer(merges, b', "x": {"_target_": "os.system"}')
    assert without_merges(raw) is not None
    report = scan_source("tokenizer.json", BytesSource(raw))
    assert [found.rule_id for found in report.detections] == ["TW-MODEL-TARGET-DANGEROUS"]


def test_reading_a_large_tokenizer_takes_less_memory_than_its_bytes() -> None:
    raw = _tokenizer(b"[" + b'["aa", "bb"], ' * (LARGE // 10) + b'["a", "b"]]')
    scan_source("tokenizer.json", BytesSource(_tokenizer(b"[]")))  # what is imported first
    tracemalloc.start()
    try:
        scan_source("tokenizer.json", BytesSource(raw))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # a slice of the source is the source's own copy
    assert peak < 2.5 * len(raw)

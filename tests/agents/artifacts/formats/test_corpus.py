"""What the format parsers say of files written by hand: hostile, harmless, damaged."""

from __future__ import annotations

import pytest

from schemas.severity import Severity
from tests.corpus import model_formats, repositories
from tests.corpus.reading import PICKLE_HEADS, read_sample, severity

SOURCES = (model_formats, repositories)


def _samples(kind):
    return [
        pytest.param(name, raw, id=name)
        for source in SOURCES
        for name, raw in getattr(source, kind)()
    ]


@pytest.mark.parametrize(("name", "raw"), _samples("hostile"))
def test_hostile_file_is_malicious(name, raw):
    scans = read_sample(name, raw)
    pickled = any("pickle" in scan.formats for scan in scans)
    worst = max((severity(scan) for scan in scans), key=lambda one: one.rank)
    assert worst is Severity.CRITICAL or pickled  # a pickle within is judged by its own analyser


@pytest.mark.parametrize(("name", "raw"), _samples("harmless"))
def test_harmless_file_is_clean(name, raw):
    for scan in read_sample(name, raw):
        assert severity(scan).rank <= Severity.LOW.rank, scan.detections
        assert not scan.corrupt
        assert not scan.incomplete


@pytest.mark.parametrize(("name", "raw"), _samples("damaged"))
def test_damaged_file_is_never_clean(name, raw):
    for scan in read_sample(name, raw):
        assert scan.corrupt or scan.incomplete
        assert severity(scan).rank < Severity.CRITICAL.rank


def test_pickle_within_metadata_is_handed_on():
    samples = dict(model_formats.hostile())
    [scan] = read_sample("x.safetensors", samples["st_meta_pickle.safetensors"])
    assert "pickle" in scan.formats
    assert PICKLE_HEADS


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        pytest.param(name, raw, id=name)
        for name, raw in model_formats.harmless()
        if isinstance(raw, bytes) and not name.endswith((".txt", ".model"))
    ],
)
def test_file_cut_anywhere_is_not_malicious_and_ends(name, raw):
    for cut in range(1, len(raw), max(len(raw) // 25, 1)):
        [scan] = read_sample(name, raw[:cut])
        assert severity(scan).rank < Severity.CRITICAL.rank, (cut, scan.detections)

"""Format parsers on hostile, harmless and damaged files written by hand."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.scanning import Scan
from schemas.severity import Severity
from tests.corpus import model_formats, repositories, source_code, structures
from tests.corpus.reading import descend, read_sample, severity
from tests.corpus.wire import field, message, onnx_node, safetensors, tensor, varint
from tests.each import each

SOURCES = (model_formats, repositories, source_code, structures)


def _samples(kind):
    return [
        pytest.param(name, raw, id=name)
        for source in SOURCES
        for name, raw in getattr(source, kind)()
    ]


@each(("name", "raw"), lambda: _samples("hostile"))
def test_hostile_file_is_malicious(name, raw):
    scans = read_sample(name, raw)
    pickled = any("pickle" in scan.formats for scan in scans)
    worst = max((severity(scan) for scan in scans), key=lambda one: one.rank)
    assert worst is Severity.CRITICAL or pickled  # a pickle within is judged by its own analyser


@each(("name", "raw"), lambda: _samples("harmless"))
def test_harmless_file_is_clean(name, raw):
    for scan in read_sample(name, raw):
        assert severity(scan).rank <= Severity.LOW.rank, scan.detections
        assert not scan.corrupt
        assert not scan.incomplete


@each(("name", "raw"), lambda: _samples("damaged"))
def test_damaged_file_is_never_clean(name, raw):
    for scan in read_sample(name, raw):
        assert scan.corrupt or scan.incomplete
        assert severity(scan).rank < Severity.CRITICAL.rank


def test_pickle_within_metadata_is_handed_on():
    samples = dict(model_formats.hostile())
    [scan] = read_sample("x.safetensors", samples["st_meta_pickle.safetensors"])
    assert "pickle" in scan.formats


@each(
    ("name", "raw"),
    lambda: [
        pytest.param(name, raw, id=name)
        for name, raw in model_formats.harmless()
        if isinstance(raw, bytes) and not name.endswith((".txt", ".model"))
    ],
)
def test_file_cut_anywhere_is_not_malicious_and_ends(name, raw):
    for cut in range(1, len(raw), max(len(raw) // 25, 1)):
        [scan] = read_sample(name, raw[:cut])
        assert severity(scan).rank < Severity.CRITICAL.rank, (cut, scan.detections)


class _Sparse:
    """A file of which only the beginning is not zero; it counts what is read."""

    def __init__(self, head, size):
        self.head, self.size, self.count = head, size, 0

    def read(self, offset, length):
        length = max(min(length, self.size - offset), 0)
        self.count += length
        part = self.head[offset : offset + length]
        return part + bytes(length - len(part))


def test_only_the_header_of_a_500_gigabyte_model_is_read():
    weights = 500 << 30
    head = safetensors({"w": tensor(0, weights)})
    source = _Sparse(head, len(head) + weights)
    scan = Scan("big.safetensors", descend)
    descend(scan, "big.safetensors", source)
    assert scan.formats == ["safetensors"]
    assert not scan.detections
    assert not scan.corrupt
    assert source.count < 1 << 17


def test_the_same_file_gives_the_same_report_each_time():
    """The safetensors library names one of the tensors that overlap, now this, now that one."""
    raw = safetensors({f"w{at}": tensor(0, 16) for at in range(8)}) + bytes(16)
    reports = {repr(read_sample("same.safetensors", raw)[0].corrupt) for _ in range(20)}
    assert len(reports) == 1


def test_onnx_weights_are_not_searched():
    weights = 1 << 30
    inner = message((1, 4), (2, 1), (8, "w")) + varint(9 << 3 | 2) + varint(weights)
    graph = field(1, onnx_node("Add")) + varint(5 << 3 | 2) + varint(len(inner) + weights) + inner
    model = message((1, 8)) + varint(7 << 3 | 2) + varint(len(graph) + weights) + graph
    source = _Sparse(model, len(model) + weights)
    scan = Scan("big.onnx", descend)
    descend(scan, "big.onnx", source)
    assert scan.formats == ["onnx"]
    assert not scan.corrupt
    assert source.count < 1 << 19


@pytest.mark.parametrize(("here", "rank"), [(True, Severity.LOW), (False, Severity.MEDIUM)])
def test_remote_code_that_was_scanned_is_less_severe_than_unseen_code(here, rank):
    files = {"m/config.json": b'{"auto_map": {"AutoModel": "modeling_x.M"}}', "m/x.txt": b""}
    if here:
        files["m/modeling_x.py"] = b"class M: pass\n"
    assert max(severity(scan).rank for scan in read_sample("m", files)) == rank.rank

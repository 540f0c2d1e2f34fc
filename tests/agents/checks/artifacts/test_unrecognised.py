"""Unrecognised content is not clean, whatever its name."""

from __future__ import annotations

import hashlib

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.formats.registry import ALL
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.each import each

NOISE = b"".join(hashlib.sha256(bytes((number,))).digest() for number in range(96))
"""Bytes that no format begins with."""
ENDINGS = sorted({suffix.ending for known in ALL for suffix in known.suffixes if suffix.ending})
OTHERS = ["", ".blob", ".ckpt-1", ".data-00000-of-00001", ".idx", ".onnx_data", ".part", ".h5ad"]


def verdict(name, raw, *siblings):
    return scan_source(name, BytesSource(raw), frozenset(siblings)).verdict


@each("ending", [*ENDINGS, *OTHERS])
def test_bytes_of_no_format_are_not_clean(ending):
    for raw in (NOISE, bytes(3000), b"\xff" * 500):
        assert verdict(f"model{ending}", raw) is not Verdict.CLEAN


@each("name", ["model.bin", "weights.dat", "model.weights", "model", "a.blob"])
def test_possible_raw_numbers_are_unsupported(name):
    report = scan_source(name, BytesSource(NOISE))
    assert report.verdict is Verdict.UNSUPPORTED
    assert "its format is unknown" in report.reasons[0]


@each("name", ["a.png", "a.parquet", "a.npy", "a.zip", "a.md", "a.sh", "a.yaml"])
def test_file_that_contradicts_its_extension_is_corrupt(name):
    assert verdict(name, NOISE) is Verdict.CORRUPT


@each("name", ["a.png", "a.parquet", "a.safetensors", "a.params", "a.npy"])
def test_an_empty_file_of_a_format_that_begins_with_something_is_corrupt(name):
    assert verdict(name, b"") is Verdict.CORRUPT
    assert verdict("__init__.py", b"") is Verdict.CLEAN
    assert verdict(".gitkeep", b"") is Verdict.CLEAN


@each(
    ("name", "beside"),
    [
        ("m/variables.data-00000-of-00001", "m/variables.index"),
        ("net.bin", "net.xml"),
        ("net.onnx_data", "net.onnx"),
        ("net.onnx.data", "net.onnx"),
        ("net.pdiparams", "net.pdmodel"),
    ],
)
def test_numbers_that_a_file_beside_them_describes_are_clean(name, beside):
    assert verdict(name, NOISE, beside) is Verdict.CLEAN
    assert verdict(name, NOISE, f"other/{beside}") is Verdict.UNSUPPORTED


def test_unlinked_blob_has_no_name():
    assert verdict("hub/blobs/b879", NOISE, "hub/snapshots/0/m.onnx_data") is Verdict.UNSUPPORTED


def test_recognised_passive_file_is_clean():
    assert verdict("a.png", b"\x89PNG\r\n\x1a\n" + NOISE) is Verdict.CLEAN
    assert verdict("a.parquet", b"PAR1" + NOISE + b"PAR1") is Verdict.CLEAN
    assert verdict("a.sig", b"-----BEGIN PGP SIGNATURE-----\n\nx\n") is Verdict.CLEAN
    assert verdict("CITATION", b"Please cite us.\n") is Verdict.CLEAN


def test_html_page_in_place_of_a_model_is_corrupt():
    page = b"<!DOCTYPE html><html><body>404</body></html>"
    assert verdict("model.lgb", page) is Verdict.CORRUPT
    assert verdict("index.html", page) is Verdict.CLEAN

"""Containers yield each member once, whatever its compression, and stop at their limits."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib

import lz4.frame
import py7zr
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.checks.artifacts.containers.inflation import CHUNK, HELD, METHODS, Inflated, expand
from agents.checks.artifacts.containers.tars import ends_in_member, is_tar
from agents.checks.artifacts.containers.zips import is_escaping
from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import (
    Budget,
    BudgetExceededError,
    BytesSource,
    CorruptFileError,
)
from schemas.severity import Severity, Verdict
from tests.corpus.containers import tarred, zipped
from tests.depth import examples

PROGRAM = b"cos\nsystem\n(S'id'\ntR."
"""A pickle that runs a command."""


def _deflated(raw):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(raw) + packer.flush()


PACKERS = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "deflate": _deflated,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda raw: lzma.compress(raw, lzma.FORMAT_ALONE),
    "zstd": zstandard.compress,
    "lz4": lz4.frame.compress,
}


def expanded(method, packed, budget=None):
    return b"".join(expand(method, BytesSource(packed), budget or Budget()))


def seven_zipped(members):
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as archive:
        for name, raw in members.items():
            archive.writestr(raw, name)
    return out.getvalue()


def test_every_compression_is_tried_here():
    assert set(PACKERS) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_decompression_returns_the_original(method):
    raw = bytes(range(256)) * 3000
    assert expanded(method, PACKERS[method](raw)) == raw


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"zlib", "deflate", "lzma"}))
def test_members_behind_one_another_come_out_whole(method):
    packed = PACKERS[method](b"one") + PACKERS[method](b"two")
    assert expanded(method, packed) == b"onetwo"


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_that_ends_early_is_corrupt(method):
    packed = PACKERS[method](bytes(range(256)) * 3000)
    with pytest.raises(CorruptFileError, match="ends early"):
        expanded(method, packed[: len(packed) // 2])


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"deflate"}))
def test_other_bytes_are_corrupt(method):
    with pytest.raises(CorruptFileError, match=f"{method} data"):
        expanded(method, b"\x01not compressed at all" * 9)


@pytest.mark.parametrize("method", METHODS)
def test_expansion_ends_at_the_scans_limit(method):
    with pytest.raises(BudgetExceededError):
        expanded(method, PACKERS[method](bytes(1 << 20)), Budget(expanded_bytes=1 << 16))


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3 * CHUNK), st.integers(0, CHUNK)), max_size=8))
def test_member_read_in_several_passes_reads_as_one(ranges):
    raw = b"".join(number.to_bytes(4, "big") for number in range(CHUNK // 2))
    inflated = Inflated("gzip", BytesSource(gzip.compress(raw, 1)), Budget(1 << 40), len(raw))
    assert len(raw) < HELD
    for offset, length in ranges:
        assert inflated.read(offset, length) == raw[offset : offset + length]


@pytest.mark.parametrize(
    "archive",
    [
        zipped({"data.pkl": PROGRAM}),
        zipped({"data.pkl": PROGRAM}, zipfile.ZIP_DEFLATED),
        zipped({"data.pkl": PROGRAM}, zipfile.ZIP_BZIP2),
        zipped({"data.pkl": PROGRAM}, zipfile.ZIP_LZMA),
        tarred({"data.pkl": PROGRAM}),
        seven_zipped({"data.pkl": PROGRAM}),
        gzip.compress(tarred({"data.pkl": PROGRAM})),
    ],
    ids=["stored", "deflated", "bzip2", "lzma", "tar", "7z", "tar in gzip"],
)
def test_a_member_is_scanned_however_it_is_packed(archive):
    report = scan_source("model.bin", BytesSource(archive))
    assert report.verdict is Verdict.MALICIOUS


def test_mismatch_of_header_and_directory_hides_no_member():
    """Readers that go by local headers and readers that go by the directory both get their own."""
    raw = bytearray(zipped({"data.pkl": PROGRAM}))
    at = raw.index(b"PK\x01\x02")
    raw[at + 46 : at + 54] = b"data.txt"
    report = scan_source("model.zip", BytesSource(bytes(raw)))
    rules = {found.rule_id for found in report.detections}
    assert "TW-ARCHIVE-MISMATCH" in rules
    assert report.verdict is Verdict.MALICIOUS


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "C:\\a", "a\\..\\..\\b", "a\0b"]
)
def test_a_name_that_leaves_the_folder_is_escaping(name):
    assert is_escaping(name)


@pytest.mark.parametrize("name", ["a", "a/b.c", "a..b", "..a/b", "a/...", "c:a"])
def test_a_name_that_stays_in_the_folder_is_not(name):
    assert not is_escaping(name)


def test_a_tar_header_is_known_by_its_magic_or_by_its_checksum():
    header = bytearray(tarred({"a.txt": b"x"})[:512])
    assert is_tar(bytes(header))
    without = bytearray(header)
    without[257:265] = bytes(8)
    without[148:156] = b" " * 8
    without[148:156] = b"%06o\0 " % sum(without)
    assert is_tar(bytes(without))
    without[148:154] = b"000001"
    assert not is_tar(bytes(without))
    assert not is_tar(bytes(512))


def test_end_of_the_last_tar_member_is_known():
    inner = zipped({"a.txt": b"x"})
    raw = tarred({"first": b"1", "inner.zip": inner})
    begin = raw.index(inner)
    assert ends_in_member(BytesSource(raw), (begin, begin + len(inner)))
    assert not ends_in_member(BytesSource(raw), (begin, begin + len(inner) - 1))
    assert not ends_in_member(BytesSource(raw), None)


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("model.rar", None),  # as the rule says
        ("model.bin", Severity.CRITICAL),
        ("model.pkl", Severity.CRITICAL),
        ("model.safetensors", Severity.CRITICAL),
        ("model.gguf", Severity.CRITICAL),
    ],
)
def test_an_archive_that_is_not_read_is_worse_under_the_name_of_weights(name, severity):
    report = scan_source(name, BytesSource(b"Rar!\x1a\x07\x00" + bytes(64)))
    found = [entry for entry in report.detections if entry.rule_id == "TW-ARCHIVE-UNREADABLE"]
    assert [detection.severity for detection in found] == [severity]


def test_a_link_out_of_the_folder_is_found_and_the_rest_is_scanned():
    archive = tarred({"data.pkl": PROGRAM}, {"weights": "../../etc/passwd"})
    report = scan_source("model.tar", BytesSource(archive))
    rules = {found.rule_id for found in report.detections}
    assert {"TW-ARCHIVE-LINK", "TW-ARCHIVE-TRAVERSAL"} <= rules
    assert report.verdict is Verdict.MALICIOUS

"""Links of a scanned folder: followed within it, judged by where they lead otherwise."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from streams.scanning.targets import local_targets
from tests.corpus.structures import openvino


@pytest.fixture
def folder(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.json").write_text('{"a": 1}')
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "real.json").write_text('{"a": 1}')
    (root / "sub" / "inside.json").symlink_to("../real.json")
    (root / "sub" / "config.json").symlink_to("../../outside/config.json")
    (root / "data").symlink_to(outside)
    return root


def _verdicts(root):
    found = {}
    for target in local_targets(root):
        with target.open() as source:
            found[target.name] = scan_source(target.name, source, target.siblings).verdict
    return found


def test_a_link_out_of_the_folder_is_suspicious_and_not_followed(folder):
    assert _verdicts(folder) == {
        "real.json": Verdict.CLEAN,
        "sub/inside.json": Verdict.CLEAN,
        "sub/config.json": Verdict.SUSPICIOUS,
        "data": Verdict.SUSPICIOUS,
    }


@pytest.mark.parametrize(
    "target", ["/etc", "/etc/passwd", "/proc/self/environ", "/run/secrets/token", "../.ssh/config"]
)
@pytest.mark.parametrize("name", ["weights.bin", "vocab.txt"])
def test_a_link_to_credentials_or_to_the_system_is_malicious(tmp_path, target, name):
    root = tmp_path / "root"
    root.mkdir()
    (root / name).symlink_to(target)
    assert _verdicts(root) == {name: Verdict.MALICIOUS}


def test_a_text_that_links_to_its_like_elsewhere_is_suspicious(folder):
    (folder / "merges.txt").symlink_to("../outside/merges.txt")
    assert _verdicts(folder)["merges.txt"] is Verdict.SUSPICIOUS


def test_requirements_that_hold_a_path_are_no_link():
    source = BytesSource(b"../lib")
    assert scan_source("requirements.txt", source, frozenset()).verdict is Verdict.CLEAN


def test_a_link_out_of_the_folder_is_no_manifest(folder):
    files = {target.name: target.file for target in local_targets(folder)}
    assert files["sub/config.json"] is None
    assert files["data"] is None


def test_a_snapshot_of_a_hubs_cache_is_one_with_its_blobs(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "b1").write_text('{"a": 1}')
    snapshot = tmp_path / "snapshots" / "r1"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/b1")
    assert _verdicts(snapshot) == {"config.json": Verdict.CLEAN}
    assert set(_verdicts(tmp_path).values()) == {Verdict.CLEAN}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("net.bin", Verdict.CLEAN), ("other.bin", Verdict.UNSUPPORTED)],
)
def test_a_blob_without_a_format_is_judged_by_the_name_of_its_link(tmp_path, name, expected):
    (tmp_path / "blobs").mkdir()
    snapshot = tmp_path / "snapshots" / "r1"
    snapshot.mkdir(parents=True)
    (tmp_path / "blobs" / "b1").write_bytes(bytes(range(200, 256)) * 20)
    (snapshot / name).symlink_to("../../blobs/b1")
    (snapshot / "net.xml").write_bytes(openvino())
    assert _verdicts(tmp_path)[f"snapshots/r1/{name}"] is expected


def test_a_blob_is_scanned_under_the_names_that_snapshots_give_it(tmp_path):
    (tmp_path / "blobs").mkdir()
    snapshot = tmp_path / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    for name in ("b1", "b2"):
        (tmp_path / "blobs" / name).write_bytes(b"{}")
    (snapshot / "config.json").symlink_to("../../blobs/b1")
    names = [target.name for target in local_targets(tmp_path)]
    assert names == ["blobs/b2", "snapshots/0/config.json"]


def test_links_that_are_stored_as_text_name_their_blobs_too(tmp_path):
    (tmp_path / "blobs").mkdir()
    snapshot = tmp_path / "snapshots" / "0"
    (snapshot / "sub").mkdir(parents=True)
    (tmp_path / "blobs" / "b1").write_bytes(bytes(range(200, 256)) * 20)
    (tmp_path / "blobs" / "b2").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (tmp_path / "blobs" / "b3").write_bytes(b"{}")
    (snapshot / "sub" / "net.bin").write_text("../../../blobs/b1")
    (snapshot / "sub" / "net.xml").write_bytes(openvino())
    (snapshot / "model.pkl").write_text("../../blobs/b2")
    (snapshot / "gone.bin").write_text("../../blobs/b4")
    (snapshot / "config.json").write_text("{}")
    assert _verdicts(tmp_path) == {
        "blobs/b3": Verdict.CLEAN,
        "snapshots/0/config.json": Verdict.CLEAN,
        "snapshots/0/gone.bin": Verdict.INCOMPLETE,
        "snapshots/0/model.pkl": Verdict.MALICIOUS,
        "snapshots/0/sub/net.bin": Verdict.CLEAN,
        "snapshots/0/sub/net.xml": Verdict.CLEAN,
    }

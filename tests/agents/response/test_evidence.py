"""Evidence archives, and their verification by hash."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from agents.response import evidence
from agents.response.outcome import CommandOutcome
from tests.agents.response.bench import Bench, spec_of


def captured(bench: Bench, **more: Any) -> tuple[CommandOutcome, Path, dict[str, Any]]:
    logs = bench.folder / "logs"
    spec = spec_of("capture-evidence", "serving-1", system="serving-1", paths=(str(logs),), **more)
    outcome = bench.run(spec).outcome
    archive = Path(outcome.results["archive"])
    manifest = orjson.loads(archive.with_name(f"{spec.command_id}.json").read_bytes())
    return outcome, archive, manifest


def test_an_archive_matches_its_manifest_and_its_sums(bench: Bench) -> None:
    (bench.folder / "logs/a.log").write_bytes(b"one\n")
    (bench.folder / "logs/sub").mkdir()
    (bench.folder / "logs/sub/b.log").write_bytes(b"two\n")
    outcome, archive, manifest = captured(bench)
    assert outcome.status == 200
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert outcome.results["evidence"] == f"sha256:{sha256}"
    assert manifest["archive_sha256"] == sha256
    assert [entry["sha256"] for entry in manifest["files"]] == [
        hashlib.sha256(b"one\n").hexdigest(),
        hashlib.sha256(b"two\n").hexdigest(),
    ]
    (custody,) = manifest["custody"]
    assert custody["did"] == "captured"
    assert custody["at"] == "2026-11-20T08:00:00Z"
    assert {"responder", "host", "user"} <= custody.keys()
    out = bench.folder / "out"
    with tarfile.open(archive) as opened:
        # Python 3.11.4 and later know filters
        filtered = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        opened.extractall(out, **filtered)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=out,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_same_files_give_the_same_bytes(bench: Bench) -> None:
    for number in range(5):
        (bench.folder / f"logs/{number}.log").write_bytes(b"x" * number)
    _, first, _ = captured(bench)
    _, second, _ = captured(bench, command_id="another-id")
    assert first != second
    assert first.read_bytes() == second.read_bytes()


def test_links_are_kept_and_never_followed(bench: Bench) -> None:
    secret = bench.folder / "secret"
    secret.write_bytes(b"secret")
    (bench.folder / "logs/link").symlink_to(secret)
    (bench.folder / "logs/up").symlink_to(bench.folder)
    _, archive, manifest = captured(bench)
    assert [entry["link"] for entry in manifest["files"]] == [str(secret), str(bench.folder)]
    with tarfile.open(archive) as opened:
        assert all(member.issym() or member.name == "SHA256SUMS" for member in opened)


@pytest.mark.parametrize("swapped", ["a folder before it is opened", "a file once it was seen"])
def test_nothing_is_captured_through_a_link_that_takes_a_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    outside, below = bench.folder / "outside", bench.folder / "logs/sub"
    for folder in (outside, below):
        folder.mkdir()
        (folder / "a.log").write_bytes(folder.name.encode())
    anchors, opens = evidence.anchored, os.open

    def swap(place: Path, target: Path) -> None:
        place.rename(bench.folder / "aside")
        place.symlink_to(target)

    def anchoring(item: Path) -> AbstractContextManager[Path]:
        if item.name == "a.log" and not below.is_symlink():
            swap(below, outside)
        return anchors(item)

    def opening(path: Any, flags: int, *args: Any, **more: Any) -> int:
        file = below / "a.log"
        if str(path).endswith("/a.log") and not file.is_symlink():
            swap(file, outside / "a.log")
        return opens(path, flags, *args, **more)

    if swapped.startswith("a folder"):
        monkeypatch.setattr(evidence, "anchored", anchoring)
    else:
        monkeypatch.setattr(os, "open", opening)
    _, archive, manifest = captured(bench)
    monkeypatch.undo()
    assert (bench.folder / "aside").exists(), "it was swapped"
    assert manifest["files"] == []
    assert [Path(entry["path"]).name for entry in manifest["left_out"]] == ["a.log"]
    with tarfile.open(archive) as opened:
        assert not [name for name in opened.getnames() if name.endswith("a.log")]


def test_unreadable_and_special_files_are_recorded(bench: Bench) -> None:
    os.mkfifo(bench.folder / "logs/pipe")
    (bench.folder / "logs/fine").write_bytes(b"fine")
    spec = spec_of(
        "capture-evidence",
        "serving-1",
        paths=(str(bench.folder / "logs"), str(bench.folder / "logs/gone"), "/etc/shadow"),
    )
    outcome = bench.run(spec).outcome
    assert (outcome.status, outcome.results["files"], outcome.results["left_out"]) == (200, 1, 3)
    manifest = orjson.loads(
        Path(outcome.results["archive"]).with_name(f"{spec.command_id}.json").read_bytes()
    )
    why = {Path(entry["path"]).name: entry["why"] for entry in manifest["left_out"]}
    assert "neither file nor link" in why["pipe"]
    assert "can't be read" in why["gone"]
    assert "outside" in why["shadow"]


def test_nothing_outside_of_the_roots_is_captured(bench: Bench) -> None:
    (bench.folder / "logs/up").symlink_to(bench.folder)
    for path in ("/etc/passwd", f"{bench.folder}/logs/../etc", f"{bench.folder}/logs/up/etc"):
        spec = spec_of("capture-evidence", "serving-1", command_id="x", paths=(path,))
        assert bench.status(msgspec.structs.replace(spec, attempt=len(path))) == 403, path
    assert not (bench.folder / "evidence").exists()


def test_an_archive_is_bounded_and_says_so(bench: Bench) -> None:
    bench.limit(evidence={"max_bytes": 10, "max_files": 3})
    (bench.folder / "logs/0").write_bytes(b"x" * 11)
    for number in range(1, 6):
        (bench.folder / f"logs/{number}").write_bytes(b"x")
    outcome, _, manifest = captured(bench)
    assert outcome.results["files"] == 3
    assert {entry["why"] for entry in manifest["left_out"]} == {
        "more than 10 bytes in all",
        "more than 3 files",
    }


def test_a_system_without_evidence_does_not_stop_what_comes_after(bench: Bench) -> None:
    spec = spec_of("capture-evidence", "laptop-7", system="laptop-7")
    outcome = bench.run(spec).outcome
    assert outcome.status == 200
    assert "nothing is named" in outcome.status_text


def test_an_interrupted_capture_starts_over(bench: Bench) -> None:
    (bench.folder / "logs/a").write_bytes(b"a")
    outcome, archive, _ = captured(bench)
    spec = spec_of("capture-evidence", "serving-1", paths=(str(bench.folder / "logs"),))
    whole = archive.read_bytes()
    archive.with_name(f"{spec.command_id}.json").unlink()
    archive.with_name(f".tidewatch-{archive.name}").write_bytes(b"half")
    again = bench.run(msgspec.structs.replace(spec, attempt=2)).outcome
    assert again == outcome
    assert archive.read_bytes() == whole

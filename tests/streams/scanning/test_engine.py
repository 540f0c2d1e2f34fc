"""Many targets are scanned together, and each is reported as if it were alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.checks.artifacts.sandbox.pool import SandboxPool
from schemas.severity import Verdict
from streams.reports.entries import FileEntry
from streams.scanning.cache import ReportCache
from streams.scanning.engine import SMALL, TOGETHER, scan_targets
from streams.scanning.targets import Target, local_targets
from tests.corpus.pickles import evil

REMOTE = b'{"auto_map": {"AutoModel": "modeling.Model"}}'


@pytest.fixture(scope="module")
def pool() -> Iterator[SandboxPool]:
    with SandboxPool(2) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of more files than are scanned together, of both sizes and of several verdicts."""
    made = tmp_path_factory.mktemp("model")
    for number in range(8 * TOGETHER + 3):
        (made / f"note-{number:04}.txt").write_text(f"note {number}\n")
    (made / "config.json").write_bytes(REMOTE)
    (made / "modeling.py").write_text("class Model: ...\n")
    (made / "note-0100.pkl").write_bytes(evil(2))
    (made / "note-0200.json").write_bytes(b"{")
    (made / "note-0300.txt").write_bytes(b"words " * SMALL)
    (made / "note-0301.bin").write_bytes(evil(4) + bytes(2 * SMALL))
    (made / "note-0400.txt").write_bytes(b"")
    (made / "outside").symlink_to("/etc/hostname")
    return made


@pytest.fixture(scope="module")
def targets(folder: Path) -> list[Target]:
    return [*local_targets(folder), *local_targets(folder / "absent.txt")]


@pytest.fixture(scope="module")
def entries(targets: list[Target], pool: SandboxPool) -> list[FileEntry]:
    return scan_targets(targets, pool)


def test_each_file_is_reported_in_order_as_if_alone(
    targets: list[Target], entries: list[FileEntry], pool: SandboxPool
) -> None:
    assert [entry.path for entry in entries] == [target.path for target in targets]
    notable = [
        at
        for at, target in enumerate(targets)
        if not target.name.startswith("note-") or target.name[7] == "0"
    ]
    for at in notable:
        assert scan_targets([targets[at]], pool) == [entries[at]]
    verdicts = {entry.path.rpartition("/")[2]: entry.verdict for entry in entries}
    assert verdicts["note-0100.pkl"] is verdicts["note-0301.bin"] is Verdict.MALICIOUS
    assert verdicts["note-0200.json"] is Verdict.CORRUPT
    assert verdicts["absent.txt"] is Verdict.INCOMPLETE


def test_the_digest_is_of_what_was_scanned(
    targets: list[Target], entries: list[FileEntry], pool: SandboxPool
) -> None:
    reported = []
    asked = scan_targets(targets, pool, digest=True, done=lambda: reported.append(1))
    assert len(reported) == len(targets)
    for target, given, entry in zip(targets, asked, entries, strict=True):
        if target.file is None or not target.file.exists():
            continue
        digest = hashlib.sha256(target.file.read_bytes()).hexdigest()
        assert given.sha256 == digest
        assert entry.sha256 == (digest if entry.verdict is Verdict.MALICIOUS else None)


def test_a_cached_report_takes_the_place_of_a_scan(
    targets: list[Target], pool: SandboxPool, tmp_path: Path
) -> None:
    some = targets[:40]
    scanned = scan_targets(some, pool, cache=ReportCache(tmp_path, "1"))
    with SandboxPool(1) as idle:
        again = scan_targets(some, idle, cache=ReportCache(tmp_path, "1"))
        assert not idle._all
    assert again == scanned

"""A cached report is used only by the scanner that made it: same rules, same code."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import agents
import schemas
import streams
from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.scanning import BytesSource
from streams.scanning.cache import ReportCache, content_digest, scanner_version

VERSION = "from streams.scanning.cache import scanner_version; print(scanner_version())"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, which a test may change."""
    root = tmp_path_factory.mktemp("installation")
    for package in (agents, schemas, streams):
        source = Path(package.__path__[0])
        shutil.copytree(source, root / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def version_of(root: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-B", "-c", VERSION],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "pattern",
    [
        "agents/**/*pickle-frame.toml",
        "agents/checks/artifacts/**/report.py",
        "agents/checks/artifacts/**/allowed_globals.json",
        "schemas/severity.py",
    ],
)
def test_a_change_of_a_rule_or_of_the_scanner_changes_the_version(
    installation: Path, pattern: str
) -> None:
    (changed,) = installation.glob(pattern)
    content = changed.read_bytes()
    before = version_of(installation)
    assert before == scanner_version()
    try:
        changed.write_bytes(content + b"\n")
        assert version_of(installation) != before
    finally:
        changed.write_bytes(content)


def test_a_report_of_another_version_is_not_found(tmp_path: Path) -> None:
    raw = b"\x80\x04N."
    report = scan_source("a.pkl", BytesSource(raw), sha256=hashlib.sha256(raw).hexdigest())
    assert report.sha256
    ReportCache(tmp_path, "one").put(report, frozenset())
    assert ReportCache(tmp_path, "one").get(report.sha256, "a.pkl", frozenset()) == report
    assert ReportCache(tmp_path, "two").get(report.sha256, "a.pkl", frozenset()) is None
    assert ReportCache(tmp_path).get(report.sha256, "a.pkl", frozenset()) is None


def test_names_and_contents_of_files_count(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "a").write_text("x")
    first = content_digest([folder])
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_text("compiled")
    assert content_digest([folder]) == first
    (folder / "a").rename(folder / "b")
    renamed = content_digest([folder])
    (folder / "b").write_text("y")
    assert len({first, renamed, content_digest([folder])}) == 3

"""Commands whose input or output is closed or full say so, or do without; they never crash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.installed import TIDEWATCH

pytestmark = pytest.mark.slow

HOSTILE = b'cos\nsystem\n(S"id"\ntR.'


def shell(words: str, folder: Path) -> tuple[int, str]:
    """Run a command line; return its exit code and what it printed, where it could."""
    done = subprocess.run(
        ["bash", "-c", f'"{TIDEWATCH}" {words}'],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.pkl").write_bytes(HOSTILE)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("scan model.pkl >&-", 1),
        ("scan model.pkl 2>&-", 1),
        ("scan model.pkl <&- >&- 2>&-", 1),
        ("scan --output report.txt model.pkl >&-", 1),
        ("scan - <&-", 2),
        ("send --check - <&-", 2),
        ("schema iocs >&-", 0),
        ("--help >&-", 0),
    ],
)
def test_a_closed_stream_is_done_without(words: str, code: int, folder: Path) -> None:
    ended, printed = shell(words, folder)
    assert "unexpectedly" not in printed
    assert "Traceback" not in printed
    assert ended == code, printed


def test_a_file_never_takes_the_place_of_a_closed_stream(folder: Path) -> None:
    shell("scan --output report.txt model.pkl >&- 2>&-", folder)
    assert (folder / "report.txt").read_text().endswith("1 file: 1 malicious\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize(
    "words",
    ["scan model.pkl", "scan --format json model.pkl", "schema iocs", "--help", "--version"],
)
def test_a_full_disk_is_named(words: str, folder: Path) -> None:
    ended, printed = shell(f"{words} >/dev/full", folder)
    assert (ended, len(printed.splitlines())) == (2, 1), printed
    assert "No space left on device" in printed


def test_a_reader_that_has_enough_is_no_error(folder: Path) -> None:
    ended, printed = shell("schema | head -c 1; exit ${PIPESTATUS[0]}", folder)
    assert (ended, printed) == (0, "{")


def test_a_reader_that_ended_before_anything_was_written_is_no_error(folder: Path) -> None:
    # it has ended when the command starts, so the command itself meets the broken pipe
    started = f'exec 3> >(exec true); wait $!; "{TIDEWATCH}" schema >&3'
    done = subprocess.run(
        ["bash", "-c", started], cwd=folder, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")

"""A scanning process starts however the product is installed, and says why it died."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.checks.artifacts.sandbox import process
from agents.checks.artifacts.sandbox.pool import Sandbox
from agents.checks.artifacts.sandbox.protocol import Limits
from schemas.severity import Verdict
from tests.corpus.pickles import evil

ROOT = Path(__file__).resolve().parents[5]
BUILD = """
import sys
from setuptools import build_meta
kind, mode, folder = sys.argv[1:]
if kind == "wheel":
    build_meta.build_wheel(folder)
else:
    build_meta.build_editable(folder, {"editable_mode": mode})
"""
MODES = ("strict", "compat")
"""Of an editable installation, beside the lenient one, which is what setuptools makes by itself."""
SCRIPT = "import sys\nfrom streams.cli import main\nsys.exit(main())\n"
"""What an installer makes of the project's entry point."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built, in a folder that is on nobody's import path."""
    copy = tmp_path_factory.mktemp("a checkout") / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("agents", "schemas", "streams", "deploy"):
        shutil.copytree(ROOT / name, copy / name)  # with what is compiled already
    return copy


Installed = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Makes an environment with the product installed, and gives the command that starts it."""

    def install(how: str) -> list[str]:
        kind, _, mode = how.partition("-")
        place = tmp_path_factory.mktemp(f"installed {how}")
        subprocess.run(
            [sys.executable, "-c", BUILD, kind, mode, str(place)],
            cwd=source, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        (wheel,) = place.glob("*.whl")
        environment = place / "environment"
        venv.create(environment, symlinks=True)
        library = next(environment.glob("lib/python*/site-packages"))
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(library)
        # the dependencies, without the hooks by which this very environment finds the checkout
        (library / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        script = environment / "bin" / "tidewatch"
        script.write_text(SCRIPT)
        return [str(environment / "bin" / "python"), str(script)]

    return install


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [*(f"editable-{mode}" for mode in MODES), "editable-lenient", "wheel"]
)
def test_the_command_scans_however_it_is_installed(
    how: str, installed: Installed, tmp_path: Path
) -> None:
    """From another folder, with an empty environment, where nothing else leads to the packages."""
    (tmp_path / "bad.pkl").write_bytes(evil(2))
    (tmp_path / "readme.txt").write_bytes(b"words\n")
    # nothing in the user's working directory may take the place of a module
    (tmp_path / "agents.py").write_text("raise SystemExit('not this one')\n")
    done = subprocess.run(
        [*installed(how), "scan", "--format", "table", "bad.pkl", "readme.txt"],
        cwd=tmp_path, env={}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "MALICIOUS   bad.pkl" in done.stdout
    assert "CLEAN       readme.txt" in done.stdout
    assert "incomplete" not in done.stdout.lower()
    assert done.stderr == ""


def test_a_process_that_dies_at_its_start_says_why_in_the_report(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "_START", "import a_module_that_is_not_there\n")
    with caplog.at_level(logging.WARNING), Sandbox() as sandbox:
        report = sandbox.scan_bytes("a.pkl", evil(2))
    assert report.verdict is Verdict.INCOMPLETE
    (reason,) = report.reasons
    assert reason == (
        "the scanning process died (exit code 1: "
        "ModuleNotFoundError: No module named 'a_module_that_is_not_there')"
    )
    assert "Traceback" in caplog.text
    assert "a_module_that_is_not_there" in caplog.text


def test_impossible_limits_are_reported() -> None:
    with Sandbox(Limits(memory_bytes=1 << 20)) as sandbox:
        (reason,) = sandbox.scan_bytes("a.pkl", evil(2)).reasons
    assert "MemoryError" in reason


def test_fatal_interpreter_error_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_START", "import os\nos.abort()\n")
    with Sandbox() as sandbox:
        (reason,) = sandbox.scan_bytes("a.pkl", evil(2)).reasons
    assert reason == "the scanning process died (signal SIGABRT: Fatal Python error: Aborted)"


@pytest.mark.parametrize("length", [10, 10_000_000])
def test_last_words_are_bounded_and_harmless(
    length: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """More than a pipe holds keeps nobody waiting, and no escape sequence reaches a terminal."""
    code = (
        "import sys\n"
        f"sys.stderr.write('\\x1b]0;title\\x07\\u202e' * {length})\n"
        "sys.stderr.write('\\n\\x1b[31mred')\n"
        "sys.exit(3)\n"
    )
    monkeypatch.setattr(process, "_START", code)
    with caplog.at_level(logging.WARNING), Sandbox(Limits(wall_seconds=60.0)) as sandbox:
        (reason,) = sandbox.scan_bytes("a.pkl", evil(2)).reasons
    assert "died (exit code" in reason
    assert "\\u001b" in reason
    assert len(reason) < 2 * process.MAX_REASON
    (record,) = caplog.records
    assert len(record.getMessage()) < 8 * process.MAX_SAID
    for text in (reason, record.getMessage()):
        assert text.isprintable()


def test_output_about_one_file_is_not_reported_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next may be another tenant's."""
    code = process._START.replace(
        "from agents.checks.artifacts.sandbox.worker import main",
        "import agents.checks.artifacts.sandbox.worker as worker\n"
        "from agents.checks.artifacts.sandbox.worker import main\n"
        "before = worker.scan_source\n"
        "def telling(path, *given, **named):\n"
        "    sys.stderr.write(path + ' was scanned\\n')\n"
        "    sys.stderr.flush()\n"
        "    if path == 'second':\n"
        "        import os; os._exit(9)\n"
        "    return before(path, *given, **named)\n"
        "worker.scan_source = telling\n",
    )
    monkeypatch.setattr(process, "_START", code)
    with Sandbox() as sandbox:
        assert sandbox.scan_bytes("first", b"words\n").verdict is Verdict.CLEAN
        (reason,) = sandbox.scan_bytes("second", b"words\n").reasons
    assert reason == "the scanning process died (exit code 9: second was scanned)"


def test_a_process_that_can_not_be_started_leaves_the_file_incomplete(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with Sandbox() as sandbox:
        report = sandbox.scan_bytes("a.pkl", evil(2))
    assert report.verdict is Verdict.INCOMPLETE
    assert "can't be started" in report.reasons[0]
    assert "gone" in report.reasons[0]

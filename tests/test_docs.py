"""The documentation is true: commands it quotes run, files and settings it names exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from streams.cli import COMMANDS
from streams.settings import NOT_SETTINGS, PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("deploy/**/*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("locks/*.md")),
]

RUN = "import sys; from streams.cli import main; sys.exit(main())"

NOT_RUN = {
    "make run": "sets up an environment and runs for ever; tried from a fresh clone",
    "make test": "is what runs this",
    "make bench": "takes minutes and a machine of its own",
}
"""Commands that the documentation quotes and this test does not run, each with the reason."""


def console_commands(page: Path) -> list[str]:
    """The lines after a prompt in the `console` blocks of a page."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [
        line.removeprefix("$ ")
        for block in blocks
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


COMMANDS_QUOTED = sorted({command for page in PAGES for command in console_commands(page)})


@pytest.mark.parametrize("command", [text for text in COMMANDS_QUOTED if text not in NOT_RUN])
def test_a_quoted_command_runs(command: str, tmp_path: Path) -> None:
    program, *arguments = shlex.split(command)
    assert program == "tidewatch", "quote only our own command, or say in NOT_RUN why not"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=ROOT,
        env=environment | {"TIDEWATCH_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


def test_what_is_not_run_is_quoted_somewhere() -> None:
    quoted = set(COMMANDS_QUOTED)
    for command in ("make run", "make test"):
        assert command in quoted


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"`make ([a-z-]+)", page.read_text()):
            assert name in targets, (page.name, name)


def test_every_make_target_is_in_its_help() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert {"run", "test", "lint", "bench", "bench-scale", "fuzz", "lock", "help"} <= listed


def test_commands_that_are_named_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`tidewatch ([a-z][a-z-]+)", page.read_text()):
            assert name in COMMANDS, (page.name, name)


def test_settings_that_are_named_exist() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | NOT_SETTINGS
    for page in PAGES:
        for name in re.findall(rf"`({PREFIX}[A-Z_]+)\b", page.read_text()):
            assert name in known, (page.name, name)


def test_files_that_are_linked_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)

"""Runs `tidewatch` as a user does, and reads what it says."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from streams.cli import main
from tests.command_here import command_here
from tests.installed import TIDEWATCH

PROCESSES = frozenset({"up", "worker"})
"""Commands that start processes, or fork; others run as well in the process of the tests."""
BROKEN = 2
"""The exit code of what could not be done."""


def tidewatch(*words: str, seconds: float = 120, **settings: object) -> tuple[int, str]:
    """Run a command as a user does; return the exit code and what it said."""
    environment = {
        "TIDEWATCH_LOG_LEVEL": "error",
        "TIDEWATCH_BROKER_WAIT_SECONDS": "2",
        **{name: text for name, text in os.environ.items() if "TIDEWATCH" not in name},
        **{f"TIDEWATCH_{name.upper()}": str(value) for name, value in settings.items()},
    }
    if words[0] not in PROCESSES:
        with tempfile.TemporaryDirectory() as folder:
            printed = Path(folder) / "printed"
            with command_here(printed, environment):
                code = main(words)
            return code, printed.read_text()
    done = subprocess.run(
        [TIDEWATCH, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stderr + done.stdout


def said(text: str) -> list[str]:
    """Return the lines meant for people, each once: those of our own name."""
    assert "Traceback" not in text, text
    lines = [line for line in text.splitlines() if line.startswith("tidewatch: ")]
    assert lines, text
    return list(dict.fromkeys(lines))

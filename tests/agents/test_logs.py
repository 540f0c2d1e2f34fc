"""Logs load their library with the first line, set up as the command asked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import agents
from agents.logs import Logger, set_up
from streams.cli.output import quiet_logs


def test_the_library_is_loaded_by_the_first_line_alone() -> None:
    code = (
        "import sys\n"
        "from agents.logs import Logger\n"
        "log = Logger()\n"
        "before = 'structlog' in sys.modules\n"
        "log.warning('broker-silent')\n"
        "assert (before, 'structlog' in sys.modules) == (False, True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "broker-silent" in done.stdout + done.stderr


def test_set_up_applies_from_the_first_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet_logs()
    log = Logger()
    log.info("kept to itself")
    log.warning("told")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "told" in shown.err
    assert "kept to itself" not in shown.err


def test_last_set_up_wins() -> None:
    called: list[str] = []
    set_up(lambda _: called.append("first"))
    set_up(lambda _: called.append("second"))
    Logger().debug("a line")
    Logger().debug("another line")
    assert called == ["second"]


def test_one_module_alone_loads_the_library() -> None:
    """Another's logger would write, to the standard output, what a command has silenced."""
    root = Path(agents.__file__).parents[1]
    users = {
        path.relative_to(root).as_posix()
        for room in ("agents", "schemas", "streams")
        for path in (root / room).rglob("*.py")
        if re.search(r"^\s*(import|from) structlog\b", path.read_text(), re.MULTILINE)
    }
    assert users == {"agents/logs.py", "streams/logs.py"}

"""Runs commands as a reader does: in one shell, in their order, and keeps what each printed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

WILDCARD = "…"
"""In shown output: anything; on a line of its own, any lines."""
_MARK = "\x1e"


class Step(NamedTuple):
    """A command of a page, and what the page shows of its output."""

    command: str
    shown: tuple[str, ...] = ()


class Saved(NamedTuple):
    """A file that a page asks the reader to save."""

    name: str
    content: str


class Ran(NamedTuple):
    """What a command did."""

    command: str
    code: int
    printed: tuple[str, ...]


def run_in_order(
    steps: Sequence[Step | Saved], folder: Path, environment: Mapping[str, str], *, seconds: float
) -> list[Ran]:
    """Run the commands of a page in a shell of their own; files are saved under the names it gives.

    Args:
        steps: Commands and files, in the order of the page.
        folder: Where the shell starts.
        environment: All of its environment.
        seconds: How long all of them may take.

    Returns:
        Each command with its exit code and what it printed on either stream.
    """
    script = folder.with_name(f"{folder.name}.sh")
    # the exit code of a command is still the shell's $? for the next one
    lines = [f"_ran() {{ local code=$?; printf '{_MARK}%d\\n' \"$code\"; return $code; }}"]
    for number, step in enumerate(steps):
        if isinstance(step, Saved):
            kept = folder.with_name(f"{folder.name}.{number}")
            kept.write_text(step.content)
            lines.append(f"cp '{kept}' '{step.name}'")
        else:
            lines += [step.command, "_ran"]
    script.write_text("\n".join(lines) + "\n")
    bash = shutil.which("bash")
    assert bash is not None
    shell = subprocess.Popen(
        [bash, str(script)],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        rest, _ = shell.communicate(timeout=seconds)
    finally:
        if shell.poll() is None:
            # what it runs ends with it
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    commands = [step for step in steps if isinstance(step, Step)]
    ran: list[Ran] = []
    for step in commands:
        match = re.search(rf"{_MARK}(\d+)\n", rest)
        assert match is not None, f"the shell ended in: {step.command}\n{rest}"
        printed = tuple(line.rstrip() for line in rest[: match.start()].splitlines())
        ran.append(Ran(step.command, int(match[1]), printed))
        rest = rest[match.end() :]
    return ran


def shows(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Tell whether a page shows what was printed, but for its wildcards."""
    pattern = "".join(
        r"(?:[^\n]*\n)*?"
        if line.strip() == WILDCARD
        else re.escape(line.rstrip()).replace(WILDCARD, r"[^\n]*?") + r"\n"
        for line in shown
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None

"""Reads the pages of the documentation: their commands, files, output and what they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.shell import Saved, Step

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("deploy/**/*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("locks/*.md")),
]
PROMPT = "$ "

_FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SAVED = re.compile(r"[Ss]ave\s+this\s+as\s+`([^`]+)`[^`\n]*:\s*\Z")
_INLINE = re.compile(r"`((?:tidewatch|make) [^`]+)`")


def steps(text: str) -> list[Step | Saved]:
    """Return the commands of a page and the files that it asks to save, in order.

    A command follows a prompt in a `console` block; it continues in the next line where it
    ends with a backslash. What follows it is its output. A block behind "Save this as `NAME`:" is
    a file.
    """
    found: list[Step | Saved] = []
    for block in _FENCED.finditer(text):
        name = _SAVED.search(text, 0, block.start())
        if block[1] == "console":
            found += _commands(block[2])
        elif name is not None:
            found.append(Saved(name[1], block[2]))
    return found


def _commands(block: str) -> Iterator[Step]:
    """Yield the commands of a `console` block, each with its output."""
    lines = block.splitlines()
    while lines:
        command = lines.pop(0)
        assert command.startswith(PROMPT), f"output without a command: {command}"
        while command.endswith("\\"):
            command = f"{command}\n{lines.pop(0)}"
        shown = []
        while lines and not lines[0].startswith(PROMPT):
            shown.append(lines.pop(0))
        yield Step(command.removeprefix(PROMPT), tuple(shown))


def languages(text: str) -> set[str]:
    """Return the languages that fenced blocks are marked with."""
    return {block[1] for block in _FENCED.finditer(text)}


def inline_commands(text: str) -> list[str]:
    """Return our own commands that stand in the text, on one line each."""
    prose = _FENCED.sub("", text)
    return [" ".join(found.split()) for found in _INLINE.findall(prose)]

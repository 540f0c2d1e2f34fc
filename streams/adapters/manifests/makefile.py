"""Makefiles: the commands of their rules, with the variables that they set themselves."""

from __future__ import annotations

import re
from typing import Final

from streams.adapters.manifests.commands import Command, script_commands

_ASSIGNED: Final = re.compile(r"^(?:export\s+)?([A-Za-z_]\w*)\s*(?:::?:?|\?)?=[ \t]*(.*)$")
_USED: Final = re.compile(r"\$[({]([A-Za-z_]\w*)[)}]")
_DEPTH: Final = 3
"""Times that variables are replaced: those of a value as well."""
MAX_VALUE: Final = 1000
"""Characters of a value; a longer one is left as a variable."""
_LINE: Final = 1 << 20
"""Characters of a line with its variables replaced."""
MAX_TEXT: Final = 32 << 20
"""Characters of all lines with their variables replaced."""


def makefile_commands(text: str, problems: list[str]) -> list[Command]:
    """Return the command lines of the rules, with the numbers of the makefile's lines.

    Args:
        text: The makefile.
        problems: Takes the parts that were not read.
    """
    values: dict[str, str] = {}
    lines: list[str] = []
    continued = False
    length = 0
    for number, line in enumerate(text.splitlines(), 1):
        recipe = line.startswith("\t") or continued
        assigned = None if recipe else _ASSIGNED.match(line)
        if assigned is not None and len(assigned[2]) <= MAX_VALUE:
            values[assigned[1]] = assigned[2].partition("#")[0].strip()
        command = line.lstrip("\t @+-") if recipe else ""
        if length <= MAX_TEXT:
            command = _expanded(command, values, number, problems)
            length += len(command)
            if length > MAX_TEXT:
                problems.append(f"line {number}: variables are not replaced from here on")
        lines.append(command)
        continued = recipe and line.endswith("\\")
    return list(script_commands("\n".join(lines)))


def _expanded(line: str, values: dict[str, str], number: int, problems: list[str]) -> str:
    """Return a line with the known variables replaced, and others as a shell writes them."""
    for _ in range(_DEPTH):
        uses = sum(1 for _ in _USED.finditer(line))
        if not uses:
            break
        if len(line) + uses * MAX_VALUE > _LINE:
            problems.append(f"line {number}: its variables make it too long, they are not replaced")
            break
        line = _USED.sub(lambda used: values.get(used[1], f"${used[1]}"), line)
    return line.replace("$$", "$")

"""Makefiles: the commands of their rules, with the variables that they set themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from streams.adapters.manifests.commands import Command, installs_of, script_commands
from streams.adapters.manifests.found import Found, InstallOptions

_ASSIGNED: Final = re.compile(r"^(?:export\s+)?([A-Za-z_]\w*)\s*(?:::?:?|\?)?=[ \t]*(.*)$")
_USED: Final = re.compile(r"\$[({]([A-Za-z_]\w*)[)}]")
_DEPTH: Final = 3
"""Times that variables are replaced: those of a value as well."""
_VALUE: Final = 1000
"""Characters of a value; a longer one is left as a variable."""
_LINE: Final = 20_000


def read(raw: bytes, options: InstallOptions) -> Found:
    """Return the packages that the commands of a makefile install."""
    commands = _commands(raw.decode("utf-8-sig", "replace"))
    return installs_of(commands, options, options.path or "Makefile")


def _commands(text: str) -> Iterator[Command]:
    """Yield the command lines of the rules, with the numbers of the makefile's lines."""
    values: dict[str, str] = {}
    lines: list[str] = []
    continued = False
    for line in text.splitlines():
        recipe = line.startswith("\t") or continued
        assigned = None if recipe else _ASSIGNED.match(line)
        if assigned is not None and len(assigned[2]) <= _VALUE:
            values[assigned[1]] = assigned[2].partition("#")[0].strip()
        lines.append(line.lstrip("\t @+-") if recipe else "")
        continued = recipe and line.endswith("\\")
    yield from script_commands("\n".join(_expanded(line, values) for line in lines))


def _expanded(line: str, values: dict[str, str]) -> str:
    """Return a line with the known variables replaced, and others as a shell writes them."""
    for _ in range(_DEPTH):
        line = _USED.sub(lambda used: values.get(used[1], f"${used[1]}"), line)
        if len(line) > _LINE:
            break
    return line[:_LINE].replace("$$", "$")

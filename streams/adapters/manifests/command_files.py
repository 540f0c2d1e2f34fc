"""Files whose lines are commands: scripts, justfiles, Apptainer definitions, Procfiles, tasks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from streams.adapters.manifests.commands import Command, installs_of, script_commands
from streams.adapters.manifests.found import Found, InstallOptions
from streams.adapters.manifests.makefile import MAX_TEXT, MAX_VALUE, makefile_commands
from streams.adapters.manifests.project_tasks import task_commands

_Commands = Callable[[str, list[str]], list[Command]]
"""Returns the commands of a text, and adds what it did not read to the problems."""

_FISH: Final = re.compile(r"^(?:set\s+(?:-\w+\s+)+|setenv\s+)([A-Za-z_]\w*)\s+(.*)$")
"""How fish and csh set a variable of the environment."""
_REMARK: Final = re.compile(r"(?i)@?(rem\b|::|#)")
_BLOCK: Final = ("<#", "#>")
"""Where a comment of PowerShell begins and ends."""
_BATCH_SET: Final = re.compile(r"(?i)^set\s+(?:\"([A-Za-z_]\w*=[^\"]*)\"|([A-Za-z_]\w*=.*))$")
_POWER_SET: Final = re.compile(r"(?i)^\$env:([A-Za-z_]\w*)\s*=\s*(.*)$")
_BATCH_VARIABLE: Final = re.compile(r"%~?([A-Za-z_0-9]\w*)%?|!([A-Za-z_]\w*)!")
_POWER_VARIABLE: Final = re.compile(r"(?i)\$(?:env:|\{env:)([A-Za-z_]\w*)\}?")
_PROGRAM: Final = re.compile(
    r"(?i)\b(python[\d.]*|py|pip[\d.]*|uvx?|pipx|conda|mamba|poetry|pdm)\.(?:exe|bat)\b"
)
_JUST_SET: Final = re.compile(r"^(?:export\s+)?([A-Za-z_][\w-]*)\s*:=\s*(['\"])(.*)\2\s*(?:#.*)?$")
_JUST_USED: Final = re.compile(r"\{\{\s*([A-Za-z_][\w-]*)\s*\}\}")
_JUST_OTHER: Final = re.compile(r"\{\{[^{}]*\}\}")
_SECTION: Final = re.compile(r"(?i)^%([a-z]+)")
_RUN_SECTIONS: Final = frozenset(
    {"post", "setup", "pre", "test", "runscript", "startscript", "environment", "appinstall",
     "apprun", "appenv", "apptest", "appstart"}
)  # fmt: skip
_APPTAINER_USED: Final = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")
_PROCESS: Final = re.compile(r"^[A-Za-z0-9_-]+:\s*(.*)$")


def _shell(text: str, problems: list[str]) -> list[Command]:
    """Return the commands of a shell script, those that set a variable as a POSIX shell does."""
    del problems
    return [
        Command(f"export {match[1]}={match[2]}", command.line)
        if (match := _FISH.match(command.text))
        else command
        for command in script_commands(text)
    ]


def _windows(text: str, problems: list[str]) -> list[Command]:
    """Return the commands of a batch file or of PowerShell, as a POSIX shell would write them."""
    del problems
    text = _without_blocks(text)
    commands: list[Command] = []
    pending: list[str] = []
    start = 1
    for number, line in enumerate(text.splitlines(), 1):
        if not pending:
            start = number
            if _REMARK.match(line.lstrip()):
                continue
        stripped = line.rstrip()
        if stripped.endswith(("^", "`")):
            pending.append(stripped[:-1])
            continue
        whole = " ".join([*pending, stripped]).strip().lstrip("@&").strip()
        pending = []
        if whole:
            commands.append(Command(_posix(whole), start))
    if pending:
        commands.append(Command(_posix(" ".join(pending).strip()), start))
    return commands


def _without_blocks(text: str) -> str:
    """Return a script without the comments that span lines, whose ends are kept."""
    begin, end = _BLOCK
    kept: list[str] = []
    at = 0
    while (start := text.find(begin, at)) >= 0 and (
        stop := text.find(end, start + len(begin))
    ) >= 0:
        kept += [text[at:start], "\n" * text.count("\n", start, stop)]
        at = stop + len(end)
    return "".join([*kept, text[at:]])


def _posix(line: str) -> str:
    if match := _BATCH_SET.match(line):
        line = f"export {match[1] or match[2]}"
    elif match := _POWER_SET.match(line):
        line = f"export {match[1]}={match[2]}"
    line = _POWER_VARIABLE.sub(r"$\1", line)
    line = _BATCH_VARIABLE.sub(lambda used: f"${used[1] or used[2]}", line)
    return _PROGRAM.sub(r"\1", line.replace("\\", "/"))


def _just(text: str, problems: list[str]) -> list[Command]:
    """Return the commands of the recipes of a justfile, with the variables that it sets itself."""
    values: dict[str, str] = {}
    lines: list[str] = []
    continued = False
    for line in text.splitlines():
        recipe = line[:1] in {" ", "\t"} or continued
        if not recipe and (match := _JUST_SET.match(line)) and len(match[3]) <= MAX_VALUE:
            values[match[1]] = match[3]
        lines.append(line.lstrip(" \t@-") if recipe else "")
        continued = recipe and line.endswith("\\")
    script = "\n".join(lines)
    uses = sum(1 for _ in _JUST_USED.finditer(script))
    if len(script) + uses * MAX_VALUE > MAX_TEXT:
        problems.append("its variables make it too long, they are not replaced")
        values.clear()
    script = _JUST_USED.sub(lambda used: values.get(used[1], f"${used[1]}"), script)
    return list(script_commands(_JUST_OTHER.sub("$expression", script)))


def _apptainer(text: str, problems: list[str]) -> list[Command]:
    """Return the commands that build, test and start an image, by an Apptainer definition."""
    del problems
    lines: list[str] = []
    runs = False
    for line in text.splitlines():
        if match := _SECTION.match(line):
            runs = match[1].lower() in _RUN_SECTIONS
            lines.append("")
        else:
            lines.append(line.strip() if runs else "")
    return list(script_commands(_APPTAINER_USED.sub(r"$\1", "\n".join(lines))))


def _processes(text: str, problems: list[str]) -> list[Command]:
    """Return the commands of a Procfile."""
    del problems
    return [
        Command(match[1], number)
        for number, line in enumerate(text.splitlines(), 1)
        if (match := _PROCESS.match(line)) and match[1]
    ]


COMMANDS: Final[dict[str, _Commands]] = {
    "shell-script": _shell,
    "windows-script": _windows,
    "makefile": makefile_commands,
    "justfile": _just,
    "apptainer": _apptainer,
    "procfile": _processes,
    "task-file": task_commands,
}
"""Readers of the commands of a file, by kind."""


def _reader(name: str) -> Callable[[bytes, InstallOptions], Found]:
    def read(raw: bytes, options: InstallOptions) -> Found:
        problems: list[str] = []
        place = options.path or name
        commands = COMMANDS[name](decoded(raw), problems)
        found = installs_of(commands, options, place)
        found.incomplete += [f"{place}: {problem}" for problem in problems]
        return found

    return read


def decoded(raw: bytes) -> str:
    """Return the text of a file of commands: PowerShell writes UTF-16 by default."""
    if raw[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return raw.decode("utf-16", "replace")
    return raw.decode("utf-8-sig", "replace")


read_script: Final = _reader("shell-script")
read_windows: Final = _reader("windows-script")
read_makefile: Final = _reader("makefile")
read_justfile: Final = _reader("justfile")
read_apptainer: Final = _reader("apptainer")
read_procfile: Final = _reader("procfile")
read_tasks: Final = _reader("task-file")

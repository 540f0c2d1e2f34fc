"""Reads a script of a shell as commands, and follows what one saves for another.

A command is judged with the variables that the script sets, with the file that it runs joined to
the command that fetched it, and with the secrets that an earlier command saved.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from agents.checks.artifacts.python.shell_commands import PART, holds_credentials
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.flow import risks_in
from agents.checks.shell.risk import risk_by_pattern
from agents.domain.late_pattern import late_pattern

MAX_VARIABLES: Final = 200
MAX_VALUE: Final = 300
"""Characters of a variable's value."""
MAX_ADDED: Final = 1 << 16
"""Characters that the values of variables and earlier commands add to a script in all."""
MAX_SAVED: Final = 32
"""Files that are followed."""
_COMMENT: Final = ("#", "::", "//", "rem ", "REM ")
_SET: Final = late_pattern(
    r"\s*(?:(?:export|local|readonly|declare|typeset|set|ENV|ARG|RUN)\s+(?:-\w+\s+)?)?"
    r"(?:(?P<name>[A-Za-z_]\w{0,63})=|\$(?P<of_powershell>\w{1,64})\s*=\s*)"
    r"(?P<quote>[\"']?)(?P<value>.{1,300}?)(?P=quote)\s*;?\s*$"
)
_USED: Final = late_pattern(r"\$(?:\{([A-Za-z_]\w{0,63})\}|([A-Za-z_]\w{0,63})|env:(\w{1,64}))")
_FETCHES: Final = late_pattern(
    r"(?i)\b(?:curl|wget|aria2c|certutil|bitsadmin)(?:\.exe)?\s"
    r"|\b(?:Invoke-WebRequest|iwr|Start-BitsTransfer)\b|\bDownloadFile\s*\("
)
_PARTS: Final = late_pattern(r"&&|\|\||[;|&]|\b(?:then|do|else)\b")
_PREFIXES: Final = frozenset(("sudo", "nohup", "exec", "time", "env", "setsid", "then", "do"))
_EXECUTABLE: Final = late_pattern(r"[ugoa]*[+=]\w*x\w*|0?[1357][0-7]{2}")
_ASSIGNED: Final = late_pattern(r"\w+=")
_INTERPRETER: Final = late_pattern(
    r"(?:ba|z|da|k|a)?sh|python[\d.]*|perl|ruby|node|php|source|\.|chmod|powershell|pwsh|rundll32|Start-Process"
)
_NAMED: Final = late_pattern(
    r"(?:\s-[a-zA-Z]{0,6}[oO]|\s--output(?:-document)?|-OutFile|-Destination|(?<![\d&])>(?!\s*/dev/)|[\"'],)[\s=]*[\"']?(?P<path>[^\s\"';&|<>-][^\s\"';&|<>]{0,200})"
)
_ADDRESSED: Final = late_pattern(
    r"://[^\s\"';&|]{1,300}?/(?P<path>[^\s/\"';&|?]{3,200})(?=[\s\"';&|?]|$)"
)
_SAVES: Final = late_pattern(
    r"(?:>{1,2}\s*|\b(?:tar\s+-?\w*f|zip\s+-?\w*|cp\s+(?:-\w+\s+)?\S{1,200})\s+)[\"']?(?P<path>[^\s\"';&|<>-][^\s\"';&|<>]{2,200})"
)
_ENVIRONMENT: Final = late_pattern(
    r"(?:^|[;&|(]|\s)(?:env|printenv|export\s+-p|declare\s+-x)\s*(?=[|>])"
)
_SENDS: Final = late_pattern(
    r"(?i)\b(?:curl|wget)\b[^\n]{0,300}?\s(?:-F|-T|-d|--data[\w-]*|--form|--upload-file|--post-file|--body-file)\b"
    r"|\b(?:nc|ncat|socat)\b[^\n]{0,200}?<|\|\s*(?:curl|wget|nc|ncat)\b|\bscp\s|\brsync\s[^\n]{0,200}?:"
)


class ScriptCommand(NamedTuple):
    """A command of a script."""

    line: int
    text: str
    """As it is written, on one line."""
    risk: CommandRisk


def commands_of(text: str) -> Iterator[ScriptCommand]:
    """Yield the commands of a script with their risks.

    Args:
        text: Lines of a shell; comments are passed over, lines that go on are joined.
    """
    script = _Script()
    commands = [*_joined(text)]
    lines = [line for line, _ in commands]
    followed: dict[int, CommandRisk] = {}
    for found in risks_in(text):
        index = max(bisect_right(lines, found.line) - 1, 0)
        followed[index] = max(found.risk, followed.get(index, CommandRisk.NONE))
    for index, (line, command) in enumerate(commands):
        risk = max(script.judge(command), followed.get(index, CommandRisk.NONE))
        yield ScriptCommand(line, command, risk)


def _joined(text: str) -> Iterator[tuple[int, str]]:
    parts: list[str] = []
    begun = 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not parts:
            begun = number
            if not stripped or stripped.startswith(_COMMENT):
                continue
        if stripped.endswith("\\"):
            parts.append(stripped[:-1])
            continue
        parts.append(line)
        yield begun, " ".join(parts) if len(parts) > 1 else line
        parts = []
    if parts:
        yield begun, " ".join(parts)


def _programs(command: str) -> Iterator[str]:
    """Yield the names of the files that a command runs, or makes executable."""
    for part in _PARTS.split(command):
        words = [word.strip("\"'()") for word in part.split() if ">" not in word]
        while words and (words[0] in _PREFIXES or _ASSIGNED.match(words[0])):
            del words[0]
        if not words:
            continue
        program = _base(words[0])
        if not _INTERPRETER.fullmatch(program):
            yield program
            continue
        arguments = [word for word in words[1:] if not word.startswith("-")]
        if program == "chmod":
            arguments = arguments[1:] if arguments and _EXECUTABLE.fullmatch(arguments[0]) else []
        yield from map(_base, arguments[:1])


def _base(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


class _Script:
    """What the commands read so far have set and saved."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._fetched: dict[str, str] = {}
        """By the name of a file, the command that fetched it."""
        self._secrets: set[str] = set()
        """Names of files that hold credentials or the environment."""
        self._left = MAX_ADDED

    def judge(self, command: str) -> CommandRisk:
        """Return the risk of the next command."""
        if len(command) > PART:  # nothing is followed through it
            return risk_by_pattern(command)
        if self._values and "$" in command:
            command = _USED.sub(self._value, command)
        risk = risk_by_pattern(command)
        if (fetch := self._run(command)) and len(fetch) <= self._left:
            self._left -= len(fetch)
            served = _ADDRESSED.search(fetch)
            name = served["path"] if served else ""
            risk = max(risk, risk_by_pattern(f"curl {fetch.strip()} && sh {name}"))
        if self._secrets and _SENDS.search(command):
            words = re.split(r"[\s\"'=@<>;|&]+", command)
            if any(word in self._secrets for word in words):
                risk = CommandRisk.HOSTILE
        self._remember(command)
        return risk

    def _value(self, match: re.Match[str]) -> str:
        value = self._values.get(match[1] or match[2] or match[3] or "")
        if value is None or len(value) > self._left:
            return match[0]
        self._left -= len(value)
        return value

    def _run(self, command: str) -> str:
        """Return the command that fetched a file which this one names."""
        if not self._fetched:
            return ""
        return next(
            (self._fetched[name] for name in _programs(command) if name in self._fetched), ""
        )

    def _remember(self, command: str) -> None:
        if (found := _SET.match(command)) and len(self._values) < MAX_VARIABLES:
            value = found["value"]
            if len(value) <= MAX_VALUE and value.count("(") == value.count(")"):
                self._values[found["name"] or found["of_powershell"]] = value
        if len(self._fetched) < MAX_SAVED and _FETCHES.search(command):
            for match in (_NAMED.search(command), _ADDRESSED.search(command)):
                if match is not None and (name := _base(match["path"])):
                    self._fetched.setdefault(name, command)
        if len(self._secrets) < MAX_SAVED and (match := _SAVES.search(command)):
            taken = _ENVIRONMENT.search(command) or holds_credentials(command)
            if taken and not holds_credentials(match["path"]):
                self._secrets.add(match["path"])

"""Finds hostile commands in texts of any kind: instructions, literate documents, sources, prose.

What runs a text decides how grave its commands are. An agent runs what its instructions say, a
literate document runs its blocks, a source runs what it hands to a shell; prose only tells readers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from agents.checks.artifacts.formats.strings_with_commands import (
    MAX_SEARCHED,
    has_sign,
    report_strings,
)
from agents.checks.artifacts.python.shell_commands import PART, is_command_line
from agents.checks.artifacts.scanning import Scan
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.flow import may_concern
from agents.checks.shell.risk import destroys, persists, risk_of
from agents.checks.shell.script import commands_of
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

MAX_BLOCKS: Final = 2_000
_INSTRUCTIONS: Final = late_pattern(
    r"(?i)(?:^|[/!])(?:skill|agents?|claude|gemini|copilot-instructions|qwen|warp|conventions)(?:\.local)?\.md$"
    r"|\.mdc$|(?:^|[/!])\.(?:cursorrules|windsurfrules|clinerules|goosehints|roorules|aider\S*\.md)$"
    r"|(?:^|/)\.(?:claude|cursor|codex|github/(?:prompts|instructions|chatmodes)|windsurf|clinerules|roo)/.*\.md$"
    r"|\.(?:prompt|instructions|chatmode|agent)\.md$"
)
"""Files that tell agents what to do."""
_ALLOWS: Final = late_pattern(r"---\n(?:[^\n]{0,400}\n){0,20}?allowed-tools:")
"""The head of a command of an agent, which may run tools."""
_LITERATE: Final = (".qmd", ".rmd", ".rmarkdown", ".jmd", ".pmd", ".ojs")
_PROSE: Final = late_pattern(
    r"(?i)(?<!cmakelists)\.(?:md|markdown|mdx|rst|txt|adoc|asciidoc|tex|org|html?|log|bib|srt|po|license)$"
    r"|(?:^|[/!])(?:readme|license|licence|notice|copying|authors|changelog|news|history|install|todo)[^/.]*$"
)
"""Texts that are for people."""
_DATA: Final = late_pattern(
    r"(?i)\.(?:csv|tsv|vocab|merges|bpe|tokens|lock|css|svg|bib|srt|toml|gitignore|gitattributes|diff|patch)$"
    r"|(?:^|[/!])(?:vocab|merges|[\w.-]*requirements[\w.-]*|[\w.-]*constraints[\w.-]*)\.(?:txt|in)$"
)
"""Texts that hold no commands, and settings, which are judged by their keys."""
_SCRIPT: Final = late_pattern(
    r"(?i)(?:^|[/!])\.?[\w-]+$|\.(?:service|timer|desktop|sub|pbs|sbatch|slurm|lsf|envrc|local"
    r"|command|profile|login|cron"
    r"|run|bash_\w+|zsh\w*|in|j2|jinja2?|tmpl|template|ebuild|spec|install|hook|rules|do|ksh|hcl)$"
)
"""Texts whose lines are commands, or may be: scripts without an ending, units, jobs, templates."""
_FENCE: Final = late_pattern(
    r"(?m)^[ \t>]{0,8}(?P<fence>`{3,8}|~{3,8})[ \t]*(?P<run>\{?)[ \t.]*"
    r"(?P<language>[\w+-]{0,20})[^\n]*\n(?P<body>.*?)(?:^[ \t>]{0,8}(?P=fence)|\Z)",
    re.DOTALL,
)
_INLINE: Final = late_pattern(r"(?<!`)!?`(?P<body>[^`\n]{12,600})`(?!`)")
_SHELL_LANGUAGES: Final = frozenset(
    ("", "sh", "bash", "shell", "zsh", "console", "terminal", "shellsession", "text")
)


class _Block(NamedTuple):
    language: str
    text: str
    line: int
    run: bool
    """Whether rendering the document runs it."""


def report_commands_in(scan: Scan, path: str, text: str) -> None:
    """Report the hostile commands of a text, as gravely as what runs them.

    Args:
        scan: Where to report.
        path: Its path, whose name says what the text is.
        text: What it holds.
    """
    if len(text) > MAX_SEARCHED or _DATA.search(path) or not has_sign(text):
        return
    scan.budget.step(len(text) // 16)
    if _INSTRUCTIONS.search(path) or _ALLOWS.match(text):
        _judge_blocks(scan, text, "the instructions tell an agent to run")
        _judge_inline(scan, text)
    elif path.lower().endswith(_LITERATE):
        _judge_literate(scan, text)
    elif _PROSE.search(path):
        _judge_prose(scan, text)
    else:
        if _SCRIPT.search(path):
            _judge_script(scan, text)
        report_strings(scan, text)


def is_hostile(command: str) -> bool:
    """Return whether a command serves another, plants something or destroys a system."""
    return risk_of(command) is CommandRisk.HOSTILE or persists(command) or destroys(command)


def _report(scan: Scan, what: str, command: str, line: int) -> None:
    scan.report("TW-MODEL-SCRIPT-HOSTILE", f"{what} {command.strip()[:80]!r}", line=line)


def _blocks(text: str) -> Iterator[_Block]:
    line = 1
    counted = 0
    for number, match in enumerate(_FENCE.finditer(text)):
        if number >= MAX_BLOCKS:
            return
        line += text.count("\n", counted, match.start("body"))
        counted = match.start("body")
        yield _Block(match["language"].lower(), match["body"], line, bool(match["run"]))


def _hostile_in(text: str, *, shown: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the hostile commands of a script with their lines.

    Args:
        text: The script.
        shown: Whether it is only shown to people, who know what `rm` does.
    """
    if not has_sign(text) and (shown or not may_concern(text)):
        return
    for command in commands_of(text.replace("\n$ ", "\n").removeprefix("$ ")):
        if shown and not is_command_line("", command.text.strip()):
            continue  # a sentence about one
        short = len(command.text) <= PART and not shown
        if command.risk is CommandRisk.HOSTILE or (
            short and (persists(command.text) or destroys(command.text))
        ):
            yield command.line, command.text


def _judge_blocks(scan: Scan, text: str, what: str) -> None:
    for block in _blocks(text):
        if block.language in _SHELL_LANGUAGES:
            for line, command in _hostile_in(block.text):
                _report(scan, what, command, block.line + line - 1)
        else:
            report_strings(scan, block.text)


def _judge_inline(scan: Scan, text: str) -> None:
    for match in _INLINE.finditer(text):
        if may_concern(match["body"]) and is_hostile(match["body"]):
            line = text.count("\n", 0, match.start()) + 1
            _report(scan, "the instructions tell an agent to run", match["body"], line)


def _judge_literate(scan: Scan, text: str) -> None:
    """Judge the blocks that a document runs when it is rendered.

    Sources: Quarto, "Execution options"; R Markdown, "Language engines".
    """
    for block in _blocks(text):
        if not block.run:
            continue
        if block.language in {"python", "py"}:
            from agents.checks.artifacts.python.code import report_python  # noqa: PLC0415 -- few documents have any

            report_python(scan, block.text, f"line {block.line}")
        elif block.language in {"bash", "sh", "zsh", "shell"}:
            for line, command in _hostile_in(block.text):
                _report(scan, "the document runs", command, block.line + line - 1)
        else:
            report_strings(scan, block.text)
    _judge_prose(scan, text)


def _judge_prose(scan: Scan, text: str) -> None:
    """Report a hostile command that a text shows its readers; it may warn of it as well."""
    blocks = [*_blocks(text)] or [_Block("", text, 1, run=False)]
    for block in blocks:
        if block.run or block.language not in _SHELL_LANGUAGES:
            continue
        for line, command in _hostile_in(block.text, shown=True):
            scan.report(
                "TW-MODEL-CARD-COMMAND",
                f"the text tells readers to run {command.strip()[:80]!r}",
                severity=Severity.HIGH,
                line=block.line + line - 1,
            )
            return


def _judge_script(scan: Scan, text: str) -> None:
    for line, command in _hostile_in(text):
        _report(scan, "it runs", command, line)

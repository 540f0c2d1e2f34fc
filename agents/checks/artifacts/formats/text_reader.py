"""Reads the plain files of a repository: cards, vocabularies, attributes, requirements."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import FileName
from agents.checks.artifacts.formats.markup import SCRIPT, report_markup
from agents.checks.artifacts.formats.plain_text import unwritten
from agents.checks.artifacts.formats.requirements import report_requirement
from agents.checks.artifacts.formats.settings_names import is_settings
from agents.checks.artifacts.program_files import is_of_program
from agents.checks.artifacts.python.shell_commands import is_untrusted_fetch
from agents.checks.artifacts.readers.window import decode_text, read_document
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.script import commands_of
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

_OF_ANOTHER_FORMAT: Final = late_pattern(
    r"(?:\.|^)(?:html?|xml|rst|tex|css|js|ts|py|ya?ml|json|toml|cfg|ini|conf|sh|sql|dockerfile|asciidoc"
    r"|cpp|h|go|tf|service)\.(?:j2|jinja2?|tmpl|template)$"
)
"""Templates of pages, images, settings and sources: no tokenizer fills them in."""
_BUILDS_ON: Final = late_pattern(
    r"\A\s*\{%-?\s*extends\s+[\"'](?:(?!\.\.)[\w-][\w.-]*/){0,8}[\w-][\w.-]*\.(?:j2|jinja2?|tmpl)[\"']\s*-?%\}"
)
"""The begin of a template that fills the blocks of another one beside it, as a program's do."""
_ELSEWHERE: Final = late_pattern(
    r"\b(?:messages|add_generation_prompt|bos_token|eos_token)\b"
    r"|\b(?:include|import|extends|from)\s+[\"'][^\"']{0,200}?(?:(?<=[\"'])[/~]|\.\.)"
)
"""What a chat template names, and files outside the folder of templates."""
_TEMPLATES: Final = (".jinja", ".j2", ".jinja2", ".tmpl", ".template")
_FRONT: Final = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_REQUIREMENTS: Final = re.compile(r"(^|[/!])(requirements|constraints)[\w.-]*\.(txt|in)$")
_CONFIGURED: Final = re.compile(
    r"(?i)\bfilter\s*=\s*(?!lfs\b)[\w-]+|\bmerge\s*=\s*(?!lfs\b|union|binary|ours)[\w-]+"
)
_PROJECTS: Final = frozenset(("pyproject.toml", "setup.cfg", "pipfile"))
_COMMANDS: Final = (
    "dockerfile", "containerfile", "makefile", "gnumakefile", "justfile", "procfile", "jenkinsfile",
)  # fmt: skip
"""Files whose lines are commands, by how their names begin."""
_FORMULA: Final = re.compile(
    r"(?im)(?:^|[,;\t])[\"']?[=+@-][^\n,;\t|]{0,60}?"
    r"\b(?:cmd|powershell|pwsh|mshta|rundll32|regsvr32|msexcel|wscript|cscript|bash|sh|calc)"
    r"(?:\.exe)?\|['\"][^\n]{0,300}?['\"]![A-Z\d]"
)
MAX_TEXT: Final = 32 << 20


def parse(scan: Scan, name: FileName, source: Source) -> None:
    """Report front matter that constructs objects, packages fetched from elsewhere, templates.

    Raises:
        CorruptFileError: an unreadable template file.
    """
    base = name.lower().rsplit("/", 1)[-1].rsplit("!", 1)[-1]
    head = source.read(0, 64)
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        scan.report("TW-MODEL-LFS-POINTER", "a pointer in place of the file itself", key="lfs")
        if not base.endswith((".md", ".txt")):
            scan.mark_incomplete("the file's content is not here, only a pointer to it")
        return
    if source.size > MAX_TEXT:
        if _is_judged(base):
            scan.mark_incomplete(f"a text of {source.size} bytes, which is not read")
        return  # vocabularies and logs, which are read only as data
    raw = read_document(scan, source)
    if (offset := unwritten(raw)) is not None:
        scan.mark_corrupt(f"a text with binary bytes at offset {offset}")
    text = decode_text(raw)
    if base.endswith(_TEMPLATES) or base == "chat_template":
        from agents.checks.artifacts.formats.templates import report_template  # noqa: PLC0415 -- few texts are any

        own = "chat" not in base and (
            _OF_ANOTHER_FORMAT.search(base) is not None
            or is_of_program(scan, name)
            or (_BUILDS_ON.search(text) is not None and _ELSEWHERE.search(text) is None)
        )
        report_template(scan, text, base, in_program=own)
    elif base.endswith((".csv", ".tsv")):
        _judge_table(scan, text)
    elif base.endswith(".md"):
        _judge_card(scan, text, name)
    elif _REQUIREMENTS.search(name.lower()):
        _judge_requirements(scan, text)
    elif base == ".gitattributes":
        if match := _CONFIGURED.search(text):
            scan.report(
                "TW-MODEL-GIT-FILTER",
                f"files pass through {match.group()[:80]!r}",
                offset=match.start(),
            )
    elif base == "modelfile" or base.endswith(".modelfile"):
        _judge_modelfile(scan, text)
    if is_settings(base):
        from agents.checks.artifacts.formats.settings_reader import report_settings  # noqa: PLC0415 -- the same

        report_settings(scan, base, text)
    if base in _PROJECTS:
        for number, line in enumerate(_lines(scan, text), 1):
            report_requirement(scan, line.strip(" \t,[]").strip("'\""), number)
    elif _holds_commands(base):
        _judge_commands(scan, text)
    else:
        from agents.checks.artifacts.formats.texts_with_commands import report_commands_in  # noqa: PLC0415 -- few texts have any

        report_commands_in(scan, name, text)
    if base.endswith((".html", ".htm", ".svg")) and (match := SCRIPT.search(text)):
        report_markup(scan, text, match, drawing=base.endswith(".svg"))


def _holds_commands(base: str) -> bool:
    return base.startswith(_COMMANDS) or base.endswith((".dockerfile", ".containerfile"))


def _is_judged(base: str) -> bool:
    """Return whether a text with this name is more than data."""
    return base.endswith((*_TEMPLATES, ".md", ".html", ".svg", ".gitattributes", "modelfile")) or (
        base in _PROJECTS
        or _holds_commands(base)
        or base.startswith("chat_template")
        or _REQUIREMENTS.search(base) is not None
    )


def _lines(scan: Scan, text: str) -> list[str]:
    """Return the lines of a text, and charge the budget for them."""
    lines = text.splitlines()
    scan.budget.step(len(lines))
    return lines


def _judge_card(scan: Scan, text: str, name: str) -> None:
    front = _FRONT.match(text)
    if front:
        import yaml  # noqa: PLC0415 -- few texts have any

        from agents.checks.artifacts.formats.yaml_reader import (  # noqa: PLC0415 -- the same
            PYTHON_TAG,
            report_yaml,
        )

        try:
            report_yaml(scan, front.group(1), name)
        except CorruptFileError:
            if PYTHON_TAG.search(front.group(1)):
                scan.report("TW-MODEL-YAML-TAG", "a damaged front matter with a tag", key="front")
        except yaml.YAMLError:
            return
    for match in re.finditer(r"(?i)\b(curl|wget)\b[^\n`]{0,300}\|\s*(sudo\s+)?(ba|z)?sh\b", text):
        scan.report(
            "TW-MODEL-CARD-COMMAND",
            f"the card tells readers to run {match.group()[:80]!r}",
            severity=Severity.HIGH if is_untrusted_fetch(match.group()) else None,
            offset=match.start(),
        )


def _judge_table(scan: Scan, text: str) -> None:
    """Report cells that make a spreadsheet start a program.

    Source: CWE-1236; Excel's DDE formulas, `=program|'arguments'!cell`.
    """
    scan.budget.step(len(text) // 32)
    if match := _FORMULA.search(text):
        scan.report(
            "TW-MODEL-SCRIPT-HOSTILE",
            f"a cell makes a spreadsheet run {match.group()[:80]!r}",
            offset=match.start(),
        )


def _judge_requirements(scan: Scan, text: str) -> None:
    for number, line in enumerate(_lines(scan, text), 1):
        report_requirement(scan, line, number)


def _judge_modelfile(scan: Scan, text: str) -> None:
    for number, line in enumerate(_lines(scan, text), 1):
        words = line.split(maxsplit=1)
        if len(words) > 1 and words[0].upper() in ("FROM", "ADAPTER"):
            path = words[1].strip().strip("\"'")
            if path.startswith(("http://", "file:")) or "/etc/" in path or ".ssh" in path:
                scan.report(
                    "TW-MODEL-PATH-ESCAPES",
                    f"{words[0]} {path[:120]!r}",
                    line=number,
                    name=path[:200],
                )


def _judge_commands(scan: Scan, text: str) -> None:
    """Report the commands of an image's build, or of another build, by their risk."""
    scan.budget.step(text.count("\n") + 1)
    for command in commands_of(text.replace('", "', " ").replace('","', " ")):
        if command.risk >= CommandRisk.REPLACEABLE_SCRIPT:
            rule = "TW-MODEL-SCRIPT-HOSTILE"
        elif command.risk is CommandRisk.UNKNOWN_SCRIPT:
            rule = "TW-MODEL-SCRIPT-RISKY"
        else:
            continue
        scan.report(
            rule,
            f"the build runs {command.text.strip()[:80]!r}",
            severity=Severity.MEDIUM if rule == "TW-MODEL-SCRIPT-RISKY" else None,
            line=command.line,
        )

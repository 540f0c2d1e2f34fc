"""Reads settings in TOML, INI and gin as documents: names, imports and commands.

Sources: the TOML and gin-config documentation; `configparser`; `logging.config.fileConfig`, which
evaluates arguments of handlers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from agents.checks.artifacts.formats.named_calls import RUN_KEYS, report_code, report_named_calls
from agents.checks.artifacts.formats.repository import report_repository
from agents.checks.artifacts.formats.settings_names import GIN, JSONNET, TOML
from agents.checks.artifacts.formats.targets import about, handed_on, leaves, report_tree_targets
from agents.checks.artifacts.python.shell_commands import is_hostile_command
from agents.checks.artifacts.readers.embedded import report_command, report_text
from agents.checks.artifacts.readers.paths import escapes, is_remote
from agents.checks.artifacts.scanning import Scan
from agents.checks.shell.risk import risk_of_setting
from agents.domain.toml_reader import read_toml
from schemas.severity import Severity

SHORT: Final = 8
"""Characters of a text that names no command."""
_RUN_TABLES: Final = frozenset(("scripts", "tasks", "commands", "alias", "aliases"))
"""Tables whose values are all commands: of PDM, Poe, Hatch, taskipy, Git."""
_GIT: Final = frozenset(
    ("fsmonitor", "sshcommand", "smudge", "clean", "process", "pager", "editor", "askpass")
)
_CODE_KEYS: Final = frozenset(("init_hook",))
"""Keys whose value Pylint runs as Python."""
_EVALUATED: Final = frozenset(("args", "kwargs"))
_HANDLER: Final = re.compile(r"(handler|formatter)_\w+$")
_SECTION: Final = re.compile(r"\s*\[([^\]\n]{1,300})\]\s*(?:[#;].*)?$")
_ENTRY: Final = re.compile(r"([^\s=:#;\[][^=:\n]{0,300}?)\s*[=:](?!\S*://\S*$)\s*(.*)$")
_STARTS: Final = re.compile(r"exec(start|stop|reload)\w*")
_IMPORT: Final = re.compile(
    r"\s*(?:from\s+(?P<source>[\w.]+)\s+)?import\s+(?P<name>[\w.]+)(?:\s+as\s+(?P<as>\w+))?"
)
_INCLUDE: Final = re.compile(r"""\s*include\s+["']([^"']{1,1000})["']""")
_TAKEN_IN: Final = re.compile(r"""\bimport(?:str|bin)?\s*["']([^"'\n]{1,1000})["']""")
_REFERRED: Final = re.compile(r"@(?:[\w.]+/)*([A-Za-z_][\w.]*)")
_BOUND: Final = re.compile(r"\s*(?:[\w.]+/)*([A-Za-z_][\w.]*)\.\w+\s*=")


def report_settings(scan: Scan, base: str, text: str) -> None:
    """Report what settings make a program import or run.

    Args:
        scan: Where to report.
        base: The file's own name, lower case.
        text: The settings.

    Raises:
        BudgetExceededError: too large.
    """
    if base.endswith(GIN):
        _judge_gin(scan, text)
        return
    if base.endswith(JSONNET):
        _judge_jsonnet(scan, text)
        return
    document = _read_toml(scan, text) if base.endswith(TOML) else _read_ini(scan, text)
    report_tree_targets(scan, document)
    report_repository(scan, base, document)
    report_named_calls(scan, document)
    for path, key, value in leaves(scan, document, lambda path, key: (path, key), texts_alone=True):
        if isinstance(value, str) and len(value) > SHORT:
            _judge_value(scan, path, key, value)


def _judge_value(scan: Scan, path: str, key: str, value: str) -> None:
    tables = path.lower().split(".")
    plain = key.lower().replace("-", "_")
    if plain in _CODE_KEYS or (plain in _EVALUATED and _HANDLER.match(tables[0])):
        report_code(scan, path, value)
    run = (
        plain in RUN_KEYS | _GIT
        or plain.startswith("commands_")
        or _STARTS.fullmatch(plain) is not None
        or not _RUN_TABLES.isdisjoint(tables)
    )
    if report_command(scan, path, value, risk_of_setting(path, value, run=run)):
        return
    risky = [line.strip() for line in value.splitlines() if run and is_hostile_command(line)]
    if risky:
        scan.report("TW-MODEL-SCRIPT-RISKY", f"{path[:120]} runs {risky[0][:80]!r}", key=path[:200])
    report_text(scan, path[:200], value, Severity.LOW)


def _read_toml(scan: Scan, text: str) -> dict[str, Any]:
    scan.budget.step(len(text) // 8)
    try:
        return read_toml(text)
    except (ValueError, RecursionError) as error:
        scan.mark_corrupt(f"not TOML: {str(error)[:200]}")
        return _read_ini(scan, text)


def _read_ini(scan: Scan, text: str) -> dict[str, Any]:
    """Return sections and their values as a document, of any dialect of INI.

    A later value of a key is added to the earlier one: programs differ in which counts.
    """
    document: dict[str, dict[str, list[str]]] = {}
    section = document.setdefault("", {})
    key = ""
    for line in text.splitlines():
        scan.budget.step(1)
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        if match := _SECTION.match(line):
            section, key = document.setdefault(match[1].strip(), {}), ""
        elif key and line[:1].isspace():
            section[key].append(line.strip())
        elif match := _ENTRY.match(line.strip()):
            key = match[1].strip().strip("\"'").removeprefix("export ")
            section.setdefault(key, []).append(match[2].strip().strip("\"'"))
    read = {
        name: {key: "\n".join(values) for key, values in entries.items()}
        for name, entries in document.items()
    }
    return {**read.pop("", {}), **read}


def _judge_jsonnet(scan: Scan, text: str) -> None:
    """Report files that a Jsonnet program imports from elsewhere; it is not evaluated."""
    for match in _TAKEN_IN.finditer(text):
        if is_remote(match[1]) or match[1].startswith(("/", "~")):
            scan.report(
                "TW-MODEL-PATH-ESCAPES",
                f"it takes in {match[1][:120]!r}",
                offset=match.start(),
                name=match[1][:200],
            )
    scan.mark_unsupported("Jsonnet is not evaluated")


def _judge_gin(scan: Scan, text: str) -> None:
    """Report functions of Python itself that gin configures or calls, once it imports them."""
    meanings: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        scan.budget.step(1 + len(line) // 32)
        plain = line.partition("#")[0]
        if match := _INCLUDE.match(plain):
            if escapes(match[1]):
                scan.report(
                    "TW-MODEL-PATH-ESCAPES",
                    f"it includes {match[1][:120]!r}",
                    line=number,
                    name=match[1][:200],
                )
        elif match := _IMPORT.match(plain):
            full = f"{match['source']}.{match['name']}" if match["source"] else match["name"]
            meanings[match["as"] or full.rsplit(".", 1)[-1]] = full
        else:
            for name in _gin_names(plain, meanings):
                if handed_on().match(name):
                    scan.report(
                        "TW-MODEL-TARGET-DANGEROUS",
                        f"line {number} makes its loader call {name[:120]}",
                        line=number,
                        **about(name),
                    )


def _gin_names(line: str, meanings: dict[str, str]) -> Iterator[str]:
    bound = _BOUND.match(line)
    for name in (*_REFERRED.findall(line), *([bound[1]] if bound else [])):
        first, dot, rest = name.partition(".")
        yield f"{meanings.get(first, first)}{dot}{rest}"

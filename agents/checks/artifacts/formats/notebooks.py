"""Judges Jupyter notebooks: the code of their cells, and markup that acts on being opened."""

from __future__ import annotations

import re
from typing import Any, Final

from agents.checks.artifacts.formats.executables import obfuscated
from agents.checks.artifacts.formats.markup import STEALS
from agents.checks.artifacts.python.shell_commands import (
    PART,
    is_untrusted_fetch,
)
from agents.checks.artifacts.scanning import Scan
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.risk import destroys, persists, risk_of
from agents.checks.shell.script import commands_of
from agents.domain.hosts import is_local
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

MAX_CELLS: Final = 10_000
_SEVERITIES: Final = {
    CommandRisk.HOSTILE: Severity.CRITICAL,
    CommandRisk.REPLACEABLE_SCRIPT: Severity.CRITICAL,
    CommandRisk.UNKNOWN_SCRIPT: Severity.MEDIUM,
    CommandRisk.INSTALLER: Severity.LOW,
}
_SHELL_CELL: Final = late_pattern(r"\s*%%(bash|sh|script|cmd|powershell|!)")
_ZEPPELIN: Final = late_pattern(r"\A\s*%(?:\w+\.)?(\w+)[^\n]*(?:\n|\Z)")
"""The name of the interpreter of a paragraph: `%sh`, `%spark.pyspark`."""
_EXPORTED: Final = "# MAGIC "
_CUT: Final = late_pattern(r"(?m)^# COMMAND -+$")
_PAGE_CELL: Final = late_pattern(r"\s*%%(javascript|js|html|svg)\b")
"""Cells that a browser runs."""
_MAGIC: Final = late_pattern(r"^\s*[!%]")
_ASSIGNED: Final = late_pattern(r"^(\s*)[\w.,\s\[\]'\"]{1,200}=\s*(?:!|%(?=[A-Za-z]))\s*(.*)$")
"""A variable set to what a command prints: `found = !ls`."""
_HELP: Final = late_pattern(r"^\s*(?:%{0,2}[A-Za-z_][\w.*]*\?{1,2}|\?{1,2}\s*%{0,2}[\w.]+)\s*$")
"""A question to IPython: `torch.load?`."""
_RUNS_FILE: Final = late_pattern(
    r"\s*(?P<magic>run|load|loadpy|edit|macro)\s+(?:-\S+\s+)*(?P<url>\w+://\S+)"
)
"""Magics that take in a program by its address."""
_MAGIC_CALL: Final = late_pattern(
    r"\brun_(?:line|cell)_magic\(\s*(?P<q>['\"])(?P<magic>\w+)(?P=q)\s*,\s*(?P<rest>[^\n]*)"
)
"""A magic as exported notebooks call it."""
_SHELL_MAGICS: Final = frozenset({"system", "sx", "bash", "sh", "script", "cmd", "powershell"})
_ADDRESS: Final = late_pattern(r"\w+://[^\s'\"]+")
_PYTHON: Final = late_pattern(r"(?i)\s*(i?python|xpython|pyodide|sage|pyspark)")
"""Languages of kernels whose cells are Python."""
_CELL_TYPES: Final = frozenset({"code", "markdown", "raw", "heading", "html"})
_INSTALLS: Final = late_pattern(
    r"\bpip[\d.]*\s+install\b[^\n]{0,200}?\s(?:git\+)?https?://(?P<host>\d{1,3}(?:\.\d{1,3}){3})[:/]"
    r"\S{0,300}\.(?:whl|zip|tar\.gz|git)\b"
)
"""Packages from an address without a name."""
_SCRIPT: Final = late_pattern(
    # up to the next one at most: a tag that never ends is not searched to the end each time
    r"(?i)<script\b(?:[^<>]|<(?!script\b))*+>(?!\s*</script>)|\bon(error|load)\s*=|javascript:"
)
_SHOWN: Final = ("text/html", "application/javascript", "image/svg+xml", "text/markdown")
"""Outputs that a browser runs when it shows the notebook."""
MAX_OUTPUT: Final = 20_000
"""Characters; longer ones are the libraries of plots."""
_FETCHES: Final = late_pattern(
    r"(?i)fetch\(|XMLHttpRequest|document\.cookie|\.src\s*=|eval\(|atob\("
)


def is_notebook(document: object) -> bool:
    """Return whether a JSON document is a notebook of Jupyter or of Zeppelin."""
    return isinstance(document, dict) and (
        ("nbformat" in document and ("cells" in document or "worksheets" in document))
        or _is_zeppelin(document)
    )


def _is_zeppelin(document: dict[str, Any]) -> bool:
    paragraphs = document.get("paragraphs")
    return (
        isinstance(paragraphs, list)
        and bool(paragraphs)
        and all(isinstance(part, dict) and "text" in part for part in paragraphs)
    )


def _cells(document: dict[str, Any]) -> object:
    """Return the cells of a notebook in the form of nbformat 4.

    Sources: nbformat 3, whose cells lie in worksheets; Zeppelin, whose paragraphs begin with the
    name of their interpreter.
    """
    if _is_zeppelin(document):
        return [
            {"cell_type": "code", "source": _ZEPPELIN.sub(_cell_magic, _joined(part["text"]))}
            for part in document["paragraphs"]
        ]
    sheets = document.get("worksheets")
    if not isinstance(sheets, list):
        return document.get("cells")
    cells = [
        cell
        for sheet in sheets
        if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list)
        for cell in sheet["cells"]
    ]
    return [
        {**cell, "source": cell["input"]} if isinstance(cell, dict) and "input" in cell else cell
        for cell in cells
    ]


def _cell_magic(match: re.Match[str]) -> str:
    return "" if "py" in match[1] else f"%%{match[1]}\n"


def report_exported(scan: Scan, text: str) -> None:
    """Report the commands of a notebook that is exported as Python, in whose comments they stand.

    Source: Databricks, "Export and import notebooks": the source format.
    """
    for cell in _CUT.split(text):
        lines = [line[len(_EXPORTED) :] for line in cell.splitlines() if line.startswith(_EXPORTED)]
        if lines and (_SHELL_CELL.match(f"%{lines[0]}") or _SHELL_CELL.match(lines[0])):
            _judge_lines(scan, "\n".join(lines).partition("\n")[2], "cell")
        else:
            commands = [line.lstrip("!%") for line in lines if line.startswith(("!", "%sh "))]
            _judge_lines(scan, "\n".join(commands), "cell")


def report_notebook(scan: Scan, document: dict[str, Any]) -> None:
    """Report what the cells of a notebook run; a notebook runs only when a person starts it."""
    cells = _cells(document)
    if not isinstance(cells, list):
        scan.mark_corrupt("the cells of the notebook are no list")
        return
    language = _language(document.get("metadata"))
    if language and any(isinstance(c, dict) and c.get("cell_type") == "code" for c in cells):
        scan.mark_unsupported(f"cells in {language[:40]!r} are searched for commands only")
    for index, cell in enumerate(scan.first(cells, MAX_CELLS, "cells")):
        key = f"cells[{index}]"
        if not _is_cell(cell):
            scan.mark_corrupt(f"{key} is no cell of a notebook")
            continue
        if language and cell.get("cell_type") == "code":
            _judge_lines(scan, _joined(cell.get("source")), key)
            continue
        if cell.get("cell_type") == "code":
            _judge_code(scan, _joined(cell.get("source")), key)
        elif cell.get("cell_type") == "markdown":
            text = _joined(cell.get("source"))
            if _SCRIPT.search(text) and _FETCHES.search(text):
                scan.report("TW-MODEL-NOTEBOOK-MARKUP", "a text holds a script", key=key)
        for output in cell.get("outputs") or []:
            data = output.get("data") if isinstance(output, dict) else None
            if isinstance(data, dict):
                _judge_output(scan, data, key)


def _language(metadata: object) -> str:
    """Return the language of a notebook's cells, empty if it is Python or is not given."""
    if not isinstance(metadata, dict):
        return ""
    for part, key in (("kernelspec", "language"), ("language_info", "name")):
        given = metadata.get(part)
        named = given.get(key) if isinstance(given, dict) else None
        if isinstance(named, str) and named.strip():
            return "" if _PYTHON.match(named) else named.strip()
    return ""


def _is_cell(cell: Any) -> bool:  # noqa: ANN401 -- any JSON value
    """Return whether a value is a cell.

    Source: nbformat 4: a known type, and a source of text or lines.
    """
    if not isinstance(cell, dict) or cell.get("cell_type") not in _CELL_TYPES:
        return False
    source = cell.get("source", "")
    return isinstance(source, str) or (
        isinstance(source, list) and all(isinstance(line, str) for line in source)
    )


def _judge_output(scan: Scan, data: dict[str, Any], key: str) -> None:
    for kind in _SHOWN:
        _judge_shown(scan, _joined(data.get(kind)), key, kind=kind, source="an output")


def _judge_shown(scan: Scan, text: str, key: str, *, kind: str, source: str) -> None:
    """Judge what a browser shows, of a media type."""
    if not (kind.endswith("script") or _SCRIPT.search(text)):
        return
    if match := STEALS.search(text):
        scan.report(
            "TW-MODEL-NOTEBOOK-MARKUP",
            f"{source}'s script has {match.group()[:60]!r}",
            severity=Severity.CRITICAL,
            key=key,
        )
    elif _FETCHES.search(text) and len(text) < MAX_OUTPUT:
        scan.report("TW-MODEL-NOTEBOOK-MARKUP", f"{source} holds a script", key=key)


def _judge_code(scan: Scan, text: str, key: str) -> None:
    plain: list[str] = []
    if page := _PAGE_CELL.match(text):
        kind = "application/javascript" if page[1].startswith("j") else "text/html"
        _judge_shown(scan, text[page.end() :], key, kind=kind, source="a cell")
        return
    if _SHELL_CELL.match(text):
        _judge_lines(scan, text, key)
        return
    for call in _MAGIC_CALL.finditer(text):
        address = _ADDRESS.search(call["rest"])
        if call["magic"] in _SHELL_MAGICS:
            _judge_lines(scan, call["rest"].replace("\\n", "\n"), key)
        elif address and _RUNS_FILE.match(f"{call['magic']} {address[0]}"):
            _judge_file(scan, call["magic"], address[0], f"{key}@{call.start()}")
    for line in text.splitlines():
        assigned = _ASSIGNED.match(line)
        if assigned is not None or _MAGIC.match(line):
            command = assigned[2] if assigned is not None else line.strip().lstrip("!%")
            installs = _INSTALLS.search(command)
            if line.lstrip().startswith("%") and (file := _RUNS_FILE.match(command)):
                _judge_file(scan, file["magic"], file["url"], f"{key}:{len(plain)}")
            installed = installs is not None and not is_local(installs["host"])
            severity = Severity.CRITICAL if installed else _severity(command, risk_of(command))
            _report_command(scan, command, severity, key, len(plain))
            plain.append(line[: len(line) - len(line.lstrip())] + "pass")
        elif _HELP.match(line):
            plain.append(line[: len(line) - len(line.lstrip())] + "pass")
        else:
            plain.append(line)
    from agents.checks.artifacts.python.faults import python_faults  # noqa: PLC0415 -- of notebooks alone

    try:
        faults = python_faults("\n".join(plain))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        scan.report("TW-MODEL-NOTEBOOK-OTHER", "a cell is not Python", key=key)
        scan.mark_unsupported(f"{key} is not Python: it is searched for commands only")
        _judge_lines(scan, text, key)
        return
    for fault in faults:
        # a person runs cells: only disguised or stealing code is more than worth a look
        severe = fault.severity is Severity.CRITICAL
        grave = severe and fault.rule_id in (
            "TW-MODEL-CODE-DISGUISED",
            "TW-MODEL-CODE-EXFILTRATES",
        )
        reverse = severe and ("to a shell" in fault.what or "reverse shell" in fault.what)
        command = fault.what.partition(":")[2] if severe else ""
        judged = _severity(command, risk_of(command)) or Severity.LOW
        hidden = "evaluates text" in fault.what and judged > Severity.LOW
        hidden = hidden or fault.hostile
        severity = Severity.CRITICAL if grave or reverse or hidden else judged
        scan.report(
            fault.rule_id,
            fault.what,
            severity=severity,
            key=key,
            line=fault.line,
            name=fault.what[:120],
        )


def _judge_lines(scan: Scan, text: str, key: str) -> None:
    """Report the lines of a shell, or of another language, that fetch and run or hide a command."""
    for command in commands_of(text):
        scan.budget.step(1 + len(command.text) // 16)
        severity = _severity(command.text, command.risk)
        _report_command(scan, command.text, severity, key, command.line)


def _severity(command: str, risk: CommandRisk) -> Severity | None:
    """Return how severe a command of a cell is, which a person runs; None if it is harmless."""
    if obfuscated(command[:PART]) or persists(command) or destroys(command):
        return Severity.CRITICAL
    return _SEVERITIES.get(risk)


def _report_command(
    scan: Scan, command: str, severity: Severity | None, key: str, line: int
) -> None:
    if severity is not None:
        scan.report(
            "TW-MODEL-CODE-SPAWN",
            f"a cell runs {command.strip()[:80]!r}",
            severity=severity,
            key=key,
            line=line,
        )


def _judge_file(scan: Scan, magic: str, url: str, key: str) -> None:
    """Report a program that a magic fetches; `%run` runs it, others show it first."""
    replaceable = is_untrusted_fetch(f"curl {url} | python")
    runs = magic in {"run", "macro"}
    severity = Severity.CRITICAL if runs and replaceable else Severity.MEDIUM
    scan.report(
        "TW-MODEL-CODE-SPAWN",
        f"a cell takes in {url[:80]!r} by %{magic}",
        severity=severity,
        key=key,
    )


def _joined(source: object) -> str:
    if isinstance(source, list):
        return "".join(part for part in source if isinstance(part, str))
    return source if isinstance(source, str) else ""

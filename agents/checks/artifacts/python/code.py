"""Reads Python source beside weights and reports what it does on import and on use."""

from __future__ import annotations

from typing import Any, Final

from agents.checks.artifacts.formats.format import FileName
from agents.checks.artifacts.program_files import is_of_program
from agents.checks.artifacts.python.calls import CODING, RAW, USUAL_CODINGS
from agents.checks.artifacts.python.faults import python_faults
from agents.checks.artifacts.readers.window import decode_text, read_document
from agents.checks.artifacts.scanning import BytesSource, Scan, Source

_EXPORTED: Final = "# Databricks notebook source"
"""The first line of a notebook that is exported as Python."""


def parse(scan: Scan, name: FileName, source: Source) -> None:
    """Report what a Python file does on import and on use."""
    raw = read_document(scan, source)
    declared = CODING.match(raw)
    if declared and not USUAL_CODINGS.match(declared.group(1)):
        scan.report(
            "TW-MODEL-CODE-DISGUISED",
            f"the source is written in the encoding {declared.group(1).decode('latin-1')[:40]!r}",
            line=1,
        )
    text = decode_text(raw)
    report_python(scan, text, "", in_program=is_of_program(scan, name))
    if text.startswith(_EXPORTED):
        from agents.checks.artifacts.formats.notebooks import report_exported  # noqa: PLC0415 -- few sources are any

        report_exported(scan, text)
    scan.report("TW-MODEL-CODE-PRESENT", "a Python file is beside the weights", key="source")


def report_python(scan: Scan, text: str, key: str, *, in_program: bool = False) -> None:
    """Judge a source and report what it does; one that can't be read is incomplete.

    Args:
        scan: Where to report.
        text: Python source.
        key: Where it is within the file, empty for the file itself.
        in_program: Whether it is a program's own, which no loader of models runs.
    """
    try:
        faults = python_faults(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if match := RAW.search(text):
            scan.report(
                "TW-MODEL-CODE-UNREADABLE",
                f"code that does not parse contains {match.group()!r}",
                key=key,
                offset=match.start(),
            )
        scan.mark_incomplete(f"{key or 'source'}: not readable as Python 3: {error}")
        return
    for fault in faults:
        evidence: dict[str, Any] = {"line": fault.line, "name": fault.what[:120]}
        if key:
            evidence["key"] = key
        severity = fault.in_program if in_program else fault.severity
        scan.report(fault.rule_id, fault.what, severity=severity, **evidence)
        if fault.holds:
            scan.descend(f"{key or 'source'}:{fault.line}", BytesSource(fault.holds))

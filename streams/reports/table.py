"""Write a scan as a table: files that are not clean first, and a summary line."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.counting import counted
from schemas.severity import Verdict
from streams.cli.printing import plain
from streams.reports.entries import FileEntry, ScanSummary, active

_ORDER = (
    Verdict.MALICIOUS,
    Verdict.SUSPICIOUS,
    Verdict.CORRUPT,
    Verdict.INCOMPLETE,
    Verdict.UNSUPPORTED,
    Verdict.CLEAN,
)
FINDINGS_SHOWN = 20
"""Most findings shown of a file; `--format json` has all."""


def table(files: tuple[FileEntry, ...], summary: ScanSummary) -> Iterator[str]:
    """Yield the lines of the table, with text from files made safe to print."""
    for file in sorted(files, key=lambda file: (_ORDER.index(file.verdict), file.path)):
        yield f"{str(file.verdict).upper():<11} {plain(file.path)}  ({file.format or 'unknown'})"
        found = active(file)
        for finding in sorted(found, key=lambda finding: -finding.severity.rank)[:FINDINGS_SHOWN]:
            yield f"  {finding.severity:<13} {finding.rule_id}  {plain(finding.description, 200)}"
        if len(found) > FINDINGS_SHOWN:
            yield f"  and {counted(len(found) - FINDINGS_SHOWN, 'more finding')}"
        for reason in file.reasons[:FINDINGS_SHOWN]:
            yield f"  {'reason':<13} {plain(reason, 200)}"
    counts = ", ".join(f"{count} {name}" for name, count in summary.verdicts.items() if count)
    yield f"{counted(summary.files, 'file')}: {counts or 'nothing to scan'}"
    if summary.suppressed:
        yield f"{counted(summary.suppressed, 'finding')} suppressed"
    for notice in summary.notices:
        yield plain(notice, 300)
    for entry in summary.expired_suppressions:
        yield f"suppression expired: {plain(entry)}"

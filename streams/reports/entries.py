"""The results of a scan: one entry per file, and their summary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from agents.checks.artifacts.report import is_accepted, reasons_beyond
from agents.domain.detection import Detection
from agents.domain.rules import Rule, rule_named
from schemas.severity import Severity, Verdict

UNFINISHED: Final = frozenset({Verdict.INCOMPLETE, Verdict.CORRUPT, Verdict.UNSUPPORTED})
"""Verdicts of files that were not fully checked; no gate passes these."""


class FindingEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A finding of a file, as all formats show it."""

    rule_id: str
    ioc_type: str
    severity: Severity
    confidence: float
    description: str
    evidence: dict[str, Any]
    mitre_atlas_id: str
    techniques: tuple[str, ...]
    remediation: str
    suppressed: str | None = None
    """The reason of its suppression, if it is suppressed."""


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A scanned file or other artifact."""

    path: str
    format: str | None = None
    size: int | None = None
    sha256: str | None = None
    verdict: Verdict
    findings: tuple[FindingEntry, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why it is corrupt, incomplete or unsupported; also set where a worse verdict applies."""


class ScanSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over all files."""

    files: int
    verdicts: dict[str, int]
    findings: dict[str, int]
    """Number of unsuppressed findings by severity."""
    suppressed: int
    expired_suppressions: tuple[str, ...] = ()
    """Suppressions that match nothing any more, by their subject."""
    notices: tuple[str, ...] = ()
    """Notices about the whole scan, such as missing intelligence."""


def rule_by_id(rule_id: str) -> Rule:
    """Return the rule of a finding: of a check, or of an intelligence match.

    Raises:
        KeyError: there is none.
    """
    try:
        return rule_named(rule_id)
    except KeyError:
        from agents.triage.correlation import correlations  # noqa: PLC0415 -- few scans need them

        return correlations()[rule_id].rule


def finding_entry(detection: Detection) -> FindingEntry:
    """Return a detection with the texts of its rule."""
    rule = rule_by_id(detection.rule_id)
    return FindingEntry(
        rule_id=rule.id,
        ioc_type=rule.ioc_type,
        severity=detection.severity or rule.severity,
        confidence=rule.confidence if detection.confidence is None else detection.confidence,
        description=detection.description,
        evidence=detection.evidence,
        mitre_atlas_id=rule.atlas,
        techniques=rule.techniques,
        remediation=rule.remediation,
    )


def active(file: FileEntry) -> tuple[FindingEntry, ...]:
    """Return the findings of a file that are not suppressed."""
    return tuple(finding for finding in file.findings if finding.suppressed is None)


def is_unfinished(file: FileEntry) -> bool:
    """Return whether a file was not fully checked, and no suppression accepts the rest."""
    others = bool(reasons_beyond(file.reasons, file.findings))
    if file.verdict not in UNFINISHED:
        return others
    kept = (finding.rule_id for finding in active(file))
    return not is_accepted(file.verdict, kept, others=others)


def summarise(
    files: Iterable[FileEntry], expired: tuple[str, ...] = (), notices: tuple[str, ...] = ()
) -> ScanSummary:
    """Count verdicts and findings of all files."""
    verdicts = {str(verdict): 0 for verdict in Verdict}
    findings = {str(severity): 0 for severity in reversed(Severity)}
    suppressed = count = 0
    for file in files:
        count += 1
        verdicts[str(file.verdict)] += 1
        for finding in file.findings:
            if finding.suppressed is None:
                findings[str(finding.severity)] += 1
            else:
                suppressed += 1
    return ScanSummary(
        files=count,
        verdicts=verdicts,
        findings=findings,
        suppressed=suppressed,
        expired_suppressions=expired,
        notices=notices,
    )


def document(files: tuple[FileEntry, ...], summary: ScanSummary) -> dict[str, Any]:
    """Return the JSON object of `--format json`, without suppressed findings."""
    return {
        "files": [
            {
                "path": file.path,
                "format": file.format,
                "size": file.size,
                "sha256": file.sha256,
                "verdict": str(file.verdict),
                "findings": [_finding(finding) for finding in active(file)],
                "reasons": list(file.reasons),
            }
            for file in files
        ],
        "summary": msgspec.to_builtins(summary),
    }


def _finding(finding: FindingEntry) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(finding)
    del built["suppressed"]
    return built

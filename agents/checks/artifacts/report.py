"""The report of one scanned file, and how its verdict is derived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from agents.checks.artifacts.scanning import Scan, severity_of
from agents.domain.detection import Detection
from schemas.severity import Severity, Verdict

UNREAD: Final = frozenset(("TW-PICKLE-UNLISTED-CLASS",))
"""Rules whose findings mean that a file was made from something unread."""
MAX_REASONS: Final = 50
"""Reasons of a file; beyond, the last one says how many were left out."""


class Found(Protocol):
    """A finding of a file."""

    @property
    def rule_id(self) -> str:
        """The rule."""

    @property
    def description(self) -> str:
        """What was seen."""

    @property
    def evidence(self) -> Mapping[str, Any]:
        """Where it was seen."""


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """One scanned file."""

    path: str
    format: str
    """The outermost format, `other` when none was recognised."""
    formats: tuple[str, ...] = ()
    """All formats met, also of members."""
    size: int
    sha256: str | None = None
    """None unless asked for."""
    verdict: Verdict
    detections: tuple[Detection, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why it is corrupt, incomplete or unsupported, each with the place."""
    confinement: str = ""
    """What the scanning process had given up; empty if it was scanned in this process."""


def verdict_of(
    detections: tuple[Detection, ...],
    *,
    incomplete: bool = False,
    corrupt: bool = False,
    unsupported: bool = False,
) -> Verdict:
    """Return the verdict: an error never hides a finding, and never reads as clean.

    Args:
        detections: What was found.
        incomplete: Whether a part was not analysed completely.
        corrupt: Whether bytes are damaged.
        unsupported: Whether its format is not known; findings may say so too.
    """
    worst = max((severity_of(detection).rank for detection in detections), default=0)
    if worst >= Severity.CRITICAL.rank:
        return Verdict.MALICIOUS
    if incomplete:
        return Verdict.INCOMPLETE
    if corrupt:
        return Verdict.CORRUPT
    if worst >= Severity.MEDIUM.rank:
        return Verdict.SUSPICIOUS
    unread = any(detection.rule_id in UNREAD for detection in detections)
    return Verdict.UNSUPPORTED if unsupported or unread else Verdict.CLEAN


def unread_reasons(findings: Iterable[Found]) -> tuple[str, ...]:
    """Return the reasons for which findings leave a file unsupported, each with the place."""
    return tuple(
        f"{found.evidence.get('member') or found.evidence.get('file', '')}: {found.description}, "
        f"and was not read ({found.rule_id})"
        for found in findings
        if found.rule_id in UNREAD
    )


def reasons_beyond(reasons: Iterable[str], findings: Iterable[Found]) -> tuple[str, ...]:
    """Return the reasons of a file that don't come from its findings."""
    own = set(unread_reasons(findings))
    return tuple(reason for reason in reasons if reason not in own)


def listed(reasons: Iterable[str], what: str = "reasons") -> tuple[str, ...]:
    """Return each reason once: the first ones, and how many more there are."""
    every = tuple(dict.fromkeys(reasons))
    if len(every) <= MAX_REASONS:
        return every
    kept = MAX_REASONS - 1
    return (*every[:kept], f"and {len(every) - kept} further {what}")


def is_accepted(verdict: Verdict, kept: Iterable[str], *, others: bool) -> bool:
    """Return whether a file is unsupported only because of suppressed findings.

    Args:
        verdict: The file's.
        kept: The rules of its findings that are not suppressed.
        others: Whether it is unsupported for reasons beyond its findings.
    """
    return verdict is Verdict.UNSUPPORTED and not others and UNREAD.isdisjoint(kept)


def conclude(scan: Scan, size: int, sha256: str | None = None) -> FileReport:
    """Return the report of a finished scan."""
    if scan.dropped:
        scan.mark_incomplete(f"{scan.dropped} more findings were left out")
    detections = tuple(scan.detections)
    formats = tuple(dict.fromkeys(scan.formats))
    return FileReport(
        path=scan.path,
        format=formats[0] if formats else "other",
        formats=formats,
        size=size,
        sha256=sha256,
        verdict=verdict_of(
            detections,
            incomplete=bool(scan.incomplete),
            corrupt=bool(scan.corrupt),
            unsupported=bool(scan.unsupported),
        ),
        detections=detections,
        reasons=listed(
            (*scan.incomplete, *scan.corrupt, *scan.unsupported, *unread_reasons(detections))
        ),
    )


def failed(path: str, size: int, reason: str, detections: tuple[Detection, ...] = ()) -> FileReport:
    """Return the report of a file whose scan did not end: incomplete, or by its findings."""
    return FileReport(
        path=path,
        format="unknown",
        size=size,
        verdict=verdict_of(detections, incomplete=True),
        detections=detections,
        reasons=listed((reason, *unread_reasons(detections))),
    )

"""The scan results of a push's files, as checks and findings."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agents.checks.provenance.attempts import MAX_ATTEMPTS
from agents.checks.provenance.subject import PushSubject
from agents.domain.check_names import CheckName
from agents.domain.detection import Detection, rule_of
from agents.domain.findings import SOLE_FILE
from agents.domain.roles import use_of
from schemas.assessments import Check
from schemas.basis import Basis, BasisKind
from schemas.components import component_key
from schemas.counting import counted
from schemas.findings import Indicator, IndicatorType
from schemas.scans import ScanRequest
from schemas.severity import Disposition, Severity, Status, Verdict, worst

NAMED: Final = 100
"""Files that are not clean with a check of their own; the rest are counted."""
_STATUS: Final = {
    Verdict.CLEAN: Status.PASS,
    Verdict.SUSPICIOUS: Status.WARN,
    Verdict.INCOMPLETE: Status.INCOMPLETE,
    # A gate never passes unchecked content.
    Verdict.UNSUPPORTED: Status.INCOMPLETE,
    Verdict.CORRUPT: Status.FAIL,
    Verdict.MALICIOUS: Status.FAIL,
}


class ScannedFile(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one file."""

    path: str
    verdict: Verdict
    detections: tuple[Detection, ...] = ()
    reason: str = ""
    others: bool = False
    """Whether there are reasons beyond its findings."""
    again: bool = False
    """Whether it could not be fetched now, but may be later."""
    role: str = ""
    """The role in which its bytes were read; empty if the bytes alone decide."""
    accepted: bool = False
    """Whether only findings that the tenant's policy suppresses leave it unsupported."""


def severity_of(detection: Detection) -> Severity:
    """Return the severity of a detection, by default its rule's."""
    return detection.severity or rule_of(detection).severity


def file_findings(
    file: ScannedFile, subject: PushSubject, digests: dict[str, str], *, sole: bool
) -> list[Detection]:
    """Return the findings of a file's scan, on the digest of its bytes.

    Args:
        file: The scanned file.
        subject: The push.
        digests: The digests that were computed, by path.
        sole: Whether it is the push's only file: its digest is the version's, and the same version
            with another digest is different content.
    """
    use = use_of(subject.component) or use_of(f"{subject.push.kind}:")
    more = {SOLE_FILE: True} if sole else {}
    return [_bound_to_file(detection, digests, file, use, more) for detection in file.detections]


def _bound_to_file(
    detection: Detection,
    digests: dict[str, str],
    file: ScannedFile,
    use: str,
    more: dict[str, Any],
) -> Detection:
    """Return a scanner's detection bound to its file: by the digest of the bytes it read.

    A finding in a package's or image's files is the tenant's own, as they are judged like a
    model's.
    """
    path = file.path
    digest = digests.get(path)
    evidence = {"file": path, **detection.evidence}
    if digest is None:
        return msgspec.structs.replace(detection, evidence={**evidence, **more})
    block = severity_of(detection) is Severity.CRITICAL
    return msgspec.structs.replace(
        detection,
        evidence={**evidence, "sha256": digest, **more},
        basis=None if use else Basis(kind=BasisKind.VERIFIED, role=file.role),
        indicator=Indicator(
            key=component_key("sha256", digest),
            type=IndicatorType.FILE_DIGEST,
            value=digest,
            disposition=Disposition.BLOCK if block else Disposition.DETECT,
        ),
    )


def scan_checks(scanned: list[ScannedFile], retry: ScanRequest | None) -> list[Check]:
    """Return the check of the whole scan, and one for each file that is not clean."""
    bad = sorted(
        (file for file in scanned if _file_status(file) is not Status.PASS),
        key=lambda file: (-_file_status(file).rank, file.path),
    )
    checks = [
        Check(
            name=f"{CheckName.SCAN}_{file.path}",
            status=_file_status(file),
            actual=str(file.verdict),
            detail=file.reason or None,
        )
        for file in bad[:NAMED]
    ]
    detail = f"{counted(len(scanned), 'file')}, {len(bad)} not clean"
    if retry is not None:
        detail += f"; files that could not be fetched are tried again (attempt {retry.attempt})"
    status = worst(_file_status(file) for file in scanned) if scanned else Status.INCOMPLETE
    return [Check(name=CheckName.SCAN, status=status, detail=detail), *checks]


def _file_status(file: ScannedFile) -> Status:
    status = Status.WARN if file.accepted else _STATUS[file.verdict]
    if status is Status.PASS and file.detections:
        return Status.WARN
    return status


def not_analysed(scanned: list[ScannedFile]) -> Detection:
    """Return the finding on files that could not be scanned in the last attempt."""
    lost = [file for file in scanned if file.verdict is Verdict.INCOMPLETE]
    return Detection(
        rule_id="TW-PROV-NOT-ANALYSED",
        description=f"{counted(len(lost), 'file')} could not be fetched or scanned: "
        f"{lost[0].reason}",
        evidence={"files": [file.path for file in lost[:20]], "attempts": MAX_ATTEMPTS},
        locator="scan#not-analysed",
    )

"""Write a scan as SARIF 2.1.0, which code hosts and editors read."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from agents.domain.rules import Rule
from schemas.canonical import stable_hash
from schemas.severity import Severity
from streams.reports.entries import FileEntry, FindingEntry, is_unfinished, rule_by_id

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS: Final = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFORMATIONAL: "note",
}
_SCORES: Final = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "3.0",
    Severity.INFORMATIONAL: "0.0",
}
"""`security-severity`, by which code hosts sort."""


def sarif(files: tuple[FileEntry, ...], version: str) -> dict[str, Any]:
    """Return a scan as a SARIF log of one run.

    Args:
        files: The scanned files.
        version: The version of Tidewatch.

    Source: OASIS SARIF 2.1.0.
    """
    used = sorted({finding.rule_id for file in files for finding in file.findings})
    index = {rule_id: at for at, rule_id in enumerate(used)}
    unfinished = [file for file in files if is_unfinished(file)]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "tidewatch",
                        "version": version,
                        "rules": [_rule(rule_by_id(rule_id)) for rule_id in used],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "artifacts": [_artifact(file) for file in files],
                "invocations": [
                    {
                        "executionSuccessful": not unfinished,
                        "toolExecutionNotifications": [
                            {
                                "level": "error",
                                "message": {"text": "; ".join(file.reasons) or f"{file.verdict}"},
                                "locations": [_location(file, {})],
                            }
                            for file in unfinished
                        ],
                    }
                ],
                "results": [
                    _result(at, file, finding, index[finding.rule_id])
                    for at, file in enumerate(files)
                    for finding in file.findings
                ],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(part.capitalize() for part in rule.id.split("-")[1:]),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": " ".join(rule.description.split())},
        "help": {"text": "\n".join(f"{at}. {step}" for at, step in enumerate(rule.triage, 1))},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "security-severity": _SCORES[rule.severity],
            "tags": ["security", rule.ioc_type, rule.atlas],
        },
    }


def _uri(path: str) -> str:
    scheme = path.partition("://")[0]
    if scheme != path and scheme.isalnum():
        return quote(path, safe=":/@?#=&%+-._~")
    return quote(path)


def _artifact(file: FileEntry) -> dict[str, Any]:
    artifact: dict[str, Any] = {"location": {"uri": _uri(file.path)}}
    if file.size is not None:
        artifact["length"] = file.size
    if file.sha256:
        artifact["hashes"] = {"sha-256": file.sha256}
    return artifact


def _location(file: FileEntry, evidence: dict[str, Any]) -> dict[str, Any]:
    region: dict[str, int] = {}
    line, offset = evidence.get("line"), evidence.get("offset")
    if isinstance(line, int) and line > 0:
        region["startLine"] = line
    elif isinstance(offset, int) and offset >= 0 and not evidence.get("member"):
        region["byteOffset"] = offset
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(file.path)}}
    if region:
        physical["region"] = region
    location: dict[str, Any] = {"physicalLocation": physical}
    if member := evidence.get("member"):
        location["logicalLocations"] = [{"fullyQualifiedName": str(member), "kind": "member"}]
    return location


def _result(at: int, file: FileEntry, finding: FindingEntry, index: int) -> dict[str, Any]:
    location = _location(file, finding.evidence)
    location["physicalLocation"]["artifactLocation"]["index"] = at
    locator = "|".join(
        str(finding.evidence.get(name, "")) for name in ("member", "offset", "line", "global")
    )
    result: dict[str, Any] = {
        "ruleId": finding.rule_id,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.description},
        "locations": [location],
        "partialFingerprints": {"tidewatch/v1": stable_hash(file.path, finding.rule_id, locator)},
        "properties": {
            "ioc_type": finding.ioc_type,
            "confidence": finding.confidence,
            "evidence": finding.evidence,
            "mitre_atlas_id": finding.mitre_atlas_id,
            "techniques": list(finding.techniques),
            "remediation": finding.remediation,
        },
    }
    if finding.suppressed is not None:
        result["suppressions"] = [{"kind": "external", "justification": finding.suppressed}]
    return result

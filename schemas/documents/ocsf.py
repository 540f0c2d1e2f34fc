"""OCSF 1.7 documents: Detection Finding (2004) of alerts, Remediation Activity (7001) of results.

https://schema.ocsf.io/1.7.0/classes/detection_finding. Times are integer milliseconds; `action_id`
and `disposition_id` need the security_control profile, `assignee` the incident profile; the names
of observables are real paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from schemas.atlas import attacks, mitigations
from schemas.basis import BasisKind
from schemas.components import is_sha256, split_key
from schemas.incidents.commands import CommandView
from schemas.incidents.states import CommandStatus
from schemas.incidents.views import AlertView, FindingView, SystemView
from schemas.purl import component_purl
from schemas.severity import Severity
from schemas.taxonomy import taxonomy
from schemas.version import PRODUCT, VENDOR, VERSION

SCHEMA_VERSION: Final = "1.7.0"
CLASS_DETECTION_FINDING: Final = 2004
CLASS_REMEDIATION_ACTIVITY: Final = 7001
CONTENT_TYPE: Final = "application/json"
_ACTIVITIES: Final = {"create": (1, "Create"), "update": (2, "Update"), "close": (3, "Close")}
_STATUSES: Final = {
    "new": (1, "New"),
    "acknowledged": (2, "In Progress"),
    "contained": (2, "In Progress"),
    "recovering": (2, "In Progress"),
    "suppressed": (3, "Suppressed"),
    "closed": (4, "Resolved"),
    "false-positive": (4, "Resolved"),
    "withdrawn": (4, "Resolved"),
}
_SEVERITIES: Final = {
    Severity.INFORMATIONAL: (1, "Informational"),
    Severity.LOW: (2, "Low"),
    Severity.MEDIUM: (3, "Medium"),
    Severity.HIGH: (4, "High"),
    Severity.CRITICAL: (5, "Critical"),
}
_RISK_LEVELS: Final = {
    Severity.INFORMATIONAL: (0, "Info"),
    Severity.LOW: (1, "Low"),
    Severity.MEDIUM: (2, "Medium"),
    Severity.HIGH: (3, "High"),
    Severity.CRITICAL: (4, "Critical"),
}
_REMEDIATIONS: Final = {
    "quarantine": (1, "Isolate"),
    "hold-pipeline": (1, "Isolate"),
    "block": (2, "Evict"),
    "revoke": (2, "Evict"),
    "rollback": (3, "Restore"),
    "restore": (3, "Restore"),
    "roll-forward": (3, "Restore"),
    "unblock": (3, "Restore"),
    "release-pipeline": (3, "Restore"),
    "rebuild": (4, "Harden"),
    "capture-evidence": (5, "Detect"),
}
_SHA256: Final = {"algorithm_id": 3, "algorithm": "SHA-256"}
_HIGH_CONFIDENCE: Final = 0.8
_MEDIUM_CONFIDENCE: Final = 0.5
_ANSWERS: Final = {404: (3, "Does Not Exist"), 501: (5, "Unsupported")}
_HTTP_OK: Final = 200
_HTTP_ERRORS: Final = 300
OCCURRENCES: Final = frozenset({"found", "exposed"})
"""Entries of a timeline whose times are those of events."""
ANALYTIC_RULE: Final = 1
REGULAR_FILE: Final = 1


def milliseconds(time: datetime) -> int:
    """Return a time as integer milliseconds since the epoch."""
    return round(time.timestamp() * 1000)


def _confidence(value: float) -> tuple[int, str]:
    if value >= _HIGH_CONFIDENCE:
        return 3, "High"
    return (2, "Medium") if value >= _MEDIUM_CONFIDENCE else (1, "Low")


def _attacks(techniques: Iterable[str], ioc_types: Iterable[str]) -> list[dict[str, Any]]:
    best = mitigations(ioc_types)
    result: list[dict[str, Any]] = []
    for attack in attacks(techniques):
        entry: dict[str, Any] = {
            "version": f"ATLAS {taxonomy().atlas_version}",
            "technique": {"uid": attack.technique_id, "name": attack.technique},
        }
        if attack.tactics:
            tactic, name = attack.tactics[0]
            entry["tactic"] = {"uid": tactic, "name": name}
        if attack.sub_technique_id:
            entry["sub_technique"] = {"uid": attack.sub_technique_id, "name": attack.sub_technique}
        if best:
            entry["mitigation"] = {"uid": best[0][0], "name": best[0][1]}
        result.append(entry)
    return result


def lead_finding(alert: AlertView) -> FindingView | None:
    """Return the worst finding that still holds; None for a tenant that is only exposed."""
    return max(
        alert.findings,
        key=lambda finding: (finding.active, finding.severity.rank, finding.confidence, finding.id),
        default=None,
    )


def last_occurrence(alert: AlertView) -> datetime:
    """Return when the latest occurrence that the alert reports happened.

    Actions of Tidewatch are in the timeline but are not occurrences.
    """
    return max([alert.first_seen, *(e.at for e in alert.timeline if e.what in OCCURRENCES)])


def finding_digest(finding: FindingView) -> str | None:
    """Return the SHA-256 a finding is about, None when it names no file."""
    for candidate in (finding.evidence.get("sha256"), finding.indicator_value):
        if isinstance(candidate, str) and is_sha256(candidate):
            return candidate
    return None


def _evidence(finding: FindingView) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "uid": finding.id,
        "name": finding.rule_id,
        "data": {
            **finding.evidence,
            "rule_id": finding.rule_id,
            "ioc_type": finding.ioc_type,
            "severity": finding.severity,
            "confidence": finding.confidence,
            "description": finding.description,
            "remediation": finding.remediation,
            "basis": finding.basis.kind if finding.basis else BasisKind.CLAIMED,
            "known_by": finding.known_by,
            **({"advice": True} if finding.advice else {}),
        },
    }
    name = finding.evidence.get("file")
    digest = finding_digest(finding)
    if isinstance(name, str) and name:
        entry["file"] = {
            "name": name.rsplit("/", 1)[-1] or name,
            "path": name,
            "type_id": REGULAR_FILE,
            "type": "Regular File",
        }
        if digest:
            entry["file"]["hashes"] = [{**_SHA256, "value": digest}]
    return entry


def _resources(alert: AlertView) -> list[dict[str, Any]]:
    components = {(finding.component, finding.version): finding for finding in alert.findings}
    resources = [
        {
            "uid": component_purl(component, version),
            "name": split_key(component)[1],
            "type": split_key(component)[0],
            **({"version": version} if version else {}),
            "role_id": 1,
            "role": "Target",
        }
        for component, version in sorted(components, key=lambda pair: (pair[0], pair[1] or ""))
    ]
    resources.extend(_system(system) for system in alert.systems)
    return resources


def _system(system: SystemView) -> dict[str, Any]:
    return {
        "uid": f"system:{system.system}",
        "name": system.system,
        "type": "system",
        "labels": [f"exposure:{system.exposure}", f"component:{system.component}"],
        "data": {
            "since": milliseconds(system.since),
            "path": list(system.path),
            **({"digest": system.digest} if system.digest else {}),
        },
        "role_id": 3,
        "role": "Affected",
    }


def _observables(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def add(name: str, type_id: int, kind: str, value: str) -> None:
        entry = {"name": name, "type_id": type_id, "type": kind, "value": value}
        found.setdefault((name, value), entry)

    for evidence in document.get("evidences", ()):
        file = evidence.get("file")
        if file:
            add("evidences[].file.name", 7, "File Name", file["name"])
            for digest in file.get("hashes", ()):
                add("evidences[].file.hashes[].value", 8, "Hash", digest["value"])
    for resource in document.get("resources", ()):
        add("resources[].uid", 10, "Resource UID", resource["uid"])
    return list(found.values())


def _disposition(commands: Iterable[CommandView]) -> dict[str, Any]:
    done = {
        view.spec.action
        for view in commands
        if view.state == CommandStatus.DONE and not view.spec.dry_run
    }
    if "quarantine" in done:
        return {
            "action_id": 2,
            "action": "Denied",
            "disposition_id": 3,
            "disposition": "Quarantined",
        }
    if "block" in done:
        return {"action_id": 2, "action": "Denied", "disposition_id": 2, "disposition": "Blocked"}
    return {"action_id": 3, "action": "Observed", "disposition_id": 15, "disposition": "Detected"}


def detection_finding(alert: AlertView) -> dict[str, Any]:
    """Return the OCSF Detection Finding of one tenant's view of an incident.

    Args:
        alert: The view; it names no other tenant.
    """
    activity_id, activity = _ACTIVITIES[alert.activity]
    status_id, status = _STATUSES.get(alert.status, (2, "In Progress"))
    severity_id, severity = _SEVERITIES[alert.score.band]
    risk_id, risk = _RISK_LEVELS[alert.score.band]
    active = [finding for finding in alert.findings if finding.active] or list(alert.findings)
    confidence = max((finding.confidence for finding in active), default=0.0)
    confidence_id, confidence_name = _confidence(confidence)
    first = milliseconds(alert.first_seen)
    last = milliseconds(last_occurrence(alert))
    lead = lead_finding(alert)
    ioc_types = sorted({finding.ioc_type for finding in active})
    document: dict[str, Any] = {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS_DETECTION_FINDING,
        "class_name": "Detection Finding",
        "type_uid": CLASS_DETECTION_FINDING * 100 + activity_id,
        "type_name": f"Detection Finding: {activity}",
        "time": last,
        "start_time": first,
        "end_time": last,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_detail": alert.status,
        "is_alert": True,
        "confidence_id": confidence_id,
        "confidence": confidence_name,
        "confidence_score": round(confidence * 100),
        "risk_level_id": risk_id,
        "risk_level": risk,
        "risk_score": alert.score.value,
        "message": alert.message,
        **_disposition(alert.commands),
        "metadata": _metadata(alert),
        "finding_info": _finding_info(alert, active, ioc_types),
        "evidences": [_evidence(finding) for finding in alert.findings],
        "resources": _resources(alert),
        "remediation": {
            "desc": "\n".join(
                text for text in dict.fromkeys([alert.next_action, *alert.runbook]) if text
            )
            or (lead.remediation if lead else alert.message)
        },
        "unmapped": _unmapped(alert, ioc_types),
    }
    if alert.assignee:
        document["assignee"] = {"name": alert.assignee, "type_id": 1, "type": "User"}
    document["observables"] = _observables(document)
    return document


def _metadata(alert: AlertView) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "version": SCHEMA_VERSION,
        "uid": alert.id,
        "tenant_uid": alert.tenant,
        "correlation_uid": alert.incident,
        "log_name": "tidewatch.alerts",
        "profiles": ["security_control"],
        "labels": ["tlp:amber", f"phase:{alert.phase}", f"pattern:{alert.pattern}"],
        "is_truncated": bool(alert.truncated),
        "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": VERSION},
    }
    if alert.assignee:
        metadata["profiles"].insert(0, "incident")
    if alert.processing.detected_at is not None:
        metadata["processed_time"] = milliseconds(alert.processing.detected_at)
    return metadata


def _finding_info(
    alert: AlertView, active: Sequence[FindingView], ioc_types: list[str]
) -> dict[str, Any]:
    lead = lead_finding(alert)
    first = milliseconds(alert.first_seen)
    info: dict[str, Any] = {
        "uid": alert.id,
        "title": alert.title,
        "desc": lead.description if lead else alert.message,
        "created_time": first,
        "first_seen_time": first,
        "last_seen_time": milliseconds(last_occurrence(alert)),
        "types": ioc_types,
    }
    if sources := sorted({finding.source for finding in active if finding.source}):
        info["data_sources"] = sources
    info |= {
        "related_events": [{"uid": uid} for uid in alert.correlation_ids],
        "related_events_count": len(alert.correlation_ids),
        "attacks": _attacks(alert.techniques, ioc_types),
    }
    if lead:
        info["analytic"] = {
            "uid": lead.rule_id,
            "name": lead.ioc_type,
            "type_id": ANALYTIC_RULE,
            "type": "Rule",
        }
    return info


def _unmapped(alert: AlertView, ioc_types: list[str]) -> dict[str, Any]:
    """Return the values for which OCSF has no attribute."""
    return {
        "incident": alert.incident,
        "root": alert.root,
        "status": alert.status,
        "phase": alert.phase,
        "next_action": alert.next_action,
        "runbook": list(alert.runbook),
        "pattern": alert.pattern,
        "pattern_why": alert.pattern_why,
        "ssdf": list(alert.ssdf),
        "mitigations": [uid for uid, _ in mitigations(ioc_types)],
        "score": [
            {"name": term.name, "value": term.value, "points": term.points, "why": term.why}
            for term in alert.score.terms
        ],
        "affected_systems": alert.system_count,
        "related_incidents": list(alert.related),
        "commands": [
            {
                "command_id": view.spec.command_id,
                "action": view.spec.action,
                "target": view.spec.target,
                "mode": view.spec.mode,
                "state": view.state,
            }
            for view in alert.commands
        ],
        "tasks": [
            {"id": task.id, "system": task.system, "kind": task.kind, "state": task.state}
            for task in alert.tasks
        ],
        **({"other_tenants_at_least": alert.other_tenants} if alert.other_tenants else {}),
        **({"truncated": list(alert.truncated)} if alert.truncated else {}),
    }


def _answer_status(status: int | None) -> tuple[int, str]:
    """Return the status of a remediation, from the OpenC2 status of its command's result."""
    if status is None or status < _HTTP_OK:
        return 99, "Other"  # under way: neither has happened yet
    if status < _HTTP_ERRORS:
        return 1, "Success"
    return _ANSWERS.get(status, (2, "Failure"))


def remediation_activity(view: CommandView, at: datetime) -> dict[str, Any]:
    """Return the OCSF Remediation Activity of a command's result: the audit of containment.

    Args:
        view: The command and its outcome.
        at: When the responder answered.
    """
    spec = view.spec
    activity_id, activity = _REMEDIATIONS.get(spec.action, (99, "Other"))
    status_id, status = _answer_status(view.status)
    return {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 7,
        "category_name": "Remediation",
        "class_uid": CLASS_REMEDIATION_ACTIVITY,
        "class_name": "Remediation Activity",
        "type_uid": CLASS_REMEDIATION_ACTIVITY * 100 + activity_id,
        "type_name": f"Remediation Activity: {activity}",
        "time": milliseconds(at),
        "severity_id": 1,
        "severity": "Informational",
        "status_id": status_id,
        "status": status,
        "status_code": str(view.status or 0),
        "status_detail": view.status_text or view.state,
        "message": f"{spec.action} {spec.target}: {view.state}",
        "command_uid": spec.command_id,
        "metadata": {
            "version": SCHEMA_VERSION,
            "uid": f"{spec.command_id}-{spec.attempt}-{view.state}",
            "tenant_uid": spec.tenant,
            "correlation_uid": spec.incident,
            "log_name": "tidewatch.containment-audit",
            "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": VERSION},
        },
        "unmapped": {"action": spec.action, "target": spec.target, "dry_run": spec.dry_run},
    }

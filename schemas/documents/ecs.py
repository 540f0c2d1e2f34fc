"""ECS 9.4 documents: an alert, and `threat.indicator` of an indicator record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from schemas.atlas import FRAMEWORK, attacks
from schemas.cloudevents import format_time
from schemas.components import is_sha256, split_key
from schemas.documents.ocsf import finding_digest, last_occurrence, lead_finding
from schemas.findings import SupplyChainIoC
from schemas.incidents.views import AlertView, FindingView
from schemas.taxonomy import taxonomy
from schemas.version import PRODUCT, VENDOR, VERSION

ECS_VERSION: Final = "9.4.0"
_ATLAS_SITE: Final = "https://atlas.mitre.org"
_HIGH: Final = 0.8
_MEDIUM: Final = 0.5


def _threat(techniques: Iterable[str]) -> dict[str, Any]:
    tactics: dict[str, str] = {}
    parents: dict[str, str] = {}
    subs: dict[str, str] = {}
    for attack in attacks(techniques):
        tactics.update(attack.tactics)
        parents[attack.technique_id] = attack.technique
        if attack.sub_technique_id and attack.sub_technique:
            subs[attack.sub_technique_id] = attack.sub_technique

    def table(rows: dict[str, str], kind: str) -> dict[str, Any]:
        return {
            "id": list(rows),
            "name": list(rows.values()),
            "reference": [f"{_ATLAS_SITE}/{kind}/{row}" for row in rows],
        }

    threat: dict[str, Any] = {"framework": FRAMEWORK}
    if tactics:
        threat["tactic"] = table(tactics, "tactics")
    if parents:
        threat["technique"] = table(parents, "techniques")
        if subs:
            threat["technique"]["subtechnique"] = table(subs, "techniques")
    return threat


def _file(finding: FindingView) -> dict[str, Any]:
    path = finding.evidence.get("file")
    digest = finding_digest(finding)
    if not isinstance(path, str):
        return {}
    file: dict[str, Any] = {"name": path.rsplit("/", 1)[-1], "path": path}
    if digest:
        file["hash"] = {"sha256": digest}
    return {"file": file}


def alert_document(alert: AlertView) -> dict[str, Any]:
    """Return the ECS alert of one tenant's view of an incident."""
    lead = lead_finding(alert)
    kind, name = split_key(lead.component if lead else alert.root.partition("@")[0])
    ioc_type = lead.ioc_type if lead else "tainted_component"
    last = last_occurrence(alert)
    digests = sorted({d for finding in alert.findings if (d := finding_digest(finding))})
    document: dict[str, Any] = {
        "@timestamp": format_time(last),
        "ecs": {"version": ECS_VERSION},
        "message": alert.message,
        "tags": ["ai-supply-chain", "tlp:amber"],
        "labels": {
            "ioc_type": ioc_type,
            "incident_id": alert.incident,
            "phase": alert.phase,
            "status": alert.status,
            "pattern": alert.pattern,
        },
        "event": {
            "kind": "alert",
            "category": ["malware"],
            "type": ["info"],
            "outcome": "unknown",
            "action": ioc_type,
            "id": alert.id,
            "module": "tidewatch",
            "dataset": "tidewatch.alert",
            "severity": alert.score.value,
            "risk_score": float(alert.score.value),
            "created": format_time(alert.first_seen),
            "reason": lead.description if lead else alert.pattern_why,
        },
        "rule": {
            "id": lead.rule_id if lead else alert.id,
            "name": ioc_type,
            "ruleset": "tidewatch",
        },
        "organization": {"id": alert.tenant},
        "observer": {"vendor": VENDOR, "product": PRODUCT, "version": VERSION},
        "package": {
            "name": name,
            "type": kind,
            **({"version": lead.version} if lead and lead.version else {}),
        },
        "threat": _threat(alert.techniques),
        **(_file(lead) if lead else {}),
    }
    if digests:
        document["related"] = {"hash": digests}
    hosts = sorted({system.system for system in alert.systems})
    if hosts:
        document.setdefault("related", {})["hosts"] = hosts
    return document


def indicator_document(ioc: SupplyChainIoC) -> dict[str, Any]:
    """Return the ECS threat indicator of an indicator record."""
    value = ioc.indicator.value
    confidence = "High" if ioc.confidence >= _HIGH else "Medium"
    indicator: dict[str, Any] = {
        "name": value,
        "id": [ioc.id],
        "description": ioc.description,
        "provider": "tidewatch",
        "confidence": confidence if ioc.confidence >= _MEDIUM else "Low",
        "first_seen": format_time(ioc.first_seen),
        "last_seen": format_time(ioc.last_seen),
        "modified_at": format_time(ioc.last_seen),
        "marking": {"tlp": ioc.tlp.upper(), "tlp_version": "2.0"},
    }
    related: dict[str, Any] = {}
    if is_sha256(value):
        indicator["type"] = "file"
        indicator["file"] = {"hash": {"sha256": value}}
        related["hash"] = [value]
    elif ioc.indicator.key.startswith("domain:"):
        indicator["type"] = "domain-name"
        indicator["url"] = {"domain": value}
    elif ioc.indicator.type == "url":
        indicator["type"] = "url"
        indicator["url"] = {"original": value}
    else:
        indicator["type"] = "software"
    kind = taxonomy().ioc_types.get(ioc.ioc_type)
    return {
        "@timestamp": format_time(ioc.last_seen),
        "ecs": {"version": ECS_VERSION},
        "tags": ["ai-supply-chain", *((kind.stix_indicator_types) if kind else ()), ioc.status],
        "event": {
            "kind": "enrichment",
            "category": ["threat"],
            "type": ["indicator"],
            "dataset": "tidewatch.indicator",
            "module": "tidewatch",
            "id": ioc.id,
            "created": format_time(ioc.valid_from),
        },
        "organization": {"id": ioc.tenant},
        **({"related": related} if related else {}),
        "threat": {**_threat(ioc.techniques), "indicator": indicator},
    }

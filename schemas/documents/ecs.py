"""ECS 9.4 documents: an alert, and `threat.indicator` of an indicator record.

Other fields are in the namespace `tidewatch`, as ECS recommends for custom fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from schemas.atlas import FRAMEWORK, attacks
from schemas.cloudevents import format_time
from schemas.components import is_sha256, split_key, split_version
from schemas.documents.ocsf import finding_digest, last_occurrence, lead_finding
from schemas.findings import IndicatorType, SupplyChainIoC
from schemas.incidents.views import AlertView, FindingView
from schemas.purl import component_purl
from schemas.severity import BAND_WIDTH, Category, Disposition, IndicatorStatus
from schemas.taxonomy import IocType, taxonomy
from schemas.version import PRODUCT, VENDOR, VERSION

ECS_VERSION: Final = "9.4.0"
_ATLAS_SITE: Final = "https://atlas.mitre.org"
_HIGH: Final = 0.8
_MEDIUM: Final = 0.5
_PACKAGES: Final = frozenset({"pypi", "model", "image", "dataset"})
"""Kinds of component that the fields of `package` describe."""


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
    # Over 60 lines, as the fields of the document are.
    lead = lead_finding(alert)
    component = lead.component if lead else split_version(alert.root)[0]
    kind, name = split_key(component)
    purl = component_purl(component, lead.version if lead else None)
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
        "tidewatch": {
            "severity": alert.score.band,
            "status": alert.status,
            "activity": alert.activity,
            "component": component,
            **({"purl": purl} if purl.startswith("pkg:") else {}),
        },
        **(_file(lead) if lead else {}),
    }
    if digests:
        document["related"] = {"hash": digests}
    hosts = sorted({system.system for system in alert.systems})
    if hosts:
        document.setdefault("related", {})["hosts"] = hosts
    return document


def _package(component: str, version: str | None) -> dict[str, Any]:
    """Return the fields of a package, model or image, by which a match rule finds it elsewhere."""
    kind, name = split_key(component)
    if kind not in _PACKAGES:
        return {}
    return {"name": name, "type": kind, **({"version": version} if version else {})}


def _match(ioc: SupplyChainIoC) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the matchable fields of `threat.indicator`, and those of `related`."""
    value = ioc.indicator.value
    if is_sha256(value):
        return {"type": "file", "file": {"hash": {"sha256": value}}}, {"hash": [value]}
    if ioc.indicator.key.startswith("domain:"):
        return {"type": "domain-name", "url": {"domain": value}}, {"hosts": [value]}
    if ioc.indicator.type == IndicatorType.URL:
        return {"type": "url", "url": {"original": value}}, {}
    if ioc.indicator.type in {IndicatorType.IPV4, IndicatorType.IPV6}:
        return {"type": ioc.indicator.type, "ip": value}, {"ip": [value]}
    return {"type": "artifact" if ioc.indicator.type == IndicatorType.WALLET else "software"}, {}


def is_matchable(ioc: SupplyChainIoC) -> bool:
    """Return whether a match rule may fire on an indicator's value.

    A withdrawn indicator is no longer a threat. Context, such as the host of a tenant's own data or
    the way it pins packages, never was one.
    """
    return (
        ioc.status is IndicatorStatus.ACTIVE
        and ioc.indicator.disposition is not Disposition.CONTEXT
        and ioc.category is not Category.HYGIENE
    )


def indicator_document(ioc: SupplyChainIoC) -> dict[str, Any]:
    """Return the ECS document of an indicator record.

    It has a `threat.indicator` as long as the value is one to match; else it is an enrichment
    about the component alone. The document of a greater `event.sequence` replaces that of the same
    `event.id`.
    """
    # Over 60 lines, as the fields of the document are.
    key, version = _subject(ioc)
    package = _package(key, version)
    modified = format_time(ioc.modified or ioc.last_seen)
    matchable = is_matchable(ioc)
    kind = taxonomy().ioc_types.get(ioc.ioc_type)
    threat = _threat(ioc.techniques)
    match, related = _match(ioc)
    if matchable:
        confidence = "High" if ioc.confidence >= _HIGH else "Medium"
        threat["indicator"] = {
            "name": ioc.indicator.value,
            "id": [ioc.id],
            "description": ioc.description,
            "provider": "tidewatch",
            "confidence": confidence if ioc.confidence >= _MEDIUM else "Low",
            "first_seen": format_time(ioc.first_seen),
            "last_seen": format_time(ioc.last_seen),
            "modified_at": modified,
            "marking": {"tlp": ioc.tlp.upper(), "tlp_version": "2.0"},
            **match,
        }
        threat["feed"] = {"name": "tidewatch"}
    purl = component_purl(key, version) if package else ""
    return {
        "@timestamp": modified,
        "ecs": {"version": ECS_VERSION},
        "message": ioc.description,
        "tags": [
            "ai-supply-chain",
            *((kind.stix_indicator_types) if kind else ()),
            ioc.status,
            ioc.category,
            f"tlp:{ioc.tlp}",
        ],
        "event": {
            "kind": "enrichment",
            "category": ["threat"] if matchable else _categories(kind),
            "type": ["indicator"] if matchable else ["info"],
            "dataset": "tidewatch.indicator",
            "module": "tidewatch",
            "id": ioc.id,
            "sequence": ioc.revision,
            "severity": ioc.severity.rank * BAND_WIDTH + BAND_WIDTH // 2,
            "action": ioc.ioc_type,
            "created": format_time(ioc.valid_from),
            "start": format_time(ioc.first_seen),
            "end": format_time(ioc.last_seen),
        },
        "rule": {"id": ioc.rule_id, "name": ioc.ioc_type, "ruleset": "tidewatch"},
        "organization": {"id": ioc.tenant},
        "observer": {"vendor": VENDOR, "product": PRODUCT, "version": VERSION},
        **({"package": package} if package else {}),
        **({"related": related} if related and matchable else {}),
        "threat": threat,
        "tidewatch": {
            "severity": ioc.severity,
            "disposition": ioc.indicator.disposition,
            "category": ioc.category,
            "status": ioc.status,
            "valid_from": format_time(ioc.valid_from),
            "valid_until": format_time(ioc.valid_until),
            "indicator": ioc.indicator.value,
            "component": ioc.component,
            **({"purl": purl} if purl.startswith("pkg:") else {}),
        },
    }


def _subject(ioc: SupplyChainIoC) -> tuple[str, str | None]:
    """Return the component and version an indicator is about: its own, else the checked one's."""
    for key in (ioc.indicator.key, ioc.component):
        bare, version = split_version(key)
        if bare.partition(":")[0] in _PACKAGES:
            return bare, version
    return split_version(ioc.component)


def _categories(kind: IocType | None) -> list[str]:
    """Return the ECS categories of a kind of indicator, of which each allows the type info."""
    return list(kind.ecs_category) if kind is not None else ["configuration"]

"""Makers of sightings and findings for the triage tests."""

from __future__ import annotations

from typing import Any

from schemas.basis import Basis, BasisKind
from schemas.canonical import stable_id
from schemas.findings import Finding, Indicator
from schemas.observations import Sighting
from schemas.severity import Disposition, Severity
from schemas.taxonomy import taxonomy
from tests.agents.triage.flow import at

BAD = "b" * 64
GOOD = "a" * 64
MODEL = "model:hub/acme/sentiment"
SCANNED = frozenset(
    {"malicious_payload", "embedded_executable", "template_injection", "suspicious_code"}
)
"""Kinds that a scan finds in bytes it hashed; what an event says is its tenant's claim."""


def sighting(component: str, tenant: str, system: str, minutes: float = 0, **more: Any) -> Sighting:
    event = more.pop("event_id", f"ev-{component}-{tenant}-{system}-{minutes}")
    return Sighting(
        id=stable_id("sig", component, tenant, system, event),
        component=component,
        tenant=tenant,
        system=system,
        event_id=event,
        source=more.pop("source", f"//source/{tenant}"),
        occurred_at=at(minutes),
        **more,
    )


def held(
    component: str, tenant: str, system: str, minutes: float = 0, **more: Any
) -> tuple[Sighting, ...]:
    """Return the sightings of one event: under the name, and under the digest if there is one."""
    digest = more.get("digest")
    by_name = sighting(component, tenant, system, minutes, **more)
    if digest is None:
        return (by_name,)
    return (by_name, sighting(f"sha256:{digest}", tenant, system, minutes, name=component, **more))


def finding(
    kind: str,
    tenant: str,
    component: str = MODEL,
    *,
    digest: str | None = BAD,
    version: str | None = "r2",
    minutes: float = 0,
    severity: Severity | None = None,
    confidence: float = 0.95,
    systems: tuple[str, ...] = (),
    **more: Any,
) -> Finding:
    entry = taxonomy().ioc_types[kind]
    event = f"ev-{component}-{tenant}-{minutes}"
    if digest is not None and kind in SCANNED:
        more.setdefault("basis", Basis(kind=BasisKind.VERIFIED))
    rule = more.pop("rule_id", f"TW-TEST-{kind.upper()}")
    if digest is not None:
        indicator = Indicator(
            key=f"sha256:{digest}",
            type="file-digest",
            value=digest,
            disposition=Disposition.BLOCK,
        )
    else:
        key = component if version is None else f"{component}@{version}"
        indicator = Indicator(key=key, type="component", value=key)
    return Finding(
        id=stable_id("fnd", tenant, event, rule, component, more.pop("locator", "")),
        ioc_type=kind,
        rule_id=rule,
        severity=severity or entry.severity,
        confidence=confidence,
        description=f"{kind} in {component} of {tenant}",
        evidence=more.pop("evidence", {"file": f"{tenant}-model.bin"}),
        mitre_atlas_id=entry.primary,
        techniques=entry.techniques,
        ssdf=entry.ssdf,
        remediation="Quarantine it.",
        indicator=more.pop("indicator", indicator),
        component=component,
        version=version,
        tenant=tenant,
        source=f"//source/{tenant}",
        event_id=event,
        occurred_at=at(minutes),
        systems=systems,
        **more,
    )

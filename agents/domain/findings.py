"""Builds a finding from a rule and an observation."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from agents.domain.rules import Rule
from schemas.basis import Basis
from schemas.canonical import stable_id
from schemas.findings import Finding, Indicator
from schemas.severity import ExposureLevel, Severity

SOLE_FILE: Final = "sole_file"
"""Key in a scan finding's evidence: the file is the version's only one, and has its digest."""


def make_finding(
    rule: Rule,
    *,
    locator: tuple[str, ...],
    tenant: str,
    component: str,
    version: str | None,
    indicator: Indicator,
    description: str,
    evidence: dict[str, Any],
    source: str,
    event_id: str,
    occurred_at: datetime,
    systems: tuple[str, ...] = (),
    exposure: ExposureLevel = ExposureLevel.DELIVERED,
    publisher: str | None = None,
    confidence: float | None = None,
    severity: Severity | None = None,
    identities: tuple[str, ...] = (),
    related: tuple[str, ...] = (),
    basis: Basis | None = None,
    publisher_attested: tuple[Basis, ...] = (),
) -> Finding:
    """Return the finding of a rule; its id is the hash of `locator` alone.

    Args:
        rule: The rule that matched.
        locator: Identifies the finding: the same on every replay.
        tenant: The finding's tenant.
        component: The component key it is about.
        version: Its version.
        indicator: The value to look for elsewhere.
        description: The observation in one sentence.
        evidence: The values that show it.
        source: The source of the event that shows it.
        event_id: The id of that event.
        occurred_at: The time of that event.
        systems: The tenant's systems.
        exposure: staged, delivered, executed or serving.
        publisher: Its publisher's key.
        confidence: By default the rule's.
        severity: By default the rule's.
        identities: References to credentials that the component could reach.
        related: Other component keys.
        basis: How it is known; None: the tenant's event says so.
        publisher_attested: The signers who attest the publisher.
    """
    return Finding(
        id=stable_id("fnd", *locator),
        ioc_type=rule.ioc_type,
        rule_id=rule.id,
        severity=severity or rule.severity,
        confidence=rule.confidence if confidence is None else confidence,
        description=description,
        evidence=evidence,
        mitre_atlas_id=rule.atlas,
        techniques=rule.techniques,
        ssdf=rule.ssdf,
        remediation=rule.remediation,
        indicator=indicator,
        component=component,
        version=version,
        tenant=tenant,
        source=source,
        event_id=event_id,
        occurred_at=occurred_at,
        systems=systems,
        identities=identities,
        exposure=exposure,
        publisher=publisher,
        related_keys=related,
        basis=basis,
        publisher_attested=publisher_attested,
    )

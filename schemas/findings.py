"""The wire records of a finding and its indicator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from schemas.basis import Basis
from schemas.severity import Category, Disposition, Severity, Tlp

Confidence = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Indicator(msgspec.Struct, frozen=True, kw_only=True):
    """A value to search for elsewhere."""

    key: str
    """A component key, or `<key>@<version>`: what correlates across tenants."""
    type: str
    """file-digest, package-version, model-revision, dataset, domain, url, publisher, config."""
    value: str
    disposition: Disposition = Disposition.DETECT


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One match of a rule in one event of one tenant."""

    id: str
    """Hash of (tenant, source, event id, rule id, subject, locator)."""
    ioc_type: str
    rule_id: str
    severity: Severity
    confidence: Confidence
    description: str
    evidence: dict[str, Any]
    mitre_atlas_id: str | None
    techniques: tuple[str, ...]
    ssdf: tuple[str, ...]
    remediation: str
    indicator: Indicator
    component: str
    """The key of the checked component."""
    version: str | None = None
    """Its version or revision."""
    tenant: str
    source: str
    """The event's source."""
    event_id: str
    occurred_at: datetime
    systems: tuple[str, ...] = ()
    """Systems of the tenant that the event named."""
    identities: tuple[str, ...] = ()
    """References to credentials the component could reach."""
    exposure: str = "delivered"
    """staged, delivered, executed or serving."""
    publisher: str | None = None
    related_keys: tuple[str, ...] = ()
    """Other component keys of the same event that the finding is about."""
    basis: Basis | None = None
    """How it is known; None: its tenant's event says so."""


class SupplyChainIoC(msgspec.Struct, frozen=True, kw_only=True):
    """The record on the indicator topic: one per indicator, tenant and kind."""

    id: str
    ioc_type: str
    severity: Severity
    confidence: Confidence
    description: str
    evidence: dict[str, Any]
    mitre_atlas_id: str | None = None
    techniques: tuple[str, ...] = ()
    rule_id: str
    ssdf: tuple[str, ...] = ()
    remediation: str
    indicator: Indicator
    component: str
    tenant: str
    event_id: str
    occurred_at: datetime
    status: str = "active"
    """active or withdrawn."""
    revision: int = 1
    """Counts the records of this indicator: the greatest is current."""
    category: Category = Category.COMPROMISE
    """compromise, or hygiene: how the tenant works, nothing to match elsewhere."""
    modified: datetime | None = None
    """When what this revision says became so; None: a record of an earlier version."""
    valid_from: datetime
    valid_until: datetime
    first_seen: datetime
    last_seen: datetime
    tlp: Tlp = Tlp.AMBER
    prevalence: int | None = None
    """Tenants that saw it; only from k tenants on."""
    basis: Basis | None = None
    """How it is known; None: its tenant's event says so."""

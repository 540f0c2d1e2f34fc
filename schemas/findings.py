"""The wire records of a finding and its indicator."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from schemas.basis import Basis
from schemas.severity import Category, Disposition, ExposureLevel, IndicatorStatus, Severity, Tlp

Confidence = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class IndicatorType(StrEnum):
    """The types of what is matched; an indicator may also have the prefix of its component key."""

    FILE_DIGEST = "file-digest"
    PACKAGE_VERSION = "package-version"
    MODEL_REVISION = "model-revision"
    DATASET = "dataset"
    DOMAIN = "domain"
    URL = "url"
    IPV4 = "ipv4-addr"
    IPV6 = "ipv6-addr"
    WALLET = "wallet"
    PUBLISHER = "publisher"
    CONFIG = "config"
    COMPONENT = "component"


class Indicator(msgspec.Struct, frozen=True, kw_only=True):
    """A value to search for elsewhere."""

    key: str
    """A component key, or `<key>@<version>`: what correlates across tenants."""
    type: str
    """file-digest, package-version, model-revision, dataset, domain, url, publisher, config; for
    what a hostile payload contacts: url, domain, ipv4-addr, ipv6-addr, wallet."""
    value: str
    """The value itself, as other systems know it: a digest, host, name@version."""
    disposition: Disposition = Disposition.DETECT
    """block: every match is hostile. detect: investigate every match. context: explains only; do
    not match it.
    """


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
    exposure: ExposureLevel = ExposureLevel.DELIVERED
    """staged, delivered, executed or serving."""
    publisher: str | None = None
    related_keys: tuple[str, ...] = ()
    """Other component keys of the same event that the finding is about."""
    basis: Basis | None = None
    """Its basis; None: its tenant's event claims it."""
    publisher_attested: tuple[Basis, ...] = ()
    """The signers who attest that the publisher published it; empty: the event's claim."""


class SupplyChainIoC(msgspec.Struct, frozen=True, kw_only=True):
    """The record on the indicator topic: one per indicator, tenant and kind."""

    id: str
    """Hash of (indicator key, tenant, kind): the same for every revision."""
    ioc_type: str
    """The kind of indicator, of the taxonomy."""
    severity: Severity
    """Of the worst finding."""
    confidence: Confidence
    """Of the same, 0 to 1."""
    description: str
    """What was seen, in one sentence."""
    evidence: dict[str, Any]
    """Values that show it: file, offset, expected, actual, ..."""
    mitre_atlas_id: str | None = None
    """The MITRE ATLAS technique that fits best."""
    techniques: tuple[str, ...] = ()
    """All its ATLAS techniques."""
    rule_id: str
    """The rule; its page says how to triage."""
    ssdf: tuple[str, ...] = ()
    """NIST SSDF practices that it violates."""
    remediation: str
    """What to do next, in one line."""
    indicator: Indicator
    """The value to match, and how a match may be used."""
    component: str
    """The key of the component in which it was found."""
    tenant: str
    """In whose events it was found."""
    event_id: str
    """The event that shows it."""
    occurred_at: datetime
    """When that event occurred."""
    status: IndicatorStatus = IndicatorStatus.ACTIVE
    """Withdrawn: match nothing by it any more."""
    revision: int = 1
    """Counts the records of this indicator: the greatest is current."""
    category: Category = Category.COMPROMISE
    """compromise, or hygiene: a practice of the tenant, not to be matched elsewhere."""
    modified: datetime | None = None
    """Since when this revision's state has held; None: a record of an earlier version."""
    valid_from: datetime
    """From when it may be matched."""
    valid_until: datetime
    """When it expires, unless a later revision says otherwise."""
    first_seen: datetime
    """The first occurrence in this tenant."""
    last_seen: datetime
    """The last one; reported again at most once a day."""
    tlp: Tlp = Tlp.AMBER
    """Traffic Light Protocol 2.0: with whom it may be shared."""
    prevalence: int | None = None
    """Other organisations that saw it; only from k of them on."""
    basis: Basis | None = None
    """Its basis; None: its tenant's event claims it."""

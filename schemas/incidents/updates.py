"""The records on `incident-updates`: findings, exposures, decisions, results, proofs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from schemas.basis import BareFinding, Basis
from schemas.decisions import Decision
from schemas.findings import Finding
from schemas.incidents.holds import HoldNotice, HoldReason, Suspicion
from schemas.ledger import Revision, Tick
from schemas.severity import ExposureLevel

# -- messages on incident-updates, keyed by incident id ------------------------------------------


class FindingUpdate(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="finding-update"
):
    """A finding at the incident's root. Checks send it for events, the ledger for what it adds."""

    incident: str
    root: str
    finding: Finding
    revision: Revision = (0, 0)
    """Of the fact that caused it; a withdrawal of a later revision withdraws it."""
    withheld: bool = False
    """Its tenant's policy suppresses it: the tenant is not alerted to what its rule finds here."""
    popular: bool = False
    """So many organisations hold the bytes that a scan alone only proposes containment."""


class Exposure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="exposure"):
    """A system holds the component, or something made from it."""

    incident: str
    root: str
    tenant: str
    system: str
    component: str
    occurred_at: datetime
    """When it was first seen there."""
    event_id: str
    last_seen: datetime | None = None
    """When it was last reported: to the day, and exact if versions alternated that day."""
    version: str | None = None
    digest: str | None = None
    exposure: ExposureLevel = ExposureLevel.DELIVERED
    """staged, delivered, executed or serving."""
    path: tuple[str, ...] = ()
    """From the root's component to this one, exclusive; empty: it holds the root itself."""
    origin: str | None = None
    publisher: str | None = None
    stage: str | None = None
    criticality: float | None = None
    identities: tuple[str, ...] = ()
    cause: str = ""
    """The key of the fact that caused it; empty: findings of events."""
    active: bool = True
    """False: the taint that led here was lifted."""
    revision: Revision = (0, 0)
    basis: Basis | None = None
    """How it is known; None: as a finding of the tenant's own says."""
    found: BareFinding | None = None
    """What was found where it began."""
    advice: bool = False
    """It only advises: nothing is contained because of it."""
    via: str = ""
    """Advice: by whose event. Not shown; it keeps the advice of two apart."""
    popular: bool = False
    """So many organisations hold it that a scan alone only proposes containment."""
    roots: tuple[str, ...] = ()
    """The ids of the trust roots that it rests on; other trust roots make another reason."""


class Prevalence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="prevalence"):
    """The number of the indicator's tenants reached a threshold (3, 10, 30): once each."""

    incident: str
    root: str
    indicator: str
    threshold: int
    rule_id: str


class KnownGood(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="known-good"):
    """A version of an affected component that is, or no longer is, a rollback target."""

    incident: str
    tenant: str
    component: str
    version: str | None = None
    digest: str | None = None
    seen_at: datetime
    signed: bool = False
    by_intel: bool = False
    active: bool = True
    """False: it was found to be bad since. A rollback to it is withdrawn or replaced."""
    revision: Revision = (0, 0)
    """The later one says whether it is active and verified; of equal ones the retraction."""


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="withdrawal"):
    """The reason of a finding no longer holds: its alert closes, its containment is undone."""

    incident: str
    tenant: str
    finding: str
    reason: str
    at: datetime
    revision: Revision = (0, 0)


class DecisionUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="decision"):
    """A decision, re-keyed to its incident."""

    incident: str
    decision: Decision


class ResultUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="result"):
    """A responder's verified answer to a command, re-keyed to its incident."""

    incident: str
    id: str
    command_id: str
    tenant: str
    status: int
    """OpenC2: 102 working, 200 done, 4xx and 5xx failed."""
    at: datetime
    status_text: str = ""
    results: dict[str, Any] = {}
    hold: str = ""
    """The component whose hold issued the command, where the record is keyed to the hold."""


CHECKED: Final = "checked"
"""The kind of a proof that only carries a version's results in required checks."""


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="proof"):
    """A later, clean event of an affected system: it closes the recovery task."""

    incident: str
    tenant: str
    system: str
    component: str
    event_id: str
    occurred_at: datetime
    kind: str
    """clean-install, clean-run, verified-push; `checked`: it replaces nothing on this system, and
    only carries the version's results in required checks."""
    version: str | None = None
    digest: str | None = None
    passed: tuple[str, ...] = ()
    """Checks that the tenant's policy requires and that this version passed."""
    not_passed: tuple[str, ...] = ()
    """Checks that the policy requires, that ran on this version and did not pass."""


CAMPAIGN: Final = "campaign"
"""In place of the key that two incidents share: the other's id is the campaign's."""


class Related(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="related"):
    """Another incident is about the same component, digest or publisher."""

    incident: str
    other: str
    via: str
    """The component key they share; `campaign` where `other` is the campaign's id."""
    tenant: str | None = None
    """The tenant that is part of both; None: for the operator only."""


class ForgedResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="forged"):
    """A result whose signature did not verify: it changes nothing and is reported."""

    incident: str
    id: str
    tenant: str
    at: datetime
    detail: str = ""


IncidentMessage = (
    FindingUpdate
    | Exposure
    | Prevalence
    | KnownGood
    | Withdrawal
    | DecisionUpdate
    | ResultUpdate
    | Proof
    | Related
    | ForgedResult
    | HoldReason
    | HoldNotice
    | Suspicion
    | Tick
)

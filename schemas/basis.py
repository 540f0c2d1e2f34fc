"""How something is known: the basis of findings, marks, edges and holdings, as it travels."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.severity import Disposition, Severity

Position = tuple[int, str, int, int]
"""Where an input record lies: append time (ms), topic, partition, offset; the smaller was first."""


class BasisKind(StrEnum):
    """By what something is established, the strongest first."""

    VERIFIED = "verified"
    ATTESTED = "attested"
    INTEL = "intel"
    CLAIMED = "claimed"


class Basis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How something is known, and from whom."""

    kind: BasisKind = BasisKind.CLAIMED
    tenant: str = ""
    """Claimed: the claimant; attested: the tenant whose trust root it is. Empty: of a claim that it
    is several tenants', which together affect none of them in full; of an attestation that the
    trust root is the operator's."""
    by: tuple[str, ...] = ()
    """The signature's identity, or the feeds; at most eight."""
    role: str = ""
    """Verified: the role in which the bytes were read; empty where the bytes alone decide it."""
    via: tuple[str, ...] = ()
    """Who signed the steps of the lineage that leads to it; at most eight."""
    roots: tuple[str, ...] = ()
    """Attested: the ids of the trust roots that it rests on. It ends when one of them is removed.
    Empty: recorded by a version that kept none."""


class BareFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a finding that is about the component, not about the tenant."""

    ioc_type: str = ""
    rule_id: str = ""
    severity: Severity = Severity.MEDIUM
    confidence: float = 0.0
    indicator_type: str = "component"
    disposition: Disposition = Disposition.DETECT
    guarded: bool = False
    """Containment is only advised: a single source names something popular."""
    basis: Basis | None = None
    """How it is known; along a lineage the basis of the mark may be weaker."""

"""The basis of facts: which of two is weaker, and which tenants it may affect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.basis import BareFinding, Basis, BasisKind
from schemas.findings import Finding
from schemas.severity import Severity

VERIFIED: Final = Basis(kind=BasisKind.VERIFIED)
SEVERAL: Final = Basis(kind=BasisKind.CLAIMED)
"""Claims of several tenants together: they affect none of them in full."""
ADVICE_SEVERITY: Final = Severity.MEDIUM
"""The severity of advice, regardless of the severity of the underlying finding."""
_FEEDS: Final = 8
_SIGNERS: Final = 8
_STRENGTH: Final = {kind: -number for number, kind in enumerate(BasisKind)}


def claimed(tenant: str) -> Basis:
    """Return the basis of a claim by an event of `tenant`."""
    return Basis(kind=BasisKind.CLAIMED, tenant=tenant)


def attested(identity: str, tenant: str = "", root: str = "") -> Basis:
    """Return the basis of content that an identity signed.

    Args:
        identity: The signer, in readable form.
        tenant: The trust root's tenant; empty: the operator.
        root: The id of the trust root.
    """
    roots = (root,) if root else ()
    return Basis(kind=BasisKind.ATTESTED, tenant=tenant, by=(identity,), roots=roots)


def intel(sources: Iterable[str]) -> Basis:
    """Return the basis of the operator's intelligence, with its feeds."""
    return Basis(kind=BasisKind.INTEL, by=tuple(sorted(set(sources)))[:_FEEDS])


def basis_of(finding: Finding) -> Basis:
    """Return the basis of a finding; without one it is its tenant's claim."""
    return finding.basis or claimed(finding.tenant)


def is_advice(finding: Finding) -> bool:
    """Return whether a finding only advises its tenant: it rests on what other tenants claim."""
    basis = basis_of(finding)
    return basis.kind is BasisKind.CLAIMED and basis.tenant != finding.tenant


def is_verified(finding: Finding) -> bool:
    """Return whether Tidewatch found it in bytes that it hashed itself."""
    return finding.basis is not None and finding.basis.kind is BasisKind.VERIFIED


def is_known_malicious(finding: Finding) -> bool:
    """Return whether intelligence or a scan of bytes found something malicious.

    Of a baseline, only such findings are reported.
    """
    if finding.basis is None:
        return False
    if finding.basis.kind is BasisKind.INTEL:
        return True
    return is_verified(finding) and finding.severity.rank >= Severity.HIGH.rank


def weakest(steps: Iterable[Basis]) -> Basis:
    """Return the basis of a conclusion: that of its weakest step.

    Claims of two tenants, or a claim over a signature that only another tenant trusts, are claims
    of several: full for neither.

    Args:
        steps: The basis of each step, at least one.
    """
    found = list(steps)
    whose = {basis.tenant for basis in found if _is_of_tenant(basis)}
    if len(whose) > 1 or SEVERAL in found:
        return SEVERAL
    least = min(found, key=lambda basis: _STRENGTH[basis.kind])
    if whose and not _is_of_tenant(least):
        # Attested for one tenant, and further by intelligence: for that tenant, not for all.
        return msgspec.structs.replace(
            least, kind=BasisKind.CLAIMED, tenant=whose.pop(), by=(), roots=()
        )
    return least


def _is_of_tenant(basis: Basis) -> bool:
    return bool(basis.tenant) and basis.kind in {BasisKind.CLAIMED, BasisKind.ATTESTED}


def affects(basis: Basis, tenant: str) -> bool:
    """Return whether facts on a basis may affect a tenant in full, not only as advice."""
    if basis.kind is BasisKind.CLAIMED:
        return bool(basis.tenant) and basis.tenant == tenant
    return not basis.tenant or basis.tenant == tenant


def is_of_all(basis: Basis) -> bool:
    """Return whether it may affect every holder: no claim is part of it."""
    return basis.kind is not BasisKind.CLAIMED and not basis.tenant


def bare_finding(finding: Finding) -> BareFinding:
    """Return a finding on the component itself, without anything of its tenant."""
    return BareFinding(
        ioc_type=finding.ioc_type,
        rule_id=finding.rule_id,
        severity=finding.severity,
        confidence=finding.confidence,
        indicator_type=finding.indicator.type,
        disposition=finding.indicator.disposition,
        guarded=finding.evidence.get("guarded") is True,
        basis=basis_of(finding),
    )


def through(found: BareFinding, step: Basis) -> BareFinding:
    """Return a finding with the basis it has after an attested step of lineage."""
    if found.basis is None:
        return found
    via = tuple(dict.fromkeys((*found.basis.via, *step.by)))[:_SIGNERS]
    return msgspec.structs.replace(found, basis=msgspec.structs.replace(found.basis, via=via))


def known_by(basis: Basis, tenant: str) -> str:
    """Return how something is known and by whom, as `tenant` may read it.

    Args:
        basis: Its basis.
        tenant: The reader: other tenants are never named.
    """
    how = _known_by(basis, tenant)
    return f"{how}; the lineage by a signature of {', '.join(basis.via)}" if basis.via else how


def _known_by(basis: Basis, tenant: str) -> str:
    match basis.kind:
        case BasisKind.VERIFIED:
            return "Tidewatch's scan of the same bytes"
        case BasisKind.ATTESTED:
            signer = basis.by[0] if basis.by else "a trusted identity"
            return f"a signature of {signer}"
        case BasisKind.INTEL:
            feeds = ", ".join(basis.by) or "the operator"
            return f"intelligence ({feeds})"
        case BasisKind.CLAIMED if basis.tenant == tenant:
            return "your own events"
        case _:
            return "other organisations' events, not established by Tidewatch"

"""Matches a fact with a holding: the finding that follows, and the mark on what it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agents.checks.packages.intel_match import ADVERSE, matches
from agents.domain.basis import bare_finding, intel
from agents.domain.component_keys import names_content
from agents.domain.findings import make_finding
from agents.triage.bounded_sets import clip
from agents.triage.correlation import Correlation, for_fact
from agents.triage.ledger.batch import LedgerBatch, indicator_of
from agents.triage.ledger.marks import fresh_mark
from agents.triage.ledger.rows import (
    BOUND,
    BOUND_DIGESTS,
    DIGEST_KEYS,
    NAME_BYTES,
    BoundRow,
    Holding,
    Mark,
    SystemRow,
    from_ms,
)
from agents.triage.routing import incident_id, incident_root
from agents.triage.store import row_key
from schemas.basis import BareFinding
from schemas.components import is_sha256
from schemas.findings import Finding, Indicator
from schemas.intel import IntelFact
from schemas.ledger import FactChange
from schemas.severity import Disposition, Severity

WHOLE: Final = (*DIGEST_KEYS, "domain:", "publisher:")
"""Prefixes of keys of components without versions."""
DIGESTS: Final = 1_000
"""The most digests of a fact that are matched."""


def digest_keys(fact: IntelFact | None) -> set[str]:
    """Return the keys of the digests that a fact names; none without a fact."""
    if fact is None:
        return set()
    plain = (digest.removeprefix("sha256:").lower() for digest in fact.digests[:DIGESTS])
    return {f"sha256:{digest}" for digest in plain if is_sha256(digest)}


def bound_digests(batch: LedgerBatch, component: str, version: str | None) -> tuple[str, ...]:
    """Return the digests that a version was bound to; none if there are too many."""
    if version is None or not names_content(version):
        return ()
    row = batch.store.load(row_key(BOUND, component, version), BoundRow)
    return tuple(row.digests) if row is not None and len(row.digests) <= BOUND_DIGESTS else ()


def match(
    component: str,
    fact_key: str,
    fact: IntelFact | None,
    system: SystemRow,
    holding: Holding,
    bound: Sequence[str],
) -> Finding | None:
    """Return the finding of a fact on a holding, None if it doesn't match.

    Args:
        component: The component key.
        fact_key: The fact's key.
        fact: The fact.
        system: The system's row.
        holding: The holding.
        bound: The digests that its version is bound to.
    """
    if fact is None or fact.kind not in ADVERSE:
        return None
    seen_as = holding.name or component
    of_digest = component.startswith("sha256:")
    if of_digest and fact_key != component and seen_as == fact_key:
        return None  # found under the name already
    digests = (holding.digest,) if holding.digest else ()
    if not of_digest and matches(fact, holding.version, digests) is not True:
        return None
    other = is_other_digest(component, fact, holding.digest)
    if _is_exempt(component, fact, holding, bound):
        return None
    correlation = _correlation(component, seen_as, fact.kind.value)
    if correlation is None:
        return None
    by_digest = of_digest or bool(
        holding.digest and holding.digest in {key[7:] for key in digest_keys(fact)}
    )
    indicator = _indicator(component, fact, holding, by_digest=by_digest)
    guarded = fact.popular and not by_digest and len(set(fact.sources)) < 2  # noqa: PLR2004 -- one source
    if guarded:
        indicator = msgspec.structs.replace(indicator, disposition=Disposition.DETECT)
    rule = correlation.rule
    return make_finding(
        rule,
        locator=(
            fact_key,
            fact.kind.value,
            system.tenant,
            seen_as,
            holding.digest or holding.version or "",
            system.system,
        ),
        tenant=system.tenant,
        component=seen_as,
        version=holding.version,
        indicator=indicator,
        description=clip(fact.summary or f"{rule.title}: {indicator.key}", NAME_BYTES),
        evidence={
            "fact": fact_key,
            "kind": fact.kind.value,
            "sources": sorted(fact.sources)[:8],
            "matched": "digest" if by_digest else "version",
            "digest": holding.digest,
            "file": holding.filename,
            "guarded": guarded,
            "retro": True,
        },
        source=holding.source,
        event_id=holding.first_event,
        occurred_at=from_ms(holding.first_ms),
        systems=(system.system,),
        exposure=holding.exposure,
        publisher=holding.publisher,
        confidence=min(rule.confidence, fact.confidence),
        # The tenant claims to hold other bytes.
        severity=Severity.MEDIUM if other else None,
        identities=tuple(holding.identities),
        basis=intel(fact.sources),
    )


def _correlation(component: str, seen_as: str, kind: str) -> Correlation | None:
    """Return the correlation for a kind of fact on a component."""
    # Reaching a bad domain or publisher doesn't make the component bad itself.
    of_whom = component.startswith(("domain:", "publisher:"))
    prefixes = (component if of_whom else seen_as, component)
    found = (for_fact(kind, key.partition(":")[0]) for key in prefixes)
    return next(filter(None, found), None)


def _indicator(component: str, fact: IntelFact, holding: Holding, *, by_digest: bool) -> Indicator:
    """Return what to block: the version if the fact lists it, else the digest that matched."""
    of_digest = component.startswith("sha256:")
    by_version = not of_digest and matches(fact, holding.version) is True
    if by_digest and not by_version:
        digest = component[7:] if of_digest else holding.digest or ""
        return indicator_of(f"sha256:{digest}", None, Disposition.BLOCK)
    versioned = component.startswith(("pypi:", "model:", "image:")) and holding.version
    return indicator_of(component, holding.version if versioned else None, Disposition.BLOCK)


def _is_exempt(component: str, fact: IntelFact, holding: Holding, bound: Sequence[str]) -> bool:
    """Return whether a holding is established as other bytes than the fact's.

    Either Tidewatch read its bytes, or its version is bound to others and the tenant claims none.
    """
    if holding.digest is not None and holding.digest not in bound:
        return holding.verified and is_other_digest(component, fact, holding.digest)
    return bool(bound) and all(is_other_digest(component, fact, digest) for digest in bound)


def is_other_digest(component: str, fact: IntelFact, digest: str | None) -> bool:
    """Return whether a digest differs from a fact's, if a version has only one.

    A version of a package has many files, and intelligence rarely lists them all.
    """
    named = digest_keys(fact)
    return bool(
        named
        and digest
        and f"sha256:{digest}" not in named
        and not component.startswith(("pypi:", *DIGEST_KEYS))
    )


def mark_of_fact(component: str, finding: Finding, change: FactChange) -> Mark:
    """Return the mark on what a fact names, for all holders.

    It covers a digest only if the fact names it: a version's digest is only a tenant's claim.
    """
    fact = change.fact
    root = incident_root(finding)
    version, digest = finding.version, None
    if component.startswith(WHOLE):
        version = None
    elif finding.evidence.get("matched") == "digest":
        version, digest = None, finding.evidence.get("digest")
    return fresh_mark(
        incident_id(root),
        root,
        cause=change.fact_key,
        version=version,
        digest=digest if isinstance(digest, str) else None,
        revision=change.revision,
        basis=finding.basis,
        found=_found(component, finding, change),
        undigested=fact is not None
        and bool(digest_keys(fact))
        and not component.startswith("pypi:"),
    )


def _found(component: str, finding: Finding, change: FactChange) -> BareFinding:
    """Return a fact's finding on what it names: for a digest, without its holders' names."""
    found = bare_finding(finding)
    correlation = for_fact(change.fact.kind.value, "sha256") if change.fact is not None else None
    if not component.startswith(DIGEST_KEYS) or correlation is None or change.fact is None:
        return found
    return msgspec.structs.replace(
        found,
        ioc_type=correlation.rule.ioc_type,
        rule_id=correlation.rule.id,
        severity=correlation.rule.severity,
        confidence=min(correlation.rule.confidence, change.fact.confidence),
    )

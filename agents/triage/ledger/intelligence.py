"""Intelligence against the ledger: retro-hunt, matches of later sightings, and withdrawals."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.checks.packages.intel_match import ADVERSE, matches
from agents.domain.findings import make_finding
from agents.triage.bounded_sets import clip, clip_or_none, stable_rank, trim
from agents.triage.correlation import for_fact
from agents.triage.ledger import indicators, known_good
from agents.triage.ledger.batch import LedgerBatch, indicator_of
from agents.triage.ledger.propagation import add_mark, component_row, fresh_mark, lift
from agents.triage.ledger.rows import (
    COMPONENT,
    FACT,
    FACTS,
    KEY_BYTES,
    NAME_BYTES,
    NAMES_ROOM,
    PAGE,
    SYSTEM,
    ComponentRow,
    FactRow,
    Holding,
    SystemRow,
    from_ms,
)
from agents.triage.routing import incident_id, incident_root
from agents.triage.store import row_key
from schemas.components import is_sha256
from schemas.findings import Finding
from schemas.integers import within_64_bits
from schemas.intel import IntelFact, VersionRange
from schemas.ledger import FactChange, Revision
from schemas.severity import Disposition

FACT_BYTES: Final = 40_000
DIGESTS: Final = 1_000


def on_fact(batch: LedgerBatch, change: FactChange) -> None:
    """Learn or forget a fact: find the earlier sightings it is about, take back what it was.

    The later revision wins, so that a repeated or late record changes nothing.
    """
    fact = _bounded(batch, change.fact)
    key = row_key(FACT, change.key, change.fact_key)
    known = batch.store.load(key, FactRow)
    if change.after and known is not None and known.revision == change.revision:
        row = component_row(batch, change.key)
        _retro_hunt(batch, change, row, change.before, fact)
        return
    if known is not None and known.revision >= change.revision:
        return
    before = known.fact if known is not None else None
    batch.store.save(key, FactRow(change.fact_key, fact, change.revision))
    row = component_row(batch, change.key)
    place = stable_rank(change.fact_key)
    if place not in row.facts:
        row.facts[place] = change.fact_key
        if trim(row.facts, FACTS, NAMES_ROOM):
            row.full = True
            batch.bound_reached("facts about one component", change.key, FACTS)
    batch.store.save(row_key(COMPONENT, change.key), row)
    if change.key == change.fact_key:
        _tell_digests(batch, change, before, fact)
    _retro_hunt(batch, change, row, before, fact)
    _suppress(batch, change, row, before, fact)
    known_good.on_fact(batch, change.key, row, (before, fact))


def _suppress(
    batch: LedgerBatch,
    change: FactChange,
    row: ComponentRow,
    before: IntelFact | None,
    fact: IntelFact | None,
) -> None:
    """Take back what a warninglist or known-good fact is about; let hold again what it was."""

    def meant(version: str | None, digest: str | None, one: IntelFact | None) -> bool:
        return (
            one is not None
            and one.kind in indicators.SUPPRESSING
            and indicators.is_about(one, version, digest)
        )

    for active in (False, True):

        def about(version: str | None, digest: str | None, *, active: bool = active) -> bool:
            was, now = meant(version, digest, before), meant(version, digest, fact)
            return now if active else was and not now

        if (fact if active else before) is None:
            continue
        indicators.suppress(
            batch, change.key, change.fact_key, change.revision, active=active, about=about
        )
        lift(batch, change.key, row, change.revision, active=not active, about=about)


def _bounded(batch: LedgerBatch, fact: IntelFact | None) -> IntelFact | None:
    """Return the fact in a size that fits a row."""
    if fact is not None and fact.details is not None:
        fact = msgspec.structs.replace(fact, details=within_64_bits(fact.details))
    if fact is None or len(msgspec.msgpack.encode(fact)) <= FACT_BYTES:
        return fact
    batch.bound_reached("size of one fact", fact.key, FACT_BYTES)
    share = FACT_BYTES // 4
    lean = msgspec.structs.replace(
        fact,
        key=clip(fact.key, KEY_BYTES),
        details=None,
        summary=clip(fact.summary or "", NAME_BYTES),
        sources=tuple(clip(one, NAME_BYTES) for one in fact.sources[:16]),
    )
    versions = sorted(lean.versions, key=stable_rank)[: share // 32]
    digests = sorted(lean.digests, key=stable_rank)[: share // 70]
    return msgspec.structs.replace(
        lean,
        versions=tuple(clip(one, 30) for one in versions),
        digests=tuple(clip(one, 70) for one in digests),
        ranges=tuple(
            VersionRange(
                introduced=clip(one.introduced, 30),
                fixed=clip_or_none(one.fixed, 30),
                last_affected=clip_or_none(one.last_affected, 30),
            )
            for one in lean.ranges[: share // 140]
        ),
    )


def _tell_digests(
    batch: LedgerBatch, change: FactChange, before: IntelFact | None, fact: IntelFact | None
) -> None:
    """Tell the rows of the digests that a fact names, and those it names no longer."""
    now = _digest_keys(fact)
    for key in sorted(now | _digest_keys(before)):
        if key != change.key:
            batch.tell_ledger(
                key,
                FactChange(
                    key=key,
                    fact_key=change.fact_key,
                    fact=_of_digest(fact, key) if fact is not None and key in now else None,
                    revision=change.revision,
                ),
            )


def _of_digest(fact: IntelFact, key: str) -> IntelFact:
    """Return what a fact says of one of its digests, without the rest of it."""
    return msgspec.structs.replace(
        fact, versions=(), ranges=(), digests=(key.removeprefix("sha256:"),), details=None
    )


def _digest_keys(fact: IntelFact | None) -> set[str]:
    if fact is None:
        return set()
    plain = (one.removeprefix("sha256:").lower() for one in fact.digests[:DIGESTS])
    return {f"sha256:{one}" for one in plain if is_sha256(one)}


def _retro_hunt(
    batch: LedgerBatch,
    change: FactChange,
    row: ComponentRow,
    before: IntelFact | None,
    fact: IntelFact | None,
) -> None:
    if not _adverse(before) and not _adverse(fact):
        return
    page = list(
        batch.store.scan(SYSTEM, change.key, row_type=SystemRow, limit=PAGE, after=change.after)
    )
    for _, system in page:
        for holding in system.holdings.values():
            now = _match(change.key, change.fact_key, fact, system, holding)
            then = _match(change.key, change.fact_key, before, system, holding)
            if now is not None:
                _issue(batch, change.key, row, now, change)
            if then is not None and (now is None or now.id != then.id):
                _take_back(batch, change.key, row, then, change)
    if len(page) == PAGE:
        going_on = msgspec.structs.replace(change, after=page[-1][0], before=before)
        batch.tell_ledger(change.key, going_on)


def on_holding(
    batch: LedgerBatch, component: str, row: ComponentRow, system: SystemRow, holding: Holding
) -> None:
    """Match a new or changed holding against the facts known of its component."""
    for fact_key in row.facts.values():
        known = batch.store.load(row_key(FACT, component, fact_key), FactRow)
        if known is None:
            continue
        found = _match(component, fact_key, known.fact, system, holding)
        if found is not None:
            change = FactChange(
                key=component, fact_key=fact_key, fact=known.fact, revision=known.revision
            )
            _issue(batch, component, row, found, change)


def _adverse(fact: IntelFact | None) -> bool:
    return fact is not None and fact.kind in ADVERSE


def _match(
    component: str, fact_key: str, fact: IntelFact | None, system: SystemRow, holding: Holding
) -> Finding | None:
    """Return the finding that a fact makes of a holding, None if it is about something else."""
    if fact is None or fact.kind not in ADVERSE:
        return None
    seen_as = holding.name or component
    of_digest = component.startswith("sha256:")
    if of_digest and fact_key != component and seen_as == fact_key:
        return None  # found under the name already
    digests = (holding.digest,) if holding.digest else ()
    if not of_digest and matches(fact, holding.version, digests) is not True:
        return None
    # Who reached a bad domain, or took from a bad publisher, is not what is bad.
    of_whom = component.startswith(("domain:", "publisher:"))
    one = for_fact(fact.kind.value, (component if of_whom else seen_as).partition(":")[0]) or (
        for_fact(fact.kind.value, component.partition(":")[0])
    )
    if one is None:
        return None
    by_digest = of_digest or bool(
        holding.digest and holding.digest in {key[7:] for key in _digest_keys(fact)}
    )
    by_version = not of_digest and matches(fact, holding.version) is True
    if by_digest and not by_version:
        digest = component[7:] if of_digest else holding.digest or ""
        indicator = indicator_of(f"sha256:{digest}", None, Disposition.BLOCK)
    elif component.startswith(("pypi:", "model:", "image:")) and holding.version:
        indicator = indicator_of(component, holding.version, Disposition.BLOCK)
    else:
        indicator = indicator_of(component, None, Disposition.BLOCK)
    guarded = fact.popular and not by_digest and len(set(fact.sources)) < 2  # noqa: PLR2004 -- one source
    if guarded:
        indicator = msgspec.structs.replace(indicator, disposition=Disposition.DETECT)
    rule = one.rule
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
        identities=tuple(holding.identities),
    )


def _issue(
    batch: LedgerBatch, component: str, row: ComponentRow, finding: Finding, change: FactChange
) -> None:
    batch.found(finding, change.revision)
    root = incident_root(finding)
    add_mark(
        batch,
        component,
        row,
        fresh_mark(
            incident_id(root),
            root,
            cause=change.fact_key,
            version=_mark_version(component, finding),
            digest=_mark_digest(component, finding),
            revision=change.revision,
        ),
    )


def _mark_version(component: str, finding: Finding) -> str | None:
    if component.startswith(("sha256:", "domain:", "publisher:")):
        return None
    by_file = finding.indicator.key.startswith("sha256:") and component.startswith("pypi:")
    return None if by_file else finding.version


def _mark_digest(component: str, finding: Finding) -> str | None:
    digest = finding.evidence.get("digest")
    if component.startswith(("sha256:", "domain:", "publisher:")) or not isinstance(digest, str):
        return None
    return digest


def _take_back(
    batch: LedgerBatch, component: str, row: ComponentRow, finding: Finding, change: FactChange
) -> None:
    root = incident_root(finding)
    incident = incident_id(root)
    reason = f"intelligence on {change.fact_key} was withdrawn"
    batch.take_back(finding, change.revision, reason, from_ms(change.revision[0]))
    mark = fresh_mark(
        incident,
        root,
        cause=change.fact_key,
        version=_mark_version(component, finding),
        digest=_mark_digest(component, finding),
        revision=change.revision,
    )
    mark.active = False
    add_mark(batch, component, row, mark)


def fact_of(key: str, fact: IntelFact | None, revision: Revision) -> FactChange:
    """Return the change that a record of the intel topic makes."""
    key = clip(key, KEY_BYTES)
    return FactChange(key=key, fact_key=key, fact=fact, revision=revision)

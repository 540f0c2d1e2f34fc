"""Known good: which versions of a component an affected tenant could roll back to.

A version is known to be good if intelligence vouches for it, if it was pushed with a verified
signature, or if the tenant had it before the incident's first bad one; and if no mark covers it. An
incident is notified when the answer changes, not of each sighting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from agents.checks.packages.intel_match import matches
from agents.triage.bounded_sets import stable_rank, trim
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.claims import claims_row, full_marks_of
from agents.triage.ledger.rows import (
    FACT,
    OF_TENANT,
    PAGE,
    SYSTEM,
    VERSIONS,
    VERSIONS_KEPT,
    VERSIONS_ROOM,
    ComponentRow,
    FactRow,
    Holding,
    Mark,
    SystemRow,
    Version,
    VersionsRow,
    from_ms,
)
from agents.triage.store import row_key
from schemas.incidents.updates import KnownGood
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import GoBack

REPORTED: Final = 24
"""The most reported versions remembered per incident."""
_ALWAYS: Final = 1 << 44
"""Milliseconds later than any event, so that earlier times yield greater revisions."""
_LARGEST: Final = (1 << 62) - 1


def is_affected(batch: LedgerBatch, component: str, tenant: str) -> bool:
    """Return whether a tenant has or had a marked version of the component."""
    return batch.store.load(row_key(VERSIONS, component, tenant), VersionsRow) is not None


def on_holding(
    batch: LedgerBatch, component: str, row: ComponentRow, tenant: str, holding: Holding
) -> None:
    """Add a new or changed holding of a marked component to its tenant's rollback targets."""
    key = row_key(VERSIONS, component, tenant)
    known = batch.store.load(key, VersionsRow)
    if known is None:
        if any(mark.fits(holding, tenant) for mark in full_marks_of(batch, component, row, tenant)):
            on_marks(batch, component, row, tenant)
        return
    if _merge(known, holding):
        _report(batch, component, row, key, known)


def on_marks(batch: LedgerBatch, component: str, row: ComponentRow, tenant: str) -> None:
    """Report a tenant's rollback targets again after marks on its versions changed."""
    key = row_key(VERSIONS, component, tenant)
    known = batch.store.load(key, VersionsRow)
    if known is None:
        known = VersionsRow(tenant=tenant)
        count = 0
        for _, system in batch.store.scan(
            SYSTEM, component, tenant, row_type=SystemRow, limit=OF_TENANT
        ):
            count += 1
            for holding in system.holdings.values():
                _merge(known, holding)
        if count == OF_TENANT:
            batch.bound_reached("systems searched for known-good versions", component, OF_TENANT)
    _report(batch, component, row, key, known)


def on_fact(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    facts: Sequence[IntelFact | None],
) -> None:
    """Report rollback targets again if the old or the new fact vouches for versions."""
    if any(fact is not None and fact.kind is IntelKind.KNOWN_GOOD for fact in facts):
        on_go_back(batch, GoBack(key=component), row)


def on_go_back(batch: LedgerBatch, note: GoBack, row: ComponentRow) -> None:
    """Report rollback targets to the affected tenants' incidents, a page at a time."""
    rows = batch.store.scan(VERSIONS, note.key, row_type=VersionsRow, limit=PAGE, after=note.after)
    page = list(rows)
    for key, known in page:
        _report(batch, note.key, row, key, known)
    if len(page) == PAGE:
        batch.send_to_ledger(note.key, GoBack(key=note.key, after=page[-1][0]))


def _merge(known: VersionsRow, holding: Holding) -> bool:
    if holding.digest is None and holding.version is None:
        return False
    rank = stable_rank(holding.version or "", holding.digest or "")
    version = known.versions.get(rank)
    if version is None:
        known.versions[rank] = Version(
            version=holding.version,
            digest=holding.digest,
            first_ms=holding.first_ms,
            signed=holding.signed is True,
        )
        return True
    first_ms = min(version.first_ms, holding.first_ms)
    signed = version.signed or holding.signed is True
    if (first_ms, signed) == (version.first_ms, version.signed):
        return False
    version.first_ms, version.signed = first_ms, signed
    return True


class _VersionIndex:
    """A tenant's bad versions by incident, and those that intelligence vouches for."""

    def __init__(
        self, batch: LedgerBatch, component: str, row: ComponentRow, known: VersionsRow
    ) -> None:
        self.bad: dict[str, set[str]] = {}
        """Incidents by version."""
        marks = _marks_about(batch, component, row, known.tenant)
        self.incidents = sorted({mark.incident for mark in marks})
        for mark in marks:
            if not mark.state.active:
                continue
            for rank, version in known.versions.items():
                if mark.fits(version, known.tenant):
                    self.bad.setdefault(rank, set()).add(mark.incident)
        facts = list(_facts(batch, component, row))
        self.vouched = {
            rank
            for rank, version in known.versions.items()
            if any(_vouches(fact.fact, version) for fact in facts)
        }
        self.since: dict[str, int] = {}
        """By incident: when the tenant first had one of its bad versions."""
        for rank, incidents in self.bad.items():
            for incident in incidents:
                first_ms = known.versions[rank].first_ms
                self.since[incident] = min(self.since.get(incident, first_ms), first_ms)
        self.revision = min(
            _LARGEST,
            sum(_ALWAYS - version.first_ms + version.signed for version in known.versions.values())
            + sum(1 + sum(mark.state.since) for mark in marks)
            + sum(1 + sum(fact.revision) for fact in facts),
        )
        """Grows with each input, in any order, so that the last state has the greatest."""


def _marks_about(batch: LedgerBatch, component: str, row: ComponentRow, tenant: str) -> list[Mark]:
    """Return the marks on a tenant's versions, including lifted ones."""
    own = claims_row(batch, component, tenant).marks.values() if row.claims else ()
    return [
        mark for mark in (*row.marks.values(), *own) if not mark.advice and mark.applies_to(tenant)
    ]


def _facts(batch: LedgerBatch, component: str, row: ComponentRow) -> Iterator[FactRow]:
    for fact_key in row.facts.values():
        fact = batch.store.load(row_key(FACT, component, fact_key), FactRow)
        if fact is not None:
            yield fact


def _vouches(fact: IntelFact | None, version: Version) -> bool:
    return (
        fact is not None
        and fact.kind is IntelKind.KNOWN_GOOD
        and matches(fact, version.version, (version.digest,) if version.digest else ()) is True
    )


def _report(
    batch: LedgerBatch, component: str, row: ComponentRow, key: str, known: VersionsRow
) -> None:
    """Report changes to each incident of the component, and record the report."""
    index = _VersionIndex(batch, component, row, known)
    if _bound(batch, component, known, index):
        index = _VersionIndex(batch, component, row, known)
    for incident in index.incidents:
        reported = known.reported.setdefault(incident, {})
        for rank, state in _wanted(known, index, incident, reported).items():
            if reported.get(rank) == state:
                continue
            reported[rank] = state
            version, (active, signed, by_intel, seen_ms) = known.versions[rank], state
            batch.send_to_incident(
                incident,
                KnownGood(
                    incident=incident,
                    tenant=known.tenant,
                    component=component,
                    version=version.version,
                    digest=version.digest,
                    seen_at=from_ms(seen_ms),
                    signed=signed,
                    by_intel=by_intel,
                    active=active,
                    revision=(index.revision, 0),
                ),
            )
        taken_back = [rank for rank in sorted(reported) if not reported[rank][0]]
        for rank in taken_back[: max(0, len(reported) - REPORTED)]:
            del reported[rank]
        if not reported:
            del known.reported[incident]
    batch.store.save(key, known)


State = tuple[bool, bool, bool, int]
"""A version as reported to an incident: usable, signed, vouched for, first seen."""


def _wanted(
    known: VersionsRow, index: _VersionIndex, incident: str, reported: dict[str, State]
) -> dict[str, State]:
    """Return what the incident needs: the best version, and the excluded ones."""
    since = index.since.get(incident)

    def order(rank: str) -> tuple[bool, bool, bool, int, str]:
        version = known.versions[rank]
        return (
            rank in index.vouched,
            version.signed,
            since is not None and version.first_ms < since,
            version.first_ms,
            version.digest or "",
        )

    def is_known(rank: str) -> bool:
        return known.versions[rank].digest is not None and any(order(rank)[:3])

    good = {rank for rank in known.versions if rank not in index.bad and is_known(rank)}
    best = max(good, key=order, default=None) if since is not None else None
    # Versions that another incident excludes as rollback targets, and those reported as good.
    gone = {
        rank
        for rank, incidents in index.bad.items()
        if incident not in incidents
        and is_known(rank)
        and (best is None or order(rank) > order(best))
    }
    gone = set(sorted(gone, key=order)[-REPORTED // 2 :])
    gone |= {rank for rank in reported if rank in known.versions and rank not in good}
    again = {rank for rank in reported if rank in good and reported[rank][0]}
    return {
        rank: (
            rank in good,
            known.versions[rank].signed,
            rank in index.vouched,
            known.versions[rank].first_ms,
        )
        for rank in sorted(gone | again | ({best} if best is not None else set()))
    }


def _bound(batch: LedgerBatch, component: str, known: VersionsRow, index: _VersionIndex) -> bool:
    """Keep the deciding versions: reported, bad, vouched for or signed, then the latest before.

    Returns:
        Whether any was left out.
    """
    last = max(index.since.values(), default=0)
    reported = {rank for ranks in known.reported.values() for rank in ranks}
    first_bad = sorted(index.bad, key=lambda rank: known.versions[rank].first_ms)
    bad = set(first_bad[: VERSIONS_KEPT // 4])

    def order(rank: str) -> tuple[bool, bool, bool, bool, int, str]:
        version = known.versions[rank]
        before = version.first_ms < last
        return (
            rank not in reported,
            rank not in bad,
            not (rank in index.vouched or version.signed),
            not before,
            -version.first_ms if before else version.first_ms,
            rank,
        )

    if trim(known.versions, VERSIONS_KEPT, VERSIONS_ROOM, order):
        batch.bound_reached("versions of one component in one tenant", component, VERSIONS_KEPT)
        for ranks in known.reported.values():
            for rank in set(ranks) - set(known.versions):
                del ranks[rank]
        return True
    return False

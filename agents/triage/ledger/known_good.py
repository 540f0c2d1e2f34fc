"""Known good: which version of a component an affected tenant could go back to, and which not.

A version is known to be good if intelligence vouches for it, if it was pushed with a signature that
was verified, or if the tenant had it before the first of the incident's bad ones; and if nothing is
known against it. An incident hears of it when the answer changes, not of each sighting.
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

TOLD: Final = 24
"""Versions that one incident was told of and that are remembered."""
_ALWAYS: Final = 1 << 44
"""Milliseconds, later than any event: so that an earlier time counts for more."""
_LARGEST: Final = (1 << 62) - 1


def is_affected(batch: LedgerBatch, component: str, tenant: str) -> bool:
    """Tell whether a tenant has, or had, a version of the component that is marked."""
    return batch.store.load(row_key(VERSIONS, component, tenant), VersionsRow) is not None


def on_holding(
    batch: LedgerBatch, component: str, row: ComponentRow, tenant: str, holding: Holding
) -> None:
    """Take a new or changed holding of a marked component into what its tenant could go back to."""
    key = row_key(VERSIONS, component, tenant)
    known = batch.store.load(key, VersionsRow)
    if known is None:
        if any(mark.fits(holding, tenant) for mark in full_marks_of(batch, component, row, tenant)):
            on_marks(batch, component, row, tenant)
        return
    if _merge(known, holding):
        _tell(batch, component, row, key, known)


def on_marks(batch: LedgerBatch, component: str, row: ComponentRow, tenant: str) -> None:
    """Tell what a tenant could go back to now that something else is known against its versions."""
    key = row_key(VERSIONS, component, tenant)
    known = batch.store.load(key, VersionsRow)
    if known is None:
        known = VersionsRow(tenant=tenant)
        count = 0
        for _, system in batch.store.scan(
            SYSTEM, component, tenant, row_type=SystemRow, limit=PAGE
        ):
            count += 1
            for holding in system.holdings.values():
                _merge(known, holding)
        if count == PAGE:
            batch.bound_reached("systems looked through for known-good versions", component, PAGE)
    _tell(batch, component, row, key, known)


def on_fact(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    facts: Sequence[IntelFact | None],
) -> None:
    """Tell anew what may be gone back to, if one of the facts, old or new, vouches for versions."""
    if any(fact is not None and fact.kind is IntelKind.KNOWN_GOOD for fact in facts):
        on_go_back(batch, GoBack(key=component), row)


def on_go_back(batch: LedgerBatch, note: GoBack, row: ComponentRow) -> None:
    """Tell the affected tenants' incidents, page by page, what may be gone back to."""
    rows = batch.store.scan(VERSIONS, note.key, row_type=VersionsRow, limit=PAGE, after=note.after)
    page = list(rows)
    for key, known in page:
        _tell(batch, note.key, row, key, known)
    if len(page) == PAGE:
        batch.tell_ledger(note.key, GoBack(key=note.key, after=page[-1][0]))


def _merge(known: VersionsRow, holding: Holding) -> bool:
    if holding.digest is None and holding.version is None:
        return False
    place = stable_rank(holding.version or "", holding.digest or "")
    one = known.versions.get(place)
    if one is None:
        known.versions[place] = Version(
            version=holding.version,
            digest=holding.digest,
            first_ms=holding.first_ms,
            signed=holding.signed is True,
        )
        return True
    first_ms = min(one.first_ms, holding.first_ms)
    signed = one.signed or holding.signed is True
    if (first_ms, signed) == (one.first_ms, one.signed):
        return False
    one.first_ms, one.signed = first_ms, signed
    return True


class _VersionIndex:
    """What is known of a tenant's versions: which are bad, and on whose account; which vouched."""

    def __init__(
        self, batch: LedgerBatch, component: str, row: ComponentRow, known: VersionsRow
    ) -> None:
        self.bad: dict[str, set[str]] = {}
        """Incidents by version."""
        marks = _marks_about(batch, component, row, known.tenant)
        self.incidents = sorted({mark.incident for mark in marks})
        for mark in marks:
            if not mark.active:
                continue
            for place, one in known.versions.items():
                if mark.fits(one, known.tenant):
                    self.bad.setdefault(place, set()).add(mark.incident)
        facts = list(_facts(batch, component, row))
        self.vouched = {
            place
            for place, one in known.versions.items()
            if any(_vouches(fact.fact, one) for fact in facts)
        }
        self.since: dict[str, int] = {}
        """By incident: when the tenant first had a version that is bad on its account."""
        for place, incidents in self.bad.items():
            for incident in incidents:
                first_ms = known.versions[place].first_ms
                self.since[incident] = min(self.since.get(incident, first_ms), first_ms)
        self.revision = min(
            _LARGEST,
            sum(_ALWAYS - one.first_ms + one.signed for one in known.versions.values())
            + sum(1 + sum(mark.revision) for mark in marks)
            + sum(1 + sum(fact.revision) for fact in facts),
        )
        """Grows with all that is learnt, in whatever order: the last state has the greatest."""


def _marks_about(batch: LedgerBatch, component: str, row: ComponentRow, tenant: str) -> list[Mark]:
    """Return the marks, lifted ones too, that are or were known against a tenant's versions."""
    own = claims_row(batch, component, tenant).marks.values() if row.claims else ()
    return [
        mark for mark in (*row.marks.values(), *own) if not mark.advice and mark.applies_to(tenant)
    ]


def _facts(batch: LedgerBatch, component: str, row: ComponentRow) -> Iterator[FactRow]:
    for fact_key in row.facts.values():
        fact = batch.store.load(row_key(FACT, component, fact_key), FactRow)
        if fact is not None:
            yield fact


def _vouches(fact: IntelFact | None, one: Version) -> bool:
    return (
        fact is not None
        and fact.kind is IntelKind.KNOWN_GOOD
        and matches(fact, one.version, (one.digest,) if one.digest else ()) is True
    )


def _tell(
    batch: LedgerBatch, component: str, row: ComponentRow, key: str, known: VersionsRow
) -> None:
    """Tell each incident of the component what changed, and keep what was told."""
    index = _VersionIndex(batch, component, row, known)
    if _bound(batch, component, known, index):
        index = _VersionIndex(batch, component, row, known)
    for incident in index.incidents:
        told = known.told.setdefault(incident, {})
        for place, state in _wanted(known, index, incident, told).items():
            if told.get(place) == state:
                continue
            told[place] = state
            one, (active, signed, by_intel, seen_ms) = known.versions[place], state
            batch.tell_incident(
                incident,
                KnownGood(
                    incident=incident,
                    tenant=known.tenant,
                    component=component,
                    version=one.version,
                    digest=one.digest,
                    seen_at=from_ms(seen_ms),
                    signed=signed,
                    by_intel=by_intel,
                    active=active,
                    revision=(index.revision, 0),
                ),
            )
        taken_back = [place for place in sorted(told) if not told[place][0]]
        for place in taken_back[: max(0, len(told) - TOLD)]:
            del told[place]
        if not told:
            del known.told[incident]
    batch.store.save(key, known)


State = tuple[bool, bool, bool, int]
"""Of a version, as an incident was told: may be gone back to, signed, vouched for, first seen."""


def _wanted(
    known: VersionsRow, index: _VersionIndex, incident: str, told: dict[str, State]
) -> dict[str, State]:
    """Return what the incident must know: the best version, and which it must not go back to."""
    since = index.since.get(incident)

    def order(place: str) -> tuple[bool, bool, bool, int, str]:
        one = known.versions[place]
        return (
            place in index.vouched,
            one.signed,
            since is not None and one.first_ms < since,
            one.first_ms,
            one.digest or "",
        )

    def is_known(place: str) -> bool:
        return known.versions[place].digest is not None and any(order(place)[:3])

    good = {place for place in known.versions if place not in index.bad and is_known(place)}
    best = max(good, key=order, default=None) if since is not None else None
    # What would be gone back to but for what is known against it on another account; and what was
    # told to be good.
    gone = {
        place
        for place, incidents in index.bad.items()
        if incident not in incidents
        and is_known(place)
        and (best is None or order(place) > order(best))
    }
    gone = set(sorted(gone, key=order)[-TOLD // 2 :])
    gone |= {place for place in told if place in known.versions and place not in good}
    again = {place for place in told if place in good and told[place][0]}
    return {
        place: (
            place in good,
            known.versions[place].signed,
            place in index.vouched,
            known.versions[place].first_ms,
        )
        for place in sorted(gone | again | ({best} if best is not None else set()))
    }


def _bound(batch: LedgerBatch, component: str, known: VersionsRow, index: _VersionIndex) -> bool:
    """Keep the versions that answers are made of: told, bad first, vouched, signed, just before.

    Returns:
        Whether any was left out.
    """
    last = max(index.since.values(), default=0)
    told = {place for places in known.told.values() for place in places}
    first_bad = sorted(index.bad, key=lambda place: known.versions[place].first_ms)
    bad = set(first_bad[: VERSIONS_KEPT // 4])

    def order(place: str) -> tuple[bool, bool, bool, bool, int, str]:
        one = known.versions[place]
        before = one.first_ms < last
        return (
            place not in told,
            place not in bad,
            not (place in index.vouched or one.signed),
            not before,
            -one.first_ms if before else one.first_ms,
            place,
        )

    if trim(known.versions, VERSIONS_KEPT, VERSIONS_ROOM, order):
        batch.bound_reached("versions of one component in one tenant", component, VERSIONS_KEPT)
        for places in known.told.values():
            for place in set(places) - set(known.versions):
                del places[place]
        return True
    return False

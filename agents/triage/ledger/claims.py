"""The owner of a mark: shared, one tenant's own, or an introducer's advice to others."""

from __future__ import annotations

from collections.abc import Iterator

from agents.triage.bounded_sets import clip
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.rows import (
    CLAIMS,
    COMPONENT,
    TENANTS,
    TEXT_BYTES,
    ClaimsRow,
    ComponentRow,
    Mark,
)
from agents.triage.store import row_key
from schemas.basis import Position


def claims_row(batch: LedgerBatch, component: str, tenant: str) -> ClaimsRow:
    """Return the row of a tenant's claims about a component, a new one if there is none."""
    tenant = clip(tenant, TEXT_BYTES)
    key = row_key(CLAIMS, component, tenant)
    return batch.store.load(key, ClaimsRow) or ClaimsRow(tenant=tenant)


def save_claims(batch: LedgerBatch, component: str, row: ComponentRow, claims: ClaimsRow) -> None:
    """Save a tenant's row and note in the component's row that there is one."""
    batch.store.save(row_key(CLAIMS, component, claims.tenant), claims)
    if not row.claims:
        row.claims = True
        batch.store.save(row_key(COMPONENT, component), row)


def all_claims(batch: LedgerBatch, component: str, row: ComponentRow) -> list[ClaimsRow]:
    """Return the rows of all tenants, ordered by name."""
    found: list[ClaimsRow] = []
    after = ""
    while row.claims:
        page = list(
            batch.store.scan(CLAIMS, component, row_type=ClaimsRow, limit=TENANTS, after=after)
        )
        found.extend(claims for _, claims in page)
        if len(page) < TENANTS:
            break
        after = page[-1][0]
    return found


def introducer_of(row: ComponentRow) -> tuple[Position, str] | None:
    """Return the record that introduced a digest and its tenant, None if it has no introducer."""
    if row.introducer is None or not row.introducer[2]:
        return None
    return row.introducer[0], row.introducer[1]


def is_passed_on(row: ComponentRow, mark: Mark) -> bool:
    """Return whether a mark is passed on along builds: even if it ended with a trust root.

    Those who receive it know by its trust roots that it ended, and when it begins again.
    """
    if not mark.active:
        return False
    return mark.appended is None or (mark.appended, mark.tenant) == introducer_of(row)


def marks_of(batch: LedgerBatch, component: str, row: ComponentRow, tenant: str) -> list[Mark]:
    """Return the marks in force that may concern a tenant's holdings, including advice."""
    marks = passed_marks_of(batch, component, row, tenant)
    return [mark for mark in marks if not mark.ended]


def passed_marks_of(
    batch: LedgerBatch, component: str, row: ComponentRow, tenant: str
) -> list[Mark]:
    """Return the marks that may concern a tenant's builds, including those that ended."""
    return list(_marks_of(batch, component, row, clip(tenant, TEXT_BYTES)))


def full_marks_of(batch: LedgerBatch, component: str, row: ComponentRow, tenant: str) -> list[Mark]:
    """Return the marks in force that may concern a tenant's holdings in full, without advice."""
    return [mark for mark in marks_of(batch, component, row, tenant) if not mark.advice]


def _marks_of(batch: LedgerBatch, component: str, row: ComponentRow, tenant: str) -> Iterator[Mark]:
    for mark in row.marks.values():
        if mark.active and mark.applies_to(tenant):
            yield mark
    if not row.claims:
        return
    introducer = introducer_of(row)
    whose = {tenant} if introducer is None else {tenant, introducer[1]}
    for name in sorted(whose):
        for mark in claims_row(batch, component, name).marks.values():
            if is_passed_on(row, mark) and mark.applies_to(tenant):
                yield mark

"""Expiry: drops sightings 400 days after the last, unless an incident is open."""

from __future__ import annotations

from typing import Final

from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.claims import all_claims
from agents.triage.ledger.rows import (
    BOUND,
    CHILD,
    CLAIMS,
    CLOCK,
    COMPONENT,
    DAY_MS,
    EXPIRY,
    FACT,
    FILE,
    IOC,
    KEEP_DAYS,
    SYSTEM,
    TENANT,
    VERSIONS,
    ClaimsRow,
    ClockRow,
    ComponentRow,
    ExpiryRow,
    FileRow,
    SystemRow,
    TenantRow,
)
from agents.triage.ledger.standing_roots import forget_use
from agents.triage.store import SEPARATOR, row_key
from schemas.incidents.states import CaseOutcome

AT_ONCE: Final = 2_000
"""Rows examined per tick. While more are due, every tick takes as many: a limit per period would
let the ledger grow without end where more is seen in a period than is forgotten."""
PERIOD_MS: Final = 300_000


def due(batch: LedgerBatch, now_ms: int) -> bool:
    """Return whether the periodic work is due, and record it as done."""
    key = row_key(CLOCK, "ledger")
    clock = batch.store.load(key, ClockRow) or ClockRow()
    if now_ms < clock.time_ms + PERIOD_MS:
        return False
    clock.time_ms = now_ms
    batch.store.save(key, clock)
    return True


def unfinished(batch: LedgerBatch) -> bool:
    """Return whether the last tick left rows that were due."""
    clock = batch.store.load(row_key(CLOCK, "ledger"), ClockRow)
    return clock is not None and clock.expiring


def expire(batch: LedgerBatch, now_ms: int) -> int:
    """Forget what has not been seen for 400 days; return how many system rows were dropped.

    More than `AT_ONCE` due rows are left to the next tick (`unfinished`).
    """
    today = now_ms // DAY_MS
    page = batch.store.scan(EXPIRY, row_type=ExpiryRow, limit=AT_ONCE + 1)
    due_rows = [(key, row) for key, row in page if int(key.split(SEPARATOR)[1]) <= today]
    unfinished = len(due_rows) > AT_ONCE
    dropped = 0
    for key, pointer in due_rows[:AT_ONCE]:
        batch.store.delete(key)
        row = batch.store.load(pointer.key, SystemRow)
        if row is None:
            unfinished |= not _drop_component(batch, key, pointer)
            continue
        component = batch.store.load(row_key(COMPONENT, pointer.component), ComponentRow)
        open_case = component is not None and _is_open(batch, pointer.component, component)
        due_day = row.last_ms // DAY_MS + KEEP_DAYS
        if due_day > today or open_case:
            again = max(due_day, today + 30)
            moved = key.split(SEPARATOR)
            batch.store.save(SEPARATOR.join((moved[0], f"{again:08d}", *moved[2:])), pointer)
            continue
        batch.store.delete(pointer.key)
        dropped += 1
        unfinished |= not _drop_component(batch, key, pointer)
    _record(batch, unfinished=unfinished)
    return dropped


def _record(batch: LedgerBatch, *, unfinished: bool) -> None:
    key = row_key(CLOCK, "ledger")
    clock = batch.store.load(key, ClockRow) or ClockRow()
    if clock.expiring is not unfinished:
        clock.expiring = unfinished
        batch.store.save(key, clock)


def _is_open(batch: LedgerBatch, component: str, row: ComponentRow) -> bool:
    closed = {incident for incident, (state, _) in row.cases.items() if state != CaseOutcome.OPEN}
    marks = [*row.marks.values()]
    for claims in all_claims(batch, component, row):
        marks.extend(claims.marks.values())
    return any(mark.state.active and mark.incident not in closed for mark in marks)


def _drop_component(batch: LedgerBatch, key: str, pointer: ExpiryRow) -> bool:
    """Remove the rows of a component that no system holds; its facts stay.

    A component with more rows than a page keeps its expiry row `key`, so that the next tick removes
    the rest. Return whether nothing was left for it.
    """
    component = pointer.component
    if batch.store.scan_keys(row_key(SYSTEM, component) + SEPARATOR, 1):
        return True
    for kind in (TENANT, CHILD, FILE, IOC, VERSIONS, CLAIMS, BOUND):
        page = batch.store.scan_keys(row_key(kind, component) + SEPARATOR, AT_ONCE)
        for found in page:
            if kind in _SIGNED:
                row = batch.store.load(found, _SIGNED[kind])
                forget_use(batch, _roots_of(row), component, found)
            batch.store.delete(found)
        if len(page) == AT_ONCE:
            batch.store.save(key, pointer)
            return False
    if not batch.store.scan_keys(row_key(FACT, component) + SEPARATOR, 1):
        own = row_key(COMPONENT, component)
        forget_use(batch, _roots_of(batch.store.load(own, ComponentRow)), component, own)
        batch.store.delete(own)
    return True


_SIGNED: Final[dict[str, type[ClaimsRow | FileRow | TenantRow]]] = {
    CLAIMS: ClaimsRow,
    FILE: FileRow,
    TENANT: TenantRow,
}
"""The kinds of row, apart from the component's, with something that rests on trust roots."""


def _roots_of(row: ComponentRow | ClaimsRow | FileRow | TenantRow | None) -> set[str]:
    """Return the ids of the trust roots on which something in a row rests."""
    match row:
        case ComponentRow() | ClaimsRow():
            return {root for mark in row.marks.values() for root in mark.roots}
        case FileRow():
            return {
                root for signers in row.signed.values() for basis in signers for root in basis.roots
            }
        case TenantRow():
            return {root for by in row.attested.values() for roots in by for root in roots}
        case None:
            return set()

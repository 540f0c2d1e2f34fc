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

AT_ONCE: Final = 1_000
"""Rows examined per tick."""
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


def expire(batch: LedgerBatch, now_ms: int) -> int:
    """Forget what has not been seen for 400 days; return how many system rows were dropped."""
    today = now_ms // DAY_MS
    dropped = 0
    for key, pointer in batch.store.scan(EXPIRY, row_type=ExpiryRow, limit=AT_ONCE):
        if int(key.split(SEPARATOR)[1]) > today:
            break
        batch.store.delete(key)
        row = batch.store.load(pointer.key, SystemRow)
        if row is None:
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
        _drop_component(batch, pointer.component)
    return dropped


def _is_open(batch: LedgerBatch, component: str, row: ComponentRow) -> bool:
    closed = {incident for incident, (state, _) in row.cases.items() if state != "open"}
    marks = [*row.marks.values()]
    for claims in all_claims(batch, component, row):
        marks.extend(claims.marks.values())
    return any(mark.state[0] and mark.incident not in closed for mark in marks)


def _drop_component(batch: LedgerBatch, component: str) -> None:
    """Remove the rows of a component that no system holds; its facts stay."""
    if batch.store.scan_keys(row_key(SYSTEM, component) + SEPARATOR, 1):
        return
    for kind in (TENANT, CHILD, FILE, IOC, VERSIONS, CLAIMS, BOUND):
        for key in batch.store.scan_keys(row_key(kind, component) + SEPARATOR, AT_ONCE):
            if kind in _SIGNED:
                forget_use(batch, _roots_of(batch.store.load(key, _SIGNED[kind])), component, key)
            batch.store.delete(key)
    if not batch.store.scan_keys(row_key(FACT, component) + SEPARATOR, 1):
        key = row_key(COMPONENT, component)
        forget_use(batch, _roots_of(batch.store.load(key, ComponentRow)), component, key)
        batch.store.delete(key)


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

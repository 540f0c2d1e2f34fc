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
    ClockRow,
    ComponentRow,
    ExpiryRow,
    SystemRow,
)
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
    return any(mark.active and mark.incident not in closed for mark in marks)


def _drop_component(batch: LedgerBatch, component: str) -> None:
    """Remove the rows of a component that no system holds; its facts stay."""
    if batch.store.scan_keys(row_key(SYSTEM, component) + SEPARATOR, 1):
        return
    for kind in (TENANT, CHILD, FILE, IOC, VERSIONS, CLAIMS, BOUND):
        for key in batch.store.scan_keys(row_key(kind, component) + SEPARATOR, AT_ONCE):
            batch.store.delete(key)
    if not batch.store.scan_keys(row_key(FACT, component) + SEPARATOR, 1):
        batch.store.delete(row_key(COMPONENT, component))

"""Standing trust roots: which are in force, and which rows rest on them.

A fact that a signature established ends when its trust root is removed from the operator's settings
or the tenant's policy, and begins again when it is added again. Each partition keeps the state of
the trust roots that its rows name, and compares it at its ticks with those in force, so that all
rows of a batch see one state.
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.triage.bounded_sets import stable_rank
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.rows import (
    CLOCK,
    PAGE,
    ROOT,
    ROOT_USE,
    SCAN,
    ClockRow,
    RootRow,
    RootUseRow,
)
from agents.triage.store import row_key


def stand(batch: LedgerBatch, roots: Iterable[str]) -> bool:
    """Return whether all trust roots are in force, as the partition last took note of it."""
    return all(_row(batch, root).stands for root in roots)


def stood(batch: LedgerBatch, roots: Iterable[str], at_ms: int) -> bool:
    """Return whether all trust roots were in force before those that turned at a time did."""
    return all((row := _row(batch, root)).stands != (row.turned_ms == at_ms) for root in roots)


def _row(batch: LedgerBatch, root: str) -> RootRow:
    key = row_key(ROOT, root)
    row = batch.store.load(key, RootRow)
    if row is None:
        row = RootRow(root=root, stands=batch.trusts(root))
        batch.store.save(key, row)
    return row


def note_use(batch: LedgerBatch, roots: Iterable[str], component: str, key: str) -> None:
    """Note that a row has something that rests on trust roots.

    Args:
        batch: The batch.
        roots: Their ids.
        component: The component that the row is about.
        key: The row's key.
    """
    for root in roots:
        _row(batch, root)  # so that it is compared with those in force from now on
        use = _use_key(root, component, key)
        if batch.store.load(use, RootUseRow) is None:
            batch.store.save(use, RootUseRow(component=component, key=key))


def forget_use(batch: LedgerBatch, roots: Iterable[str], component: str, key: str) -> None:
    """Forget that a row had something that rests on trust roots; the row is dropped."""
    for root in roots:
        batch.store.delete(_use_key(root, component, key))


def _use_key(root: str, component: str, key: str) -> str:
    return row_key(ROOT_USE, root, component, stable_rank(key))


def turn_roots(batch: LedgerBatch, now_ms: int) -> list[str]:
    """Record which trust roots are in force, and return the ids of those that changed.

    Large numbers are processed over several ticks.
    """
    place = row_key(CLOCK, "trust-roots")
    clock = batch.store.load(place, ClockRow) or ClockRow()
    page = list(batch.store.scan(ROOT, row_type=RootRow, limit=SCAN, after=clock.source))
    after = page[-1][0] if len(page) == SCAN else ""
    if after != clock.source:
        clock.source = after
        batch.store.save(place, clock)
    changed = []
    for key, row in page:
        if batch.trusts(row.root) != row.stands:
            row.stands, row.turned_ms = not row.stands, now_ms
            batch.store.save(key, row)
            changed.append(row.root)
    return changed


def is_turn(batch: LedgerBatch, root: str, at_ms: int) -> bool:
    """Return whether a trust root last turned at a time."""
    row = batch.store.load(row_key(ROOT, root), RootRow)
    return row is not None and row.turned_ms == at_ms


def forget_root(batch: LedgerBatch, root: str) -> None:
    """Forget a trust root on which no row rests any more."""
    batch.store.delete(row_key(ROOT, root))


def page_of_uses(
    batch: LedgerBatch, root: str, after: str = "", limit: int = PAGE
) -> list[tuple[str, RootUseRow]]:
    """Return the next rows that rest on a trust root, at most a page; fewer end it."""
    found = batch.store.scan(ROOT_USE, root, row_type=RootUseRow, limit=limit, after=after)
    return list(found)

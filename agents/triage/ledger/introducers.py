"""Introducers: the tenant whose event was the first about a digest, if it made or pushed it."""

from __future__ import annotations

import msgspec

from agents.triage.bounded_sets import clip
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.claims import all_claims, introducer_of
from agents.triage.ledger.exposures import report_to_systems
from agents.triage.ledger.lineage import report_to_children
from agents.triage.ledger.rows import COMPONENT, TEXT_BYTES, ComponentRow
from agents.triage.store import row_key
from schemas.basis import Position


def introduce(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    tenant: str,
    position: Position,
    *,
    made: bool,
) -> None:
    """Note a record about a digest: the first introduces it, if it made or pushed it.

    A record that is read late may precede those known: then advice from the other event ends, and
    the marks on the earliest build are reported instead.
    """
    known = row.introducer
    if known is not None and known[0] <= position:
        return
    before = introducer_of(row)
    row.introducer = (position, clip(tenant, TEXT_BYTES), made)
    after = introducer_of(row)
    batch.store.save(row_key(COMPONENT, component), row)
    if not row.claims:
        return
    for claims in all_claims(batch, component, row):
        for mark in claims.marks.values():
            if mark.appended is None or not mark.active:
                continue
            if (mark.appended, mark.tenant) == before:
                first, second = mark.revision
                gone = msgspec.structs.replace(mark, active=False, revision=(first, second + 1))
                report_to_systems(batch, component, row, gone)
                report_to_children(batch, component, gone)
            elif (mark.appended, mark.tenant) == after:
                report_to_systems(batch, component, row, mark)
                report_to_children(batch, component, mark)

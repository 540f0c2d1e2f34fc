"""Introducers: whose event was the first about a digest, and made or pushed it."""

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
    """Note a record about a digest: the first one introduced it, if it made or pushed it.

    A record that was read late may lie before those known: then what was advised on account of
    another's event ends, and what is known of the build that came first is reported instead.
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

"""Advice: what other tenants' claims suggest, told to a tenant within quotas."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.triage.bounded_sets import clip, stable_rank
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.rows import ADVICE, TEXT_BYTES, AdviceRow
from agents.triage.store import row_key
from schemas.incidents.updates import Exposure
from schemas.ledger import AdviceOffered

KEY: Final = "advice:"
"""Of the key under which the ledger keeps of what a tenant is advised."""
OF_INTRODUCER: Final = 8
"""Incidents of which one organisation's events may advise a tenant at a time."""
OF_RECEIVER: Final = 32
"""Incidents of which a tenant is advised at a time; each introducer's first is not counted."""
INTRODUCERS: Final = 64
"""Organisations whose events may advise a tenant at a time."""
HOLDINGS: Final = 32
"""Holdings of a tenant that one incident's advice names."""


def offer(batch: LedgerBatch, exposure: Exposure) -> None:
    """Ask for a place in the quotas of the exposure's tenant, which have one row for all advice."""
    key = f"{KEY}{exposure.tenant}"
    raw = msgspec.Raw(msgspec.json.encode(exposure))
    batch.tell_ledger(key, AdviceOffered(key=key, exposure=raw))


def on_offered(batch: LedgerBatch, offered: AdviceOffered) -> None:
    """Tell the incident of a tenant's exposure if the quotas leave room for it."""
    exposure = msgspec.json.decode(offered.exposure, type=Exposure)
    key = row_key(ADVICE, exposure.tenant)
    row = batch.store.load(key, AdviceRow) or AdviceRow(tenant=clip(exposure.tenant, TEXT_BYTES))
    # Along the tenant's own edges it is not known any more whose event began it.
    introducer = stable_rank(batch.owner(exposure.via)) if exposure.via else ""
    incident = stable_rank(exposure.incident)
    holding = int(
        stable_rank(
            exposure.system, exposure.component, exposure.version or "", exposure.digest or ""
        ),
        16,
    )
    told = row.given.get(introducer, {}).get(incident, set())
    if not exposure.active:
        if holding in told:
            told.discard(holding)
            _save(batch, key, row)
            batch.tell_incident(exposure.incident, exposure)
        return
    if holding not in told:
        if not _has_room(row, introducer, incident):
            batch.bound_reached("advice to one tenant", exposure.tenant, OF_RECEIVER)
            return
        row.given.setdefault(introducer, {}).setdefault(incident, set()).add(holding)
        _save(batch, key, row)
    batch.tell_incident(exposure.incident, exposure)


def _has_room(row: AdviceRow, introducer: str, incident: str) -> bool:
    of_introducer = row.given.get(introducer)
    if of_introducer is None:
        return len(row.given) < INTRODUCERS
    if incident in of_introducer:
        return len(of_introducer[incident]) < HOLDINGS
    in_all = sum(len(incidents) for incidents in row.given.values())
    return len(of_introducer) < OF_INTRODUCER and in_all < OF_RECEIVER


def _save(batch: LedgerBatch, key: str, row: AdviceRow) -> None:
    """Have the row written without what nothing is told of any more."""
    given = {
        introducer: {incident: told for incident, told in incidents.items() if told}
        for introducer, incidents in row.given.items()
    }
    row.given = {introducer: incidents for introducer, incidents in given.items() if incidents}
    if row.given:
        batch.store.save(key, row)
    else:
        batch.store.delete(key)

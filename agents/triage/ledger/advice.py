"""Advice: what other tenants' claims suggest, reported to a tenant within quotas."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.triage.bounded_sets import clip, stable_rank
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.rows import ADVICE, TEXT_BYTES, AdviceRow
from agents.triage.store import row_key
from schemas.incidents.updates import Exposure
from schemas.ledger import AdviceOffered

_EXPOSURES: Final = msgspec.json.Decoder(Exposure)

KEY: Final = "advice:"
"""Prefix of the key of a tenant's advice."""
OF_INTRODUCER: Final = 8
"""Most incidents that one introducer's advice to a tenant covers at a time."""
OF_RECEIVER: Final = 32
"""Most incidents that a tenant is advised of at a time, beyond each introducer's first."""
INTRODUCERS: Final = 64
"""Most introducers that advise a tenant at a time."""
HOLDINGS: Final = 32
"""Most holdings that the advice about one incident names."""


def offer(batch: LedgerBatch, exposure: Exposure) -> None:
    """Send an exposure that only advises to the row that keeps its tenant's quotas."""
    key = f"{KEY}{exposure.tenant}"
    raw = msgspec.Raw(msgspec.json.encode(exposure))
    batch.send_to_ledger(key, AdviceOffered(key=key, exposure=raw))


def on_offered(batch: LedgerBatch, offered: AdviceOffered) -> None:
    """Send the exposure to its incident if the tenant's quotas have room for it."""
    exposure = _EXPOSURES.decode(offered.exposure)
    key = row_key(ADVICE, exposure.tenant)
    row = batch.store.load(key, AdviceRow) or AdviceRow(tenant=clip(exposure.tenant, TEXT_BYTES))
    # Along the tenant's own edges the introducer is no longer known.
    introducer = stable_rank(batch.owner(exposure.via)) if exposure.via else ""
    incident = stable_rank(exposure.incident)
    holding = int(
        stable_rank(
            exposure.system, exposure.component, exposure.version or "", exposure.digest or ""
        ),
        16,
    )
    reported = row.given.get(introducer, {}).get(incident, set())
    if not exposure.active:
        if holding in reported:
            reported.discard(holding)
            _save(batch, key, row)
        # This includes what was reported before there were quotas.
        batch.send_to_incident(exposure.incident, exposure)
        return
    if holding not in reported:
        if not _has_room(row, introducer, incident):
            batch.bound_reached("advice to one tenant", exposure.tenant, OF_RECEIVER)
            return
        row.given.setdefault(introducer, {}).setdefault(incident, set()).add(holding)
        _save(batch, key, row)
    batch.send_to_incident(exposure.incident, exposure)


def _has_room(row: AdviceRow, introducer: str, incident: str) -> bool:
    of_introducer = row.given.get(introducer)
    if of_introducer is None:
        return len(row.given) < INTRODUCERS
    if incident in of_introducer:
        return len(of_introducer[incident]) < HOLDINGS
    in_all = sum(len(incidents) for incidents in row.given.values())
    return len(of_introducer) < OF_INTRODUCER and in_all < OF_RECEIVER


def _save(batch: LedgerBatch, key: str, row: AdviceRow) -> None:
    """Save the row without empty entries."""
    given = {
        introducer: {incident: reported for incident, reported in incidents.items() if reported}
        for introducer, incidents in row.given.items()
    }
    row.given = {introducer: incidents for introducer, incidents in given.items() if incidents}
    if row.given:
        batch.store.save(key, row)
    else:
        batch.store.delete(key)

"""Campaigns: a publisher of whom several components were found hostile."""

from __future__ import annotations

from agents.domain.basis import is_advice
from agents.domain.findings import make_finding
from agents.triage.bounded_sets import clip, stable_rank, trim
from agents.triage.correlation import Correlation, of_kind, reached, taints
from agents.triage.ledger import drift
from agents.triage.ledger.batch import LedgerBatch, indicator_of, state_of
from agents.triage.ledger.rows import (
    MEMBERS,
    NAME_BYTES,
    TENANT,
    TEXT_BYTES,
    USERS_ROOM,
    Seen,
    TenantRow,
    from_ms,
    to_ms,
)
from agents.triage.routing import split_version
from agents.triage.store import row_key
from schemas.ledger import FindingSeen


def count_components(batch: LedgerBatch, seen: FindingSeen) -> None:
    """Count the components of a publisher that a tenant found hostile; enough are a campaign.

    Whose a component is, its event says: so one tenant's findings make no campaign at another.
    """
    finding = seen.finding
    if not taints(finding) or is_advice(finding):
        return
    component = clip(split_version(finding.component)[0], NAME_BYTES)
    place = stable_rank(component)
    own = drift.tenant_row(batch, seen.key, finding.tenant)
    member = Seen(
        first_ms=to_ms(finding.occurred_at),
        event_id=clip(finding.event_id, TEXT_BYTES),
        value=component,
        system=clip(min(finding.systems, default=""), TEXT_BYTES),
        source=clip(finding.source, TEXT_BYTES),
    )
    known = own.users.get(place)
    if known is not None and known <= member:
        return
    own.users[place] = member
    if trim(own.users, MEMBERS, USERS_ROOM):
        own.full = True
        batch.bound_reached("hostile components of one publisher", seen.key, MEMBERS)
    batch.store.save(row_key(TENANT, seen.key, finding.tenant), own)
    for one in of_kind("value-count"):
        if one.when.distinct != "component":
            continue
        threshold = reached(one.when.thresholds, len(own.users))
        if threshold is not None:
            _tell_campaign(batch, seen.key, own, one, threshold)


def _tell_campaign(
    batch: LedgerBatch, publisher: str, row: TenantRow, one: Correlation, threshold: int
) -> None:
    """Tell a tenant of a campaign: it came about with the component that made up the number."""
    for level in one.when.thresholds:
        if level > threshold:
            continue
        members = sorted(row.users.values())[:level]
        if not members:
            continue
        last = members[-1]
        finding = make_finding(
            one.rule,
            locator=(row.tenant, one.rule.id, publisher, str(level)),
            tenant=row.tenant,
            component=publisher,
            version=None,
            indicator=indicator_of(publisher),
            description=f"{one.rule.title}: at least {level} from {publisher}",
            evidence={"threshold": level, "components": [member.value for member in members][:8]},
            source=last.source,
            event_id=last.event_id,
            occurred_at=from_ms(last.first_ms),
            publisher=publisher,
        )
        drift.tell(batch, finding, one, state_of(len(members)))

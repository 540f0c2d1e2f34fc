"""Campaigns: a publisher of whom several components were found hostile."""

from __future__ import annotations

from agents.domain.findings import make_finding
from agents.triage.bounded_sets import clip, stable_rank, trim
from agents.triage.correlation import Correlation, of_kind, reached, taints
from agents.triage.ledger import drift
from agents.triage.ledger.batch import LedgerBatch, indicator_of, state_of
from agents.triage.ledger.rows import (
    COMPONENT,
    MEMBERS,
    NAME_BYTES,
    NAMES_ROOM,
    TENANT,
    TENANTS,
    TEXT_BYTES,
    USERS_ROOM,
    ComponentRow,
    Seen,
    TenantRow,
    from_ms,
    to_ms,
)
from agents.triage.routing import split_version
from agents.triage.store import row_key
from schemas.ledger import FindingSeen


def count_components(batch: LedgerBatch, seen: FindingSeen, row: ComponentRow) -> None:
    """Count a publisher's hostile components; enough of them are a campaign.

    A tenant is told on account of its own components, and on account of everybody's once k tenants
    have met the publisher's.
    """
    finding = seen.finding
    if not taints(finding):
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
    before = _campaign_size(batch, row)
    row.flagged.add(finding.tenant, TENANTS)
    row.bad_components[place] = component
    if trim(row.bad_components, MEMBERS, NAMES_ROOM):
        batch.bound_reached("hostile components of one publisher", seen.key, MEMBERS)
    batch.store.save(row_key(COMPONENT, seen.key), row)
    shared = _campaign_size(batch, row)
    for one in of_kind("value-count"):
        if one.when.distinct != "component":
            continue
        crossed = reached(one.when.thresholds, before) != reached(one.when.thresholds, shared)
        concerned = [own]
        if crossed:
            rows = batch.store.scan(TENANT, seen.key, row_type=TenantRow, limit=TENANTS)
            concerned = [each for _, each in list(rows)]
        for each in concerned:
            threshold = reached(one.when.thresholds, max(len(each.users), shared))
            if threshold is not None:
                _tell_campaign(batch, seen.key, each, one, threshold)


def _campaign_size(batch: LedgerBatch, row: ComponentRow) -> int:
    """Return how many hostile components of a publisher any tenant may know of."""
    return len(row.bad_components) if row.flagged.count() >= batch.k else 0


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

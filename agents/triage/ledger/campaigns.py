"""Campaigns: a publisher with several hostile components."""

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
    """Count a publisher's components that a tenant found hostile; enough of them are a campaign.

    Whose a component is, its event says: so one tenant's findings make no campaign at another.
    """
    finding = seen.finding
    if not taints(finding) or is_advice(finding):
        return
    component = clip(split_version(finding.component)[0], NAME_BYTES)
    rank = stable_rank(component)
    own = drift.tenant_row(batch, seen.key, finding.tenant)
    member = Seen(
        first_ms=to_ms(finding.occurred_at),
        event_id=clip(finding.event_id, TEXT_BYTES),
        value=component,
        system=clip(min(finding.systems, default=""), TEXT_BYTES),
        source=clip(finding.source, TEXT_BYTES),
    )
    known = own.users.get(rank)
    if known is not None and known <= member:
        return
    own.users[rank] = member
    if trim(own.users, MEMBERS, USERS_ROOM):
        own.full = True
        batch.bound_reached("hostile components of one publisher", seen.key, MEMBERS)
    batch.store.save(row_key(TENANT, seen.key, finding.tenant), own)
    for correlation in of_kind("value-count"):
        if correlation.when.distinct != "component":
            continue
        threshold = reached(correlation.when.thresholds, len(own.users))
        if threshold is not None:
            _report_campaign(batch, seen.key, own, correlation, threshold)


def _report_campaign(
    batch: LedgerBatch, publisher: str, row: TenantRow, correlation: Correlation, threshold: int
) -> None:
    """Report a campaign to a tenant, dated by the component that reached the threshold."""
    for level in correlation.when.thresholds:
        if level > threshold:
            continue
        members = sorted(row.users.values())[:level]
        if not members:
            continue
        last = members[-1]
        finding = make_finding(
            correlation.rule,
            locator=(row.tenant, correlation.rule.id, publisher, str(level)),
            tenant=row.tenant,
            component=publisher,
            version=None,
            indicator=indicator_of(publisher),
            description=f"{correlation.rule.title}: at least {level} from {publisher}",
            evidence={"threshold": level, "components": [member.value for member in members][:8]},
            source=last.source,
            event_id=last.event_id,
            occurred_at=from_ms(last.first_ms),
            publisher=publisher,
        )
        drift.report(batch, finding, correlation, state_of(len(members)))

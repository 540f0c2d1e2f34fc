"""Campaigns: a publisher with several hostile components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agents.domain.basis import is_advice, is_verified
from agents.domain.findings import make_finding
from agents.triage.bounded_sets import clip, stable_rank, trim
from agents.triage.correlation import Correlation, of_kind, reached, taints
from agents.triage.ledger import drift
from agents.triage.ledger.batch import LedgerBatch, indicator_of, state_of
from agents.triage.ledger.rows import (
    MEMBERS,
    NAME_BYTES,
    PAGE,
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

EVERYBODY: Final = ""
"""The row of what counts in every tenant: scans of bytes with an attested publisher."""


def count_components(batch: LedgerBatch, seen: FindingSeen) -> None:
    """Count a publisher's components that were found hostile; enough of them are a campaign.

    A component's publisher is its event's claim, so one tenant's findings make no campaign at
    another. Findings of Tidewatch in bytes that the publisher signed count in every tenant that has
    a hostile component of the publisher itself, or in the one that trusts the signature.
    """
    finding = seen.finding
    if not taints(finding) or is_advice(finding):
        return
    component = clip(split_version(finding.component)[0], NAME_BYTES)
    member = Seen(
        first_ms=to_ms(finding.occurred_at),
        event_id=clip(finding.event_id, TEXT_BYTES),
        value=component,
        system=clip(min(finding.systems, default=""), TEXT_BYTES),
        source=clip(finding.source, TEXT_BYTES),
    )
    whose = {finding.tenant}
    if is_verified(finding) and not component.partition(":")[2].startswith("@"):
        whose |= {basis.tenant for basis in finding.publisher_attested}
    counted = {tenant for tenant in whose if _count(batch, seen.key, tenant, member)}
    if EVERYBODY in counted:
        rows = list(batch.store.scan(TENANT, seen.key, row_type=TenantRow, limit=PAGE))
        counted |= {row.tenant for _, row in rows}
        if len(rows) == PAGE:
            batch.bound_reached("tenants of one publisher", seen.key, PAGE)
    for tenant in sorted(counted - {EVERYBODY}):
        _look_for_campaigns(batch, seen.key, tenant)


def _count(batch: LedgerBatch, publisher: str, tenant: str, member: Seen) -> bool:
    """Note a hostile component in a tenant's row; return whether it is new."""
    row = drift.tenant_row(batch, publisher, tenant)
    rank = stable_rank(member.value)
    known = row.users.get(rank)
    if known is not None and known <= member:
        return False
    row.users[rank] = member
    if trim(row.users, MEMBERS, USERS_ROOM):
        row.full = True
        batch.bound_reached("hostile components of one publisher", publisher, MEMBERS)
    batch.store.save(row_key(TENANT, publisher, tenant), row)
    return True


def _look_for_campaigns(batch: LedgerBatch, publisher: str, tenant: str) -> None:
    own = drift.tenant_row(batch, publisher, tenant)
    if not own.users:
        return
    members = {**drift.tenant_row(batch, publisher, EVERYBODY).users, **own.users}
    for correlation in of_kind("value-count"):
        if correlation.when.distinct != "component":
            continue
        threshold = reached(correlation.when.thresholds, len(members))
        if threshold is not None:
            _report_campaign(batch, publisher, own, members, correlation, threshold)


def _report_campaign(
    batch: LedgerBatch,
    publisher: str,
    row: TenantRow,
    counted: Mapping[str, Seen],
    correlation: Correlation,
    threshold: int,
) -> None:
    """Report a campaign to a tenant, dated by the component that reached the threshold.

    It names the components that the tenant has itself.
    """
    own = {member.value for member in row.users.values()}
    for level in correlation.when.thresholds:
        if level > threshold:
            continue
        members = sorted(counted.values())[:level]
        if not members:
            continue
        last = members[-1]
        # Another tenant's component contributes only its time.
        shown = last if last.value in own else max(row.users.values())
        finding = make_finding(
            correlation.rule,
            locator=(row.tenant, correlation.rule.id, publisher, str(level)),
            tenant=row.tenant,
            component=publisher,
            version=None,
            indicator=indicator_of(publisher),
            description=f"{correlation.rule.title}: at least {level} from {publisher}",
            evidence={
                "threshold": level,
                "components": [member.value for member in members if member.value in own][:8],
            },
            source=shown.source,
            event_id=shown.event_id,
            occurred_at=from_ms(last.first_ms),
            publisher=publisher,
        )
        batch.report(finding, correlation.rule, state_of(len(members)))

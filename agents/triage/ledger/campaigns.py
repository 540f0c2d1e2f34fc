"""Campaigns: a publisher with several hostile components."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from agents.domain.basis import is_advice, is_verified
from agents.domain.findings import make_finding
from agents.domain.rules import ConditionKind
from agents.triage.bounded_sets import clip, stable_rank, trim
from agents.triage.correlation import Correlation, of_kind, reached, taints
from agents.triage.ledger import drift
from agents.triage.ledger.batch import LedgerBatch, indicator_of
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
from agents.triage.ledger.standing_roots import note_use, stand, stood
from agents.triage.routing import split_version
from agents.triage.store import row_key
from schemas.findings import Finding
from schemas.ledger import FindingSeen, Revision, RootTurned

EVERYBODY: Final = ""
"""The row of what counts in every tenant: scans of bytes with an attested publisher."""
SIGNERS: Final = 8
"""Most signatures by which a hostile component counts in one tenant."""


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
    whose: dict[str, list[tuple[str, ...]]] = {finding.tenant: [()]}
    if is_verified(finding) and not component.partition(":")[2].startswith("@"):
        for basis in finding.publisher_attested:
            whose.setdefault(basis.tenant, []).append(basis.roots)
    counted = {
        tenant
        for tenant, rests_on in whose.items()
        if _count(batch, seen.key, tenant, member, rests_on)
    }
    for tenant in _concerned(batch, seen.key, counted):
        for correlation, found, count in _campaigns(batch, seen.key, tenant, partial(stand, batch)):
            batch.report(found, correlation.rule, _revision(batch, seen.key, tenant, count))


def on_root(batch: LedgerBatch, publisher: str, key: str, turn: RootTurned) -> None:
    """Withdraw campaigns, or report them, after a trust root behind their count turned.

    Args:
        batch: The batch.
        publisher: The publisher.
        key: The row of the tenant whose trust root it is.
        turn: The trust root, and when it turned.
    """
    row = batch.store.load(key, TenantRow)
    if row is None:
        return

    def stood_before(roots: Iterable[str]) -> bool:
        return stood(batch, roots, turn.at_ms)

    for tenant in _concerned(batch, publisher, {row.tenant}):
        own = drift.tenant_row(batch, publisher, tenant)
        own.turned_ms = turn.at_ms
        batch.store.save(row_key(TENANT, publisher, tenant), own)
        before = list(_campaigns(batch, publisher, tenant, stood_before))
        now = list(_campaigns(batch, publisher, tenant, partial(stand, batch)))
        kept = {found.id for _, found, _ in now}
        for _, found, _ in before:
            if found.id not in kept:
                reason = f"a trust root that spoke for {publisher} was removed"
                batch.take_back(found, (turn.at_ms, 0), reason, from_ms(turn.at_ms))
        for correlation, found, count in now:
            batch.report(found, correlation.rule, _revision(batch, publisher, tenant, count))


def _concerned(batch: LedgerBatch, publisher: str, changed: Collection[str]) -> list[str]:
    """Return the tenants for whom a change of rows may reveal a campaign."""
    tenants = set(changed)
    if EVERYBODY in tenants:
        rows = list(batch.store.scan(TENANT, publisher, row_type=TenantRow, limit=PAGE))
        tenants |= {row.tenant for _, row in rows}
        if len(rows) == PAGE:
            batch.bound_reached("tenants of one publisher", publisher, PAGE)
    return sorted(tenants - {EVERYBODY})


def _revision(batch: LedgerBatch, publisher: str, tenant: str, count: int) -> Revision:
    return drift.tenant_row(batch, publisher, tenant).turned_ms, count


def _count(
    batch: LedgerBatch,
    publisher: str,
    tenant: str,
    member: Seen,
    rests_on: Sequence[tuple[str, ...]],
) -> bool:
    """Note a hostile component in a tenant's row; return whether it changed.

    Args:
        batch: The batch.
        publisher: The publisher.
        tenant: The tenant in which it counts.
        member: The component.
        rests_on: The trust roots of each of its signatures; an empty one: it counts in any case.
    """
    row = drift.tenant_row(batch, publisher, tenant)
    key = row_key(TENANT, publisher, tenant)
    rank = stable_rank(member.value)
    known = row.users.get(rank)
    changed = _note_roots(batch, publisher, key, row, rank, rests_on)
    if known is not None and known <= member:
        if changed:
            batch.store.save(key, row)
        return changed
    row.users[rank] = member
    if trim(row.users, MEMBERS, USERS_ROOM):
        row.full = True
        batch.bound_reached("hostile components of one publisher", publisher, MEMBERS)
    row.attested = {rank: roots for rank, roots in row.attested.items() if rank in row.users}
    batch.store.save(key, row)
    return True


def _note_roots(
    batch: LedgerBatch,
    publisher: str,
    key: str,
    row: TenantRow,
    rank: str,
    rests_on: Sequence[tuple[str, ...]],
) -> bool:
    """Note on which trust roots it rests that a component counts; return whether that is new."""
    if rank in row.users and rank not in row.attested:
        return False  # it counts in any case
    if () in rests_on:
        return row.attested.pop(rank, None) is not None
    known = row.attested.get(rank, [])
    new = [[*roots] for roots in rests_on if [*roots] not in known]
    row.attested[rank] = [*known, *new][:SIGNERS]
    for roots in new:
        note_use(batch, roots, publisher, key)
    return bool(new)


Stands = Callable[[Iterable[str]], bool]


def _counted(row: TenantRow, stands: Stands) -> dict[str, Seen]:
    """Return the hostile components that count under the current trust roots."""
    return {
        rank: member
        for rank, member in row.users.items()
        if rank not in row.attested or any(stands(roots) for roots in row.attested[rank])
    }


def _campaigns(
    batch: LedgerBatch, publisher: str, tenant: str, stands: Stands
) -> Iterator[tuple[Correlation, Finding, int]]:
    """Yield a tenant's campaigns of a publisher, each with the count of hostile components."""
    own = _counted(drift.tenant_row(batch, publisher, tenant), stands)
    if not own:
        return
    everybodys = _counted(drift.tenant_row(batch, publisher, EVERYBODY), stands)
    members = {**everybodys, **own}
    for correlation in of_kind(ConditionKind.VALUE_COUNT):
        if correlation.when.distinct != "component":
            continue
        threshold = reached(correlation.when.thresholds, len(members))
        if threshold is not None:
            for found in _campaign(publisher, tenant, own, members, correlation, threshold):
                yield correlation, found, len(members)


def _campaign(
    publisher: str,
    tenant: str,
    mine: Mapping[str, Seen],
    counted: Mapping[str, Seen],
    correlation: Correlation,
    threshold: int,
) -> Iterator[Finding]:
    """Yield a campaign at each level, dated by the component that reached the threshold.

    It names the components that the tenant has itself.
    """
    own = {member.value for member in mine.values()}
    for level in correlation.when.thresholds:
        if level > threshold:
            continue
        members = sorted(counted.values())[:level]
        if not members:
            continue
        last = members[-1]
        # Another tenant's component contributes only its time.
        shown = last if last.value in own else max(mine.values())
        yield make_finding(
            correlation.rule,
            locator=(tenant, correlation.rule.id, publisher, str(level)),
            tenant=tenant,
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

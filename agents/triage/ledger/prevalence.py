"""Prevalence: how many organisations have a component, and which incidents are about it."""

from __future__ import annotations

from typing import Final, TypeVar

from agents.domain.basis import basis_of, is_of_all
from agents.triage.bounded_sets import clip, stable_rank, trim_shared
from agents.triage.correlation import correlations, taints
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.claims import claims_row, save_claims
from agents.triage.ledger.rows import (
    COMPONENT,
    KEY_BYTES,
    MARKS,
    NAMES_ROOM,
    RELATED,
    TENANTS,
    TEXT_BYTES,
    ComponentRow,
)
from agents.triage.organisation_counts import organisations_in
from agents.triage.routing import incident_root, opens_incident
from agents.triage.store import row_key
from schemas.canonical import stable_id
from schemas.findings import Finding
from schemas.incidents.updates import Prevalence, Related
from schemas.ledger import FindingSeen, OperatorAlert

V = TypeVar("V")
OVER_CORRELATING: Final = 200
"""The number of tenants with a hygiene finding beyond which it no longer correlates."""
TENANT_RULE: Final = "TW-LEDGER-PREVALENCE"


def prevalence(batch: LedgerBatch, row: ComponentRow, reader: str | None = None) -> int:
    """Return the count of organisations that found a component hostile, or hold one found so.

    Args:
        batch: The batch.
        row: The component's row.
        reader: The reading organisation, which isn't counted.
    """
    counts = [organisations_in(row.flagged, batch.register, reader)]
    if row.marks:
        counts.append(organisations_in(row.tenants, batch.register, reader))
    return max(counts)


def report_prevalence(batch: LedgerBatch, component: str, row: ComponentRow) -> None:
    """Report the thresholds reached to the incidents about a component."""
    correlation = correlations()[TENANT_RULE]
    count = prevalence(batch, row)
    for incident, root in row.prevalent.values():
        for threshold in correlation.when.thresholds:
            if count >= threshold:
                batch.send_to_incident(
                    incident,
                    Prevalence(
                        incident=incident,
                        root=root,
                        indicator=component,
                        threshold=threshold,
                        rule_id=correlation.rule.id,
                    ),
                )


def count_tenants(batch: LedgerBatch, seen: FindingSeen, row: ComponentRow) -> None:
    """Count a finding's organisation; report the thresholds reached to the incidents."""
    finding = seen.finding
    if not seen.active:
        return
    rank = stable_rank(seen.incident)
    first = opens_incident(finding) and rank not in row.prevalent
    known = first or rank in row.prevalent or rank in row.incidents
    shared = known and _note_owner(batch, row, rank, finding)
    if first:
        row.prevalent[rank] = (
            clip(seen.incident, TEXT_BYTES),
            clip(incident_root(finding), KEY_BYTES),
        )
        if _trim_incidents(batch, row, row.prevalent, MARKS):
            batch.bound_reached("incidents of one component", seen.key, MARKS)
    counted = batch.register.counted(finding.tenant)
    if not (counted is not None and row.flagged.add(counted, TENANTS)) and not first:
        if shared:
            batch.store.save(row_key(COMPONENT, seen.key), row)
        return
    flagged = organisations_in(row.flagged, batch.register)
    if flagged > OVER_CORRELATING and not taints(finding):
        row.over_correlating = True
        batch.send_to_operator(
            OperatorAlert(
                id=stable_id("opa", "over-correlating", seen.key),
                kind="over-correlating",
                subject=seen.key,
                detail=f"found in more than {OVER_CORRELATING} tenants: it no longer correlates",
                figures={"limit": float(OVER_CORRELATING)},
                runbook="If it is harmless, publish a warninglist fact for it.",
            )
        )
    else:
        report_prevalence(batch, seen.key, row)
    batch.store.save(row_key(COMPONENT, seen.key), row)


def relate(batch: LedgerBatch, seen: FindingSeen, row: ComponentRow) -> None:
    """Link the incidents that are about one component, publisher or digest.

    A tenant sees those with its findings, the operator sees all.
    """
    claims = claims_row(batch, seen.key, seen.finding.tenant)
    incident = clip(seen.incident, TEXT_BYTES)
    if incident in claims.incidents:
        return
    claims.incidents = sorted([*claims.incidents, incident], key=stable_rank)[:RELATED]
    save_claims(batch, seen.key, row, claims)
    if incident in claims.incidents:
        for other in claims.incidents:
            if other != incident:
                _link(batch, seen.key, incident, other, claims.tenant)
    rank = stable_rank(incident)
    if rank in row.incidents:
        return
    row.incidents[rank] = (incident, [])
    _note_owner(batch, row, rank, seen.finding)
    if _trim_incidents(batch, row, row.incidents, RELATED):
        row.full = True
        batch.bound_reached("incidents linked by one key", seen.key, RELATED)
    batch.store.save(row_key(COMPONENT, seen.key), row)
    if rank not in row.incidents:
        return
    for other, _ in row.incidents.values():
        if other != incident:
            _link(batch, seen.key, incident, other, None)


def _link(batch: LedgerBatch, key: str, first: str, second: str, tenant: str | None) -> None:
    for this, that in ((first, second), (second, first)):
        batch.send_to_incident(this, Related(incident=this, other=that, via=key, tenant=tenant))


def _note_owner(batch: LedgerBatch, row: ComponentRow, rank: str, finding: Finding) -> bool:
    """Note the owner of an incident's share; return whether it changed."""
    if rank not in row.prevalent and rank not in row.incidents:
        row.owners.pop(rank, None)
    owner = "" if is_of_all(basis_of(finding)) else batch.owner(finding.tenant) or "?"
    known = row.owners.get(rank)
    if known in {owner, ""}:
        return False
    row.owners[rank] = owner if known is None else ""
    return True


def _trim_incidents(
    batch: LedgerBatch, row: ComponentRow, incidents: dict[str, V], cap: int
) -> bool:
    """Trim incidents by shares: no tenant's incidents evict another's."""

    def owners(rank: str) -> tuple[str, ...]:
        owner = row.owners.get(rank, "")
        return (owner,) if owner else ()

    dropped = trim_shared(incidents, cap, NAMES_ROOM, owners, batch.order)
    for rank in set(row.owners) - set(row.prevalent) - set(row.incidents):
        del row.owners[rank]
    return dropped

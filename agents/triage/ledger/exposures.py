"""Exposures: report to incidents which systems hold marked and which hold clean versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from agents.domain.basis import claimed
from agents.triage.ledger import known_good
from agents.triage.ledger.advice import offer
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.claims import full_marks_of, marks_of
from agents.triage.ledger.rows import (
    COMPONENT,
    DIGEST_KEYS,
    OF_TENANT,
    PAGE,
    SYSTEM,
    ComponentRow,
    Holding,
    Mark,
    SystemRow,
    from_ms,
)
from agents.triage.ledger.taints import taint_of
from agents.triage.organisation_counts import organisations_in
from agents.triage.store import row_key
from schemas.basis import BasisKind
from schemas.incidents.updates import CHECKED, Exposure, Proof
from schemas.observations import SightingKind

_PROOF: Final = {"pypi": "clean-install", "model": "verified-push", "image": "verified-push"}


def report_holding(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    system: SystemRow,
    holding: Holding,
    *,
    fresh: bool,
) -> None:
    """Report the consequences of a new or changed holding to the incidents.

    Args:
        batch: The batch.
        component: The component key.
        row: Its row.
        system: The system's row.
        holding: The holding, which the row may have no room for.
        fresh: Whether it is new, earlier than known, or newly verified.
    """
    marks = []
    for mark in marks_of(batch, component, row, system.tenant):
        if not mark.advice:
            marks.append(mark)
        elif mark.fits(holding, system.tenant):
            _report_exposure(batch, _exposure(component, row, system, holding, mark))
    clean = not any(mark.fits(holding, system.tenant) for mark in marks)
    for mark in marks:
        if mark.fits(holding, system.tenant):
            _report_exposure(batch, _exposure(component, row, system, holding, mark))
            if holding.name:
                _report_name(batch, component, system.tenant, holding.name, holding.version, mark)
            _report_proofs(batch, component, row, system, mark=mark)
        elif clean:
            _report_proofs(batch, component, row, system, mark=mark, only=holding)
            _report_checked(batch, component, row, system, mark=mark, only=holding)
    if fresh and has_versions(component):
        tenant = system.tenant
        before = known_good.is_affected(batch, component, tenant)
        known_good.on_holding(batch, component, row, tenant, holding)
        if not before and known_good.is_affected(batch, component, tenant):
            others = batch.store.scan(
                SYSTEM, component, tenant, row_type=SystemRow, limit=OF_TENANT
            )
            for _, other in others:
                for mark in marks:
                    _report_checked(batch, component, row, other, mark=mark)


def report_to_systems(
    batch: LedgerBatch, component: str, row: ComponentRow, mark: Mark, after: str = ""
) -> None:
    """Report to the incident which systems hold the marked versions, a page at a time.

    Args:
        batch: The batch.
        component: The component key.
        row: Its row.
        mark: The mark.
        after: The row to continue after.
    """
    own = (component, mark.tenant) if mark.tenant and mark.appended is None else (component,)
    page = list(batch.store.scan(SYSTEM, *own, row_type=SystemRow, limit=PAGE, after=after))
    affected: dict[str, None] = {}
    names: dict[tuple[str, str, str | None], None] = {}
    for _, system in page:
        bad = [holding for holding in system.holdings.values() if mark.fits(holding, system.tenant)]
        for holding in bad:
            _report_exposure(batch, _exposure(component, row, system, holding, mark))
        if bad and not mark.advice:
            affected[system.tenant] = None
            for holding in bad:
                if holding.name:
                    names[system.tenant, holding.name, holding.version] = None
            if mark.state.active:
                _report_proofs(batch, component, row, system, mark=mark)
    for tenant, name, version in names:
        _report_name(batch, component, tenant, name, version, mark)
    if has_versions(component):
        for tenant in affected:
            known_good.on_marks(batch, component, row, tenant)
        if mark.state.active and not mark.advice:
            for _, system in page:
                _report_checked(batch, component, row, system, mark=mark)
    if len(page) == PAGE:
        going_on = taint_of(mark, component, component)
        batch.send_to_ledger(component, msgspec.structs.replace(going_on, after=page[-1][0]))


def note_popularity(batch: LedgerBatch, component: str, row: ComponentRow) -> None:
    """Report once that a component is popular: a scan alone then only proposes."""
    if row.popular or organisations_in(row.tenants, batch.register) <= batch.popular_holders:
        return
    row.popular = True
    batch.store.save(row_key(COMPONENT, component), row)
    for mark in tuple(row.marks.values()):
        if mark.active and mark.basis is not None and mark.basis.kind is BasisKind.VERIFIED:
            report_to_systems(batch, component, row, mark)


def has_versions(component: str) -> bool:
    """Return whether a component has versions, some of which may be clean."""
    return not component.startswith((*DIGEST_KEYS, "publisher:", "domain:"))


def _report_name(
    batch: LedgerBatch,
    component: str,
    tenant: str,
    name: str,
    version: str | None,
    mark: Mark,
) -> None:
    """Mark the component that a tenant claims a digest to be."""
    if not component.startswith(DIGEST_KEYS):
        return
    batch.send_to_ledger(
        name,
        msgspec.structs.replace(
            taint_of(mark, component, name),
            # Other files of a release may be intact.
            version=None if name.startswith("pypi:") else version,
            digest=component.partition(":")[2],
            tenant=tenant,
            basis=claimed(tenant),
            advice=False,
            appended=None,
        ),
    )


def _report_exposure(batch: LedgerBatch, exposure: Exposure) -> None:
    if exposure.advice:
        offer(batch, exposure)
    else:
        batch.send_to_incident(exposure.incident, exposure)


def _exposure(
    component: str, row: ComponentRow, system: SystemRow, holding: Holding, mark: Mark
) -> Exposure:
    verified = mark.basis is not None and mark.basis.kind is BasisKind.VERIFIED
    active, revision = mark.state
    return Exposure(
        incident=mark.incident,
        root=mark.root,
        tenant=system.tenant,
        system=system.system,
        component=holding.name or component,
        occurred_at=from_ms(holding.first_ms),
        event_id=holding.first_event,
        last_seen=from_ms(holding.last_ms),
        version=holding.version,
        digest=holding.digest,
        exposure=holding.exposure,
        path=tuple(mark.path),
        origin=holding.origin,
        publisher=holding.publisher,
        stage=holding.stage,
        criticality=holding.criticality,
        identities=tuple(holding.identities),
        cause=mark.cause,
        active=active,
        revision=revision,
        basis=mark.basis,
        found=mark.found,
        advice=mark.advice,
        via=mark.tenant if mark.appended is not None else "",
        popular=row.popular and verified,
        roots=tuple(mark.roots),
    )


def _report_proofs(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    system: SystemRow,
    *,
    mark: Mark,
    only: Holding | None = None,
) -> None:
    """Report which clean versions came onto the system after the last marked one.

    Args:
        batch: The batch.
        component: The component key.
        row: Its row.
        system: The system's row.
        mark: The mark.
        only: The clean holding that changed; default: any.
    """
    last_bad = max(
        (held.last_ms for held in system.holdings.values() if mark.fits(held, system.tenant)),
        default=None,
    )
    if last_bad is None or not has_versions(component):
        return
    prefix = component.partition(":")[0]
    for holding in (only,) if only is not None else _clean(batch, component, row, system):
        if holding.last_ms <= last_bad:
            continue
        kind = "clean-run" if mark.path else _PROOF.get(prefix, "clean-run")
        _report_proof(batch, component, system, holding, mark, kind)


def _report_checked(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    system: SystemRow,
    *,
    mark: Mark,
    only: Holding | None = None,
) -> None:
    """Report the results of clean pushed versions in the checks that their tenant requires.

    A replacement on an affected system may have been checked where it was pushed, by a system that
    never had the bad version.

    Args:
        batch: The batch.
        component: The component key.
        row: Its row.
        system: The system's row; of an affected tenant or another.
        mark: The mark.
        only: The clean holding that changed; default: any.
    """
    checked = [
        holding
        for holding in ((only,) if only is not None else _clean(batch, component, row, system))
        if holding.kind == SightingKind.PUSHED and holding.checks
    ]
    if not checked or not has_versions(component):
        return
    if known_good.is_affected(batch, component, system.tenant):
        for holding in checked:
            _report_proof(batch, component, system, holding, mark, CHECKED)


def _report_proof(
    batch: LedgerBatch, component: str, system: SystemRow, holding: Holding, mark: Mark, kind: str
) -> None:
    batch.send_to_incident(
        mark.incident,
        Proof(
            incident=mark.incident,
            tenant=system.tenant,
            system=system.system,
            component=component,
            event_id=holding.last_event,
            occurred_at=from_ms(holding.last_ms),
            kind=kind,
            version=holding.version,
            digest=holding.digest,
            passed=tuple(sorted(name for name, done in holding.checks.items() if done)),
            not_passed=tuple(sorted(name for name, done in holding.checks.items() if not done)),
        ),
    )


def _clean(
    batch: LedgerBatch, component: str, row: ComponentRow, system: SystemRow
) -> Iterator[Holding]:
    marks = full_marks_of(batch, component, row, system.tenant)
    for holding in system.holdings.values():
        if not any(mark.fits(holding, system.tenant) for mark in marks):
            yield holding

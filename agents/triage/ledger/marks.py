"""Marks: which components are part of an incident, on what basis, and whether in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from agents.domain.basis import SEVERAL, claimed, is_of_all
from agents.domain.roles import TREE
from agents.triage.bounded_sets import clip, clip_or_none, stable_rank, trim
from agents.triage.ledger import known_good
from agents.triage.ledger.batch import NEVER, LedgerBatch
from agents.triage.ledger.claims import (
    all_claims,
    claims_row,
    introducer_of,
    is_passed_on,
    save_claims,
)
from agents.triage.ledger.exposures import has_versions, report_to_systems
from agents.triage.ledger.lineage import report_to_children
from agents.triage.ledger.rows import (
    CLAIMS,
    COMPONENT,
    KEY_BYTES,
    MARKS,
    MARKS_ROOM,
    MAX_DEPTH,
    PATH_BYTES,
    TEXT_BYTES,
    ClaimsRow,
    ComponentRow,
    Mark,
)
from agents.triage.ledger.standing_roots import note_use, stand
from agents.triage.ledger.taints import mark_of, taint_of
from agents.triage.store import row_key
from schemas.basis import BareFinding, Basis
from schemas.incidents.states import CaseOutcome
from schemas.ledger import CaseState, Revision, Taint

About = Callable[[str | None, str | None], bool]
"""Returns whether something is about a version and digest."""
_STATE_BYTES: Final = 16


def fresh_mark(
    incident: str,
    root: str,
    *,
    cause: str = "",
    version: str | None = None,
    digest: str | None = None,
    revision: Revision = NEVER,
    tenant: str = "",
    basis: Basis | None = None,
    found: BareFinding | None = None,
    undigested: bool = False,
) -> Mark:
    """Return a mark on the component where an incident began.

    Args:
        incident: The incident.
        root: What it is about.
        cause: The key of the causing fact; empty: findings of events.
        version: The marked version; None: any.
        digest: The marked digest; None: any.
        revision: The revision of the cause.
        tenant: The tenant whose claim it rests on; empty: none, so that it covers all holders.
        basis: How it is known.
        found: What was found.
        undigested: Whether the version covers only holdings without a digest.
    """
    return Mark(
        incident=incident,
        root=root,
        cause=cause,
        version=version,
        digest=digest,
        path=[],
        active=True,
        revision=revision,
        tenant=tenant,
        basis=basis or (claimed(tenant) if tenant else None),
        found=found,
        undigested=undigested,
    )


def add_mark(batch: LedgerBatch, component: str, row: ComponentRow, mark: Mark) -> bool:
    """Mark a component as part of an incident, or change or lift the mark.

    The later revision decides whether the mark is active; the shortest path stays. Marks that rest
    on a tenant's claim are kept in the tenant's row, so that claims displace nothing else.

    Returns:
        Whether anything changed; then exposures and taints were reported.
    """
    mark = _bounded(mark)
    claims = claims_row(batch, component, mark.tenant) if mark.tenant else None
    marks = row.marks if claims is None else claims.marks
    key = _rank_of(mark)
    known = marks.get(key)
    if known is None:
        if not mark.active:
            return False
        if mark.roots:
            mark = msgspec.structs.replace(mark, turns=0 if stand(batch, mark.roots) else 1)
        marks[key] = mark

        def order(rank: str) -> tuple[bool, str]:
            # A full mark in force replaces the others.
            return marks[rank].advice or marks[rank].ended, batch.order(rank)

        if trim(marks, MARKS, MARKS_ROOM, order):
            row.full = True
            batch.bound_reached("incidents of one component", component, MARKS)
            if key not in marks:
                return False
    else:
        shorter = (len(mark.path), mark.path) < (len(known.path), known.path)
        newer = mark.revision > known.revision
        if not shorter and not newer:
            return False
        merged = msgspec.structs.replace(
            mark,
            path=mark.path if shorter else known.path,
            active=mark.active if newer else known.active,
            revision=max(mark.revision, known.revision),
            found=mark.found or known.found,
            basis=mark.basis or known.basis,
            turns=known.turns,
        )
        if (merged.active, merged.path, merged.revision) == (
            known.active,
            known.path,
            known.revision,
        ):
            return False
        marks[key] = mark = merged
    if claims is None:
        batch.store.save(row_key(COMPONENT, component), row)
    else:
        save_claims(batch, component, row, claims)
    if known is None and mark.roots:
        whose = (COMPONENT, component) if claims is None else (CLAIMS, component, claims.tenant)
        note_use(batch, mark.roots, component, row_key(*whose))
    if mark.appended is not None and (mark.appended, mark.tenant) != introducer_of(row):
        return True  # not the introducer's: kept in case an earlier record arrives late
    if component.startswith("tree:"):
        _report_digest(batch, component, mark)
    if known is not None or not mark.ended:
        _report(batch, component, row, mark)
    report_to_children(batch, component, mark)
    return True


def _report(batch: LedgerBatch, component: str, row: ComponentRow, mark: Mark) -> None:
    if not _is_reported(row, mark):
        report_to_systems(batch, component, row, mark)
    elif has_versions(component):
        known_good.on_marks(batch, component, row, mark.tenant)


def on_root(batch: LedgerBatch, component: str, key: str) -> None:
    """End marks whose trust roots are no longer all in force; restore those whose roots are.

    Marks that were passed on rest on the same trust roots, and are updated in their own rows.

    Args:
        batch: The batch.
        component: The component key.
        key: The row that keeps the marks.
    """
    row = batch.component_row(component)
    shared = key == row_key(COMPONENT, component)
    kept = row if shared else batch.store.load(key, ClaimsRow)
    for rank, mark in tuple(kept.marks.items()) if kept is not None else ():
        if not mark.roots or stand(batch, mark.roots) != mark.ended:
            continue
        assert kept is not None
        kept.marks[rank] = turned = msgspec.structs.replace(mark, turns=mark.turns + 1)
        batch.store.save(key, kept)
        of_introducer = turned.appended is None or is_passed_on(row, turned)
        if turned.active and of_introducer:
            _report(batch, component, row, turned)


def _rank_of(mark: Mark) -> str:
    parts = [mark.incident, mark.cause, mark.version or "", mark.digest or "", mark.tenant]
    if mark.advice:
        parts += ["advice", str(mark.appended or "")]
    if mark.roots:
        parts += ["roots", *mark.roots]
    return stable_rank(*parts)


def _is_reported(row: ComponentRow, mark: Mark) -> bool:
    """Return whether a shared mark of the same fact has reported the same as a tenant's own.

    Lifting a tenant's own is always reported: it may be older than the shared one.
    """
    return bool(mark.active and mark.tenant and mark.cause and not mark.path) and any(
        other.active
        and not other.roots
        and (other.incident, other.cause, other.version)
        == (mark.incident, mark.cause, mark.version)
        for other in row.marks.values()
    )


def _bounded(mark: Mark) -> Mark:
    """Return a mark in a size that fits a row; versions and tenants as the holdings have them."""
    return msgspec.structs.replace(
        mark,
        incident=clip(mark.incident, TEXT_BYTES),
        root=clip(mark.root, KEY_BYTES),
        cause=clip(mark.cause, KEY_BYTES),
        version=clip_or_none(mark.version, TEXT_BYTES),
        digest=clip_or_none(mark.digest, TEXT_BYTES),
        path=[clip(step, PATH_BYTES) for step in mark.path[:MAX_DEPTH]],
        tenant=clip(mark.tenant, TEXT_BYTES),
    )


def _report_digest(batch: LedgerBatch, component: str, mark: Mark) -> None:
    """Mark a tree's digest under `sha256:`, for events that do not say that it is a tree's."""
    key = f"sha256:{component.partition(':')[2]}"
    basis = msgspec.structs.replace(mark.basis or SEVERAL, role=TREE)
    taint = taint_of(mark, component, key)
    batch.send_to_ledger(
        key, msgspec.structs.replace(taint, version=None, digest=None, basis=basis)
    )


def on_taint(batch: LedgerBatch, taint: Taint) -> None:
    """Mark the component and pass the taint on, or continue an earlier report."""
    row = batch.component_row(taint.key)
    mark = mark_of(taint)
    if not mark.tenant and (mark.basis is None or not is_of_all(mark.basis)):
        return  # from an earlier version of Tidewatch, without a basis: it affects no tenant
    if taint.after:
        report_to_systems(batch, taint.key, row, mark, taint.after)
    elif taint.children_after:
        report_to_children(batch, taint.key, mark, taint.children_after)
    else:
        add_mark(batch, taint.key, row, mark)


def on_case(batch: LedgerBatch, case: CaseState) -> None:
    """Note that an incident opened, closed or was dismissed.

    The operator's dismissal lifts its marks; a tenant's lifts those from its own claims.
    """
    row = batch.component_row(case.key)
    incident = clip(case.incident, TEXT_BYTES)
    claims = claims_row(batch, case.key, case.tenant) if case.tenant else None
    cases = row.cases if claims is None else claims.cases
    known = cases.get(incident)
    if known is not None and known[1] >= case.revision:
        return
    cases[incident] = (clip(case.state, _STATE_BYTES), case.revision)
    if len(cases) > MARKS:
        # Only dismissals decide; closing only lets rows expire.
        for extra in sorted(
            cases, key=lambda name: (cases[name][0] != CaseOutcome.DISMISSED, stable_rank(name))
        )[MARKS:]:
            del cases[extra]
        batch.bound_reached("incidents of one component", case.key, MARKS)
    if claims is None:
        batch.store.save(row_key(COMPONENT, case.key), row)
    else:
        save_claims(batch, case.key, row, claims)
    dismissed = case.state == CaseOutcome.DISMISSED
    reopened = known is not None and known[0] == CaseOutcome.DISMISSED and not dismissed
    if not dismissed and not reopened:
        return
    lift(
        batch,
        case.key,
        row,
        case.revision,
        active=not dismissed,
        incident=incident,
        tenant=case.tenant or None,
    )


def lift(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    revision: Revision,
    *,
    active: bool,
    incident: str | None = None,
    about: About | None = None,
    tenant: str | None = None,
) -> None:
    """Lift the marks that began at a component, or restore them.

    Args:
        batch: The batch.
        component: The component key.
        row: Its row.
        revision: The time; the later wins.
        active: Whether to restore them.
        incident: Only marks of this incident; default: all.
        about: Selects versions and digests; default: all.
        tenant: Only those from this tenant's claims; default: all.
    """
    if tenant is None:
        held = [*row.marks.values()]
        for claims in all_claims(batch, component, row):
            held.extend(claims.marks.values())
    else:
        held = list(claims_row(batch, component, tenant).marks.values())
    for mark in held:
        if (
            not mark.path
            and (incident is None or mark.incident == incident)
            and (about is None or about(mark.version, mark.digest))
        ):
            changed = msgspec.structs.replace(mark, active=active, revision=revision)
            add_mark(batch, component, row, changed)


def dismissed_at(
    batch: LedgerBatch, component: str, row: ComponentRow, incident: str, tenant: str
) -> Revision | None:
    """Return the revision at which an incident was dismissed, None if it was not.

    Args:
        batch: The batch.
        component: The component key.
        row: Its row.
        incident: The incident.
        tenant: The tenant whose dismissal also counts; empty: only the operator's.
    """
    states = [row.cases.get(incident)]
    if tenant and row.claims:
        states.append(claims_row(batch, component, tenant).cases.get(incident))
    return max(
        (state[1] for state in states if state and state[0] == CaseOutcome.DISMISSED), default=None
    )

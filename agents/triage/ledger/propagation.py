"""Propagation: what a mark on a component means for who holds it and what was made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from agents.triage.bounded_sets import clip, clip_or_none, stable_rank, trim
from agents.triage.ledger import known_good
from agents.triage.ledger.batch import NEVER, LedgerBatch
from agents.triage.ledger.rows import (
    CHILD,
    COMPONENT,
    EDGES,
    EDGES_ROOM,
    KEY_BYTES,
    MARKS,
    MARKS_ROOM,
    MAX_DEPTH,
    NAME_BYTES,
    PAGE,
    SCAN,
    SYSTEM,
    TEXT_BYTES,
    ChildRow,
    ComponentRow,
    Edge,
    Holding,
    Mark,
    SystemRow,
    from_ms,
)
from agents.triage.store import row_key
from schemas.incidents.updates import CHECKED, Exposure, Proof
from schemas.ledger import CaseState, Derived, Revision, Taint

About = Callable[[str | None, str | None], bool]
"""Tells whether something is about a version and digest."""
PATH_BYTES: Final = 200
STATE_BYTES: Final = 16
_PROOF: Final = {"pypi": "clean-install", "model": "verified-push", "image": "verified-push"}


def component_row(batch: LedgerBatch, component: str) -> ComponentRow:
    """Return the row of a component, a new one if there is none."""
    return batch.store.load(row_key(COMPONENT, component), ComponentRow) or ComponentRow()


def add_mark(batch: LedgerBatch, component: str, row: ComponentRow, mark: Mark) -> bool:
    """Mark a component as part of an incident, or change or lift the mark.

    The later revision says whether the mark is active; the shortest path stays.

    Returns:
        Whether anything changed; then exposures and taints were told.
    """
    mark = _bounded(mark)
    key = stable_rank(mark.incident, mark.cause, mark.version or "", mark.digest or "", mark.tenant)
    known = row.marks.get(key)
    if known is None:
        if not mark.active:
            return False
        row.marks[key] = mark
        if trim(row.marks, MARKS, MARKS_ROOM):
            row.full = True
            batch.bound_reached("incidents of one component", component, MARKS)
            if key not in row.marks:
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
        )
        if (merged.active, merged.path, merged.revision) == (
            known.active,
            known.path,
            known.revision,
        ):
            return False
        row.marks[key] = mark = merged
    batch.store.save(row_key(COMPONENT, component), row)
    _tell_systems(batch, component, row, mark)
    _tell_children(batch, component, mark)
    return True


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


def _tell_systems(
    batch: LedgerBatch, component: str, row: ComponentRow, mark: Mark, after: str = ""
) -> None:
    page = list(batch.store.scan(SYSTEM, component, row_type=SystemRow, limit=PAGE, after=after))
    affected: dict[str, None] = {}
    for _, system in page:
        bad = [one for one in system.holdings.values() if mark.fits(one, system.tenant)]
        for holding in bad:
            batch.tell_incident(mark.incident, _exposure(component, system, holding, mark))
        if bad:
            affected[system.tenant] = None
            if mark.active:
                _tell_proofs(batch, component, row, system, mark=mark)
    if _has_versions(component):
        for tenant in affected:
            known_good.on_marks(batch, component, row, tenant)
        if mark.active:
            for _, system in page:
                _tell_checked(batch, component, row, system, mark=mark)
    if len(page) == PAGE:
        going_on = Taint(
            key=component,
            incident=mark.incident,
            root=mark.root,
            cause=mark.cause,
            origin=mark.path[0] if mark.path else component,
            path=tuple(mark.path),
            version=mark.version,
            digest=mark.digest,
            active=mark.active,
            revision=mark.revision,
            tenant=mark.tenant,
            confined=mark.confined,
            after=page[-1][0],
        )
        batch.tell_ledger(component, going_on)


def _tell_children(batch: LedgerBatch, component: str, mark: Mark) -> None:
    count = 0
    for _, child in batch.store.scan(CHILD, component, row_type=ChildRow, limit=SCAN):
        count += 1
        for edge in child.edges.values():
            _pass_on(batch, component, child.child, edge, mark)
    if count >= SCAN:
        batch.bound_reached("children told of a taint", component, SCAN)


def _pass_on(
    batch: LedgerBatch,
    component: str,
    child: str,
    edge: Edge,
    mark: Mark,
) -> None:
    if not mark.reaches(edge.version, edge.tenant) or child in mark.path or child == component:
        return
    path = (*mark.path, clip(component, PATH_BYTES))
    if len(path) > MAX_DEPTH:
        batch.bound_reached("steps of propagation", component, MAX_DEPTH)
        return
    batch.tell_ledger(
        child,
        Taint(
            key=child,
            incident=mark.incident,
            root=mark.root,
            cause=mark.cause,
            origin=path[0],
            path=path,
            version=edge.child_version,
            digest=edge.child_digest,
            active=mark.active,
            revision=mark.revision,
            tenant=mark.tenant if mark.confined else "",
            confined=mark.confined,
        ),
    )


def on_derived(batch: LedgerBatch, edge: Derived) -> None:
    """Note that `edge.child` was built from `edge.key`; pass on what taints it."""
    key = row_key(CHILD, edge.key, edge.child)
    row = batch.store.load(key, ChildRow) or ChildRow(child=clip(edge.child, NAME_BYTES))
    build = Edge(
        tenant=clip(edge.tenant, TEXT_BYTES),
        version=clip_or_none(edge.version, TEXT_BYTES),
        child_version=clip_or_none(edge.child_version, TEXT_BYTES),
        child_digest=clip_or_none(edge.child_digest, TEXT_BYTES),
    )
    place = stable_rank(*(part or "" for part in msgspec.structs.astuple(build)))
    if place in row.edges:
        return
    row.edges[place] = build
    if trim(row.edges, EDGES, EDGES_ROOM):
        row.full = True
        batch.bound_reached("builds of one component from another", edge.key, EDGES)
    batch.store.save(key, row)
    parent = batch.store.load(row_key(COMPONENT, edge.key), ComponentRow)
    if parent is None:
        # The row keeps the component alive until its sightings expire.
        batch.store.save(row_key(COMPONENT, edge.key), ComponentRow())
        return
    for mark in parent.marks.values():
        if mark.active:
            _pass_on(batch, edge.key, edge.child, build, mark)


def on_taint(batch: LedgerBatch, taint: Taint) -> None:
    """Mark the component and pass the taint on, or go on telling its systems."""
    row = component_row(batch, taint.key)
    mark = Mark(
        incident=taint.incident,
        root=taint.root,
        cause=taint.cause,
        version=taint.version,
        digest=taint.digest,
        path=list(taint.path),
        active=taint.active,
        revision=taint.revision,
        tenant=taint.tenant,
        confined=taint.confined,
    )
    if taint.after:
        _tell_systems(batch, taint.key, row, mark, taint.after)
    else:
        add_mark(batch, taint.key, row, mark)


def on_case(batch: LedgerBatch, case: CaseState) -> None:
    """Note that an incident opened, closed or was dismissed; a dismissal lifts its marks."""
    row = component_row(batch, case.key)
    incident = clip(case.incident, TEXT_BYTES)
    known = row.cases.get(incident)
    if known is not None and known[1] >= case.revision:
        return
    row.cases[incident] = (clip(case.state, STATE_BYTES), case.revision)
    if len(row.cases) > MARKS:
        for extra in sorted(row.cases, key=stable_rank)[MARKS:]:
            del row.cases[extra]
        batch.bound_reached("incidents of one component", case.key, MARKS)
    batch.store.save(row_key(COMPONENT, case.key), row)
    dismissed = case.state == "dismissed"
    reopened = known is not None and known[0] == "dismissed" and not dismissed
    if not dismissed and not reopened:
        return
    lift(batch, case.key, row, case.revision, active=not dismissed, incident=incident)


def lift(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    revision: Revision,
    *,
    active: bool,
    incident: str | None = None,
    about: About | None = None,
) -> None:
    """Lift the marks that began at a component, or let them hold again.

    Args:
        batch: Where to tell it.
        component: The component key.
        row: Its row.
        revision: When: the later wins.
        active: Whether the marks hold.
        incident: Only marks of this incident; None: all.
        about: Only marks of versions and digests it tells are meant; None: all.
    """
    for mark in tuple(row.marks.values()):
        if (
            not mark.path
            and (incident is None or mark.incident == incident)
            and (about is None or about(mark.version, mark.digest))
        ):
            changed = msgspec.structs.replace(mark, active=active, revision=revision)
            add_mark(batch, component, row, changed)


def is_dismissed(row: ComponentRow, incident: str) -> Revision | None:
    """Return the revision at which the incident was dismissed, None if it was not."""
    state = row.cases.get(incident)
    return state[1] if state is not None and state[0] == "dismissed" else None


def tell_holding(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    system: SystemRow,
    holding: Holding,
    *,
    fresh: bool,
) -> None:
    """Tell the incidents what follows from one holding that is new or changed.

    Args:
        batch: Where to.
        component: The component key.
        row: Its row.
        system: The system's row.
        holding: The holding; the row may have had no room for it.
        fresh: It is new, or was here earlier than known, or its signature is verified now.
    """
    marks = [mark for mark in row.marks.values() if mark.active]
    clean = not any(mark.fits(holding, system.tenant) for mark in marks)
    for mark in marks:
        if mark.fits(holding, system.tenant):
            batch.tell_incident(mark.incident, _exposure(component, system, holding, mark))
            _tell_proofs(batch, component, row, system, mark=mark)
        elif clean:
            _tell_proofs(batch, component, row, system, mark=mark, only=holding)
            _tell_checked(batch, component, row, system, mark=mark, only=holding)
    if fresh and _has_versions(component):
        tenant = system.tenant
        before = known_good.is_affected(batch, component, tenant)
        known_good.on_holding(batch, component, row, tenant, holding)
        if not before and known_good.is_affected(batch, component, tenant):
            others = batch.store.scan(SYSTEM, component, tenant, row_type=SystemRow, limit=PAGE)
            for _, other in others:
                for mark in marks:
                    _tell_checked(batch, component, row, other, mark=mark)


def _has_versions(component: str) -> bool:
    return not component.startswith(("sha256:", "publisher:", "domain:"))


def _exposure(component: str, system: SystemRow, holding: Holding, mark: Mark) -> Exposure:
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
        active=mark.active,
        revision=mark.revision,
    )


def _tell_proofs(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    system: SystemRow,
    *,
    mark: Mark,
    only: Holding | None = None,
) -> None:
    """Tell which clean versions came onto the system after the last that is marked.

    Args:
        batch: Where to.
        component: The component key.
        row: Its row.
        system: The system's row.
        mark: The mark.
        only: The clean holding that changed; None: any.
    """
    last_bad = max(
        (one.last_ms for one in system.holdings.values() if mark.fits(one, system.tenant)),
        default=None,
    )
    if last_bad is None or not _has_versions(component):
        return
    prefix = component.partition(":")[0]
    for holding in (only,) if only is not None else _clean(row, system):
        if holding.last_ms <= last_bad:
            continue
        kind = "clean-run" if mark.path else _PROOF.get(prefix, "clean-run")
        _tell_proof(batch, component, system, holding, mark, kind)


def _tell_checked(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    system: SystemRow,
    *,
    mark: Mark,
    only: Holding | None = None,
) -> None:
    """Tell how clean versions that were pushed fared in the checks that their tenant requires.

    What replaces a component on an affected system may have been checked where it was pushed, and
    there the bad version may never have been.

    Args:
        batch: Where to.
        component: The component key.
        row: Its row.
        system: The system's row; of an affected tenant or another.
        mark: The mark.
        only: The clean holding that changed; None: any.
    """
    checked = [
        one
        for one in ((only,) if only is not None else _clean(row, system))
        if one.kind == "pushed" and one.checks
    ]
    if not checked or not _has_versions(component):
        return
    if known_good.is_affected(batch, component, system.tenant):
        for holding in checked:
            _tell_proof(batch, component, system, holding, mark, CHECKED)


def _tell_proof(
    batch: LedgerBatch, component: str, system: SystemRow, holding: Holding, mark: Mark, kind: str
) -> None:
    batch.tell_incident(
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


def _clean(row: ComponentRow, system: SystemRow) -> Iterator[Holding]:
    marks = [mark for mark in row.marks.values() if mark.active]
    for holding in system.holdings.values():
        if not any(mark.fits(holding, system.tenant) for mark in marks):
            yield holding


def fresh_mark(
    incident: str,
    root: str,
    *,
    cause: str = "",
    version: str | None = None,
    digest: str | None = None,
    revision: Revision = NEVER,
    tenant: str = "",
    confined: bool = False,
) -> Mark:
    """Return a mark on the component where an incident began."""
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
        confined=confined,
    )

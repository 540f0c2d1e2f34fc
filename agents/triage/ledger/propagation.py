"""Propagation: what a mark on a component means for who holds it and what was made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    full_marks_of,
    introducer_of,
    is_in_force,
    marks_of,
    save_claims,
)
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
from schemas.basis import BareFinding, Basis, BasisKind, Position
from schemas.incidents.updates import CHECKED, Exposure, Proof
from schemas.ledger import CaseState, Derived, Revision, Taint

About = Callable[[str | None, str | None], bool]
"""Tells whether something is about a version and digest."""
PATH_BYTES: Final = 200
STATE_BYTES: Final = 16
OF_BYTES: Final = ("sha256:", "tree:")
"""Keys that digests have: whatever is known of one is about the bytes, whoever holds them."""
_PROOF: Final = {"pypi": "clean-install", "model": "verified-push", "image": "verified-push"}


def component_row(batch: LedgerBatch, component: str) -> ComponentRow:
    """Return the row of a component, a new one if there is none."""
    return batch.store.load(row_key(COMPONENT, component), ComponentRow) or ComponentRow()


def add_mark(batch: LedgerBatch, component: str, row: ComponentRow, mark: Mark) -> bool:
    """Mark a component as part of an incident, or change or lift the mark.

    The later revision says whether the mark is active; the shortest path stays. What rests on a
    tenant's claim is kept in the tenant's row, so that no claim takes the room of anything else.

    Returns:
        Whether anything changed; then exposures and taints were told.
    """
    mark = _bounded(mark)
    claims = claims_row(batch, component, mark.tenant) if mark.tenant else None
    marks = row.marks if claims is None else claims.marks
    key = _place(mark)
    known = marks.get(key)
    if known is None:
        if not mark.active:
            return False
        marks[key] = mark
        if trim(marks, MARKS, MARKS_ROOM):
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
    if mark.appended is not None and (mark.appended, mark.tenant) != introducer_of(row):
        return True  # somebody else was first: it is kept for the case that a record comes late
    if component.startswith("tree:"):
        _tell_digest(batch, component, mark)
    if not _is_told(row, mark):
        _tell_systems(batch, component, row, mark)
    elif _has_versions(component):
        known_good.on_marks(batch, component, row, mark.tenant)
    _tell_children(batch, component, mark)
    return True


def _place(mark: Mark) -> str:
    parts = [mark.incident, mark.cause, mark.version or "", mark.digest or "", mark.tenant]
    if mark.advice:
        parts += ["advice", str(mark.appended or "")]
    return stable_rank(*parts)


def _is_told(row: ComponentRow, mark: Mark) -> bool:
    """Tell whether a tenant's own mark says what a shared one, of the same fact, has told."""
    return bool(mark.tenant and mark.cause and not mark.path) and any(
        (one.incident, one.cause, one.version, one.active)
        == (mark.incident, mark.cause, mark.version, mark.active)
        for one in row.marks.values()
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


def _tell_systems(
    batch: LedgerBatch, component: str, row: ComponentRow, mark: Mark, after: str = ""
) -> None:
    own = (component, mark.tenant) if mark.tenant and mark.appended is None else (component,)
    page = list(batch.store.scan(SYSTEM, *own, row_type=SystemRow, limit=PAGE, after=after))
    affected: dict[str, None] = {}
    names: dict[tuple[str, str, str | None], None] = {}
    for _, system in page:
        bad = [one for one in system.holdings.values() if mark.fits(one, system.tenant)]
        for holding in bad:
            batch.tell_incident(mark.incident, _exposure(component, row, system, holding, mark))
        if bad and not mark.advice:
            affected[system.tenant] = None
            for holding in bad:
                if holding.name:
                    names[system.tenant, holding.name, holding.version] = None
            if mark.active:
                _tell_proofs(batch, component, row, system, mark=mark)
    for tenant, name, version in names:
        _tell_name(batch, component, tenant, name, version, mark)
    if _has_versions(component):
        for tenant in affected:
            known_good.on_marks(batch, component, row, tenant)
        if mark.active and not mark.advice:
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
            basis=mark.basis,
            found=mark.found,
            advice=mark.advice,
            appended=mark.appended,
            after=page[-1][0],
        )
        batch.tell_ledger(component, going_on)


def _tell_digest(batch: LedgerBatch, component: str, mark: Mark) -> None:
    """Mark a tree's digest where events name it without saying that it is a tree's."""
    key = f"sha256:{component.partition(':')[2]}"
    basis = msgspec.structs.replace(mark.basis or SEVERAL, role=TREE)
    batch.tell_ledger(
        key,
        Taint(
            key=key,
            incident=mark.incident,
            root=mark.root,
            cause=mark.cause,
            origin=mark.path[0] if mark.path else component,
            path=tuple(mark.path),
            active=mark.active,
            revision=mark.revision,
            tenant=mark.tenant,
            basis=basis,
            found=mark.found,
            advice=mark.advice,
            appended=mark.appended,
        ),
    )


def _tell_name(
    batch: LedgerBatch,
    component: str,
    tenant: str,
    name: str,
    version: str | None,
    mark: Mark,
) -> None:
    """Mark for a tenant the component as which it holds a digest: that is its own claim."""
    if not component.startswith(OF_BYTES):
        return
    batch.tell_ledger(
        name,
        Taint(
            key=name,
            incident=mark.incident,
            root=mark.root,
            cause=mark.cause,
            origin=mark.path[0] if mark.path else component,
            path=tuple(mark.path),
            # Other files of a release may be what they should be.
            version=None if name.startswith("pypi:") else version,
            digest=component.partition(":")[2],
            active=mark.active,
            revision=mark.revision,
            tenant=tenant,
            basis=claimed(tenant),
            found=mark.found,
        ),
    )


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
    """Pass a mark on along an edge: in full to whose edge it is, to others as advice.

    Along an edge that follows from the child's digest it stays what it is. Along a tenant's own
    it concerns that tenant alone, and is its claim from there on; where the event of the edge
    introduced the child's digest, it advises the digest's other holders.
    """
    if not mark.reaches(edge) or child in mark.path or child == component:
        return
    path = (*mark.path, clip(component, PATH_BYTES))
    if len(path) > MAX_DEPTH:
        batch.bound_reached("steps of propagation", component, MAX_DEPTH)
        return
    taint = Taint(
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
        tenant=mark.tenant,
        basis=mark.basis,
        found=mark.found,
        advice=mark.advice,
    )
    if edge.verified:
        if mark.appended is None:
            # In which role the file was read the listing says; what was found is of the whole,
            # which is not made from the file but holds it.
            basis = msgspec.structs.replace(mark.basis, role="") if mark.basis else None
            held = msgspec.structs.replace(
                taint, basis=basis, path=tuple(mark.path), origin=(*mark.path, component)[0]
            )
            batch.tell_ledger(child, held)
        return
    of_bytes = child.startswith(OF_BYTES)
    own = msgspec.structs.replace(
        taint,
        tenant=edge.tenant,
        basis=SEVERAL if mark.advice else claimed(edge.tenant),
        version=None if of_bytes else edge.child_version,
        digest=None if of_bytes else edge.child_digest,
    )
    batch.tell_ledger(child, own)
    if of_bytes and edge.appended is not None:
        batch.tell_ledger(
            child,
            msgspec.structs.replace(own, advice=True, basis=SEVERAL, appended=edge.appended),
        )


def on_derived(batch: LedgerBatch, edge: Derived) -> None:
    """Note that `edge.child` was built from `edge.key`; pass on what taints it."""
    build = Edge(
        tenant=clip(edge.tenant, TEXT_BYTES),
        version=clip_or_none(edge.version, TEXT_BYTES),
        child_version=clip_or_none(edge.child_version, TEXT_BYTES),
        child_digest=clip_or_none(edge.child_digest, TEXT_BYTES),
        appended=edge.appended,
    )
    add_edge(batch, edge.key, edge.child, build)


def add_edge(batch: LedgerBatch, component: str, child: str, build: Edge) -> None:
    """Note how `child` was built from a component; pass on what taints it."""
    key = row_key(CHILD, component, child)
    row = batch.store.load(key, ChildRow) or ChildRow(child=clip(child, NAME_BYTES))
    names = (build.tenant, build.version, build.child_version, build.child_digest, build.role)
    place = stable_rank(*(part or "" for part in names))
    known = row.edges.get(place)
    if known is not None and (
        known.appended == build.appended
        or build.appended is None
        or (known.appended is not None and known.appended <= build.appended)
    ):
        return
    row.edges[place] = build
    if trim(row.edges, EDGES, EDGES_ROOM):
        row.full = True
        batch.bound_reached("builds of one component from another", component, EDGES)
    batch.store.save(key, row)
    parent = batch.store.load(row_key(COMPONENT, component), ComponentRow)
    if parent is None:
        # The row keeps the component alive until its sightings expire.
        batch.store.save(row_key(COMPONENT, component), ComponentRow())
        return
    marks = (
        [mark for mark in parent.marks.values() if mark.active]
        + [one for claims in all_claims(batch, component, parent) for one in claims.marks.values()]
        if build.verified
        else marks_of(batch, component, parent, build.tenant)
    )
    for mark in marks:
        if is_in_force(parent, mark):
            _pass_on(batch, component, child, build, mark)


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
        advice=taint.advice,
        basis=taint.basis,
        found=taint.found,
        appended=taint.appended,
    )
    if not mark.tenant and (mark.basis is None or not is_of_all(mark.basis)):
        return  # of an earlier version of Tidewatch, or nobody's: it says nothing of anybody
    if taint.after:
        _tell_systems(batch, taint.key, row, mark, taint.after)
    else:
        add_mark(batch, taint.key, row, mark)


def on_case(batch: LedgerBatch, case: CaseState) -> None:
    """Note that an incident opened, closed or was dismissed.

    The operator's dismissal lifts its marks; a tenant's lifts what rests on that tenant's claims.
    """
    row = component_row(batch, case.key)
    incident = clip(case.incident, TEXT_BYTES)
    claims = claims_row(batch, case.key, case.tenant) if case.tenant else None
    cases = row.cases if claims is None else claims.cases
    known = cases.get(incident)
    if known is not None and known[1] >= case.revision:
        return
    cases[incident] = (clip(case.state, STATE_BYTES), case.revision)
    if len(cases) > MARKS:
        for extra in sorted(cases, key=stable_rank)[MARKS:]:
            del cases[extra]
        batch.bound_reached("incidents of one component", case.key, MARKS)
    if claims is None:
        batch.store.save(row_key(COMPONENT, case.key), row)
    else:
        save_claims(batch, case.key, row, claims)
    dismissed = case.state == "dismissed"
    reopened = known is not None and known[0] == "dismissed" and not dismissed
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
    """Lift the marks that began at a component, or let them hold again.

    Args:
        batch: Where to tell it.
        component: The component key.
        row: Its row.
        revision: When: the later wins.
        active: Whether the marks hold.
        incident: Only marks of this incident; None: all.
        about: Only marks of versions and digests it tells are meant; None: all.
        tenant: Only those that rest on this tenant's claims; None: all.
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
        batch: Where the rows are.
        component: The component key.
        row: Its row.
        incident: The incident.
        tenant: Whose dismissal counts beside the operator's; empty: nobody's.
    """
    states = [row.cases.get(incident)]
    if tenant and row.claims:
        states.append(claims_row(batch, component, tenant).cases.get(incident))
    return max((one[1] for one in states if one and one[0] == "dismissed"), default=None)


def introduce(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    tenant: str,
    position: Position,
    *,
    made: bool,
) -> None:
    """Note a record that told of a digest: the first of all, if it made or pushed, introduced it.

    A record that was read late may lie before those known: then what was advised on account of
    another's event ends, and what is known of the build that came first is told instead.
    """
    known = row.introducer
    if known is not None and known[0] <= position:
        return
    before = introducer_of(row)
    row.introducer = (position, clip(tenant, TEXT_BYTES), made)
    after = introducer_of(row)
    batch.store.save(row_key(COMPONENT, component), row)
    if not row.claims:
        return
    for claims in all_claims(batch, component, row):
        for mark in claims.marks.values():
            if mark.appended is None or not mark.active:
                continue
            if (mark.appended, mark.tenant) == before:
                first, second = mark.revision
                gone = msgspec.structs.replace(mark, active=False, revision=(first, second + 1))
                _tell_systems(batch, component, row, gone)
                _tell_children(batch, component, gone)
            elif (mark.appended, mark.tenant) == after:
                _tell_systems(batch, component, row, mark)
                _tell_children(batch, component, mark)


def note_popularity(batch: LedgerBatch, component: str, row: ComponentRow) -> None:
    """Tell once that many organisations hold a component: a scan alone then only proposes."""
    if row.popular or row.tenants.count() <= batch.popular_holders:
        return
    row.popular = True
    batch.store.save(row_key(COMPONENT, component), row)
    for mark in tuple(row.marks.values()):
        if mark.active and mark.basis is not None and mark.basis.kind is BasisKind.VERIFIED:
            _tell_systems(batch, component, row, mark)


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
    marks = []
    for mark in marks_of(batch, component, row, system.tenant):
        if not mark.advice:
            marks.append(mark)
        elif mark.fits(holding, system.tenant):
            batch.tell_incident(mark.incident, _exposure(component, row, system, holding, mark))
    clean = not any(mark.fits(holding, system.tenant) for mark in marks)
    for mark in marks:
        if mark.fits(holding, system.tenant):
            batch.tell_incident(mark.incident, _exposure(component, row, system, holding, mark))
            if holding.name:
                _tell_name(batch, component, system.tenant, holding.name, holding.version, mark)
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
    return not component.startswith((*OF_BYTES, "publisher:", "domain:"))


def _exposure(
    component: str, row: ComponentRow, system: SystemRow, holding: Holding, mark: Mark
) -> Exposure:
    verified = mark.basis is not None and mark.basis.kind is BasisKind.VERIFIED
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
        basis=mark.basis,
        found=mark.found,
        advice=mark.advice,
        via=mark.tenant if mark.appended is not None else "",
        popular=row.popular and verified,
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
    for holding in (only,) if only is not None else _clean(batch, component, row, system):
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
        for one in ((only,) if only is not None else _clean(batch, component, row, system))
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


def _clean(
    batch: LedgerBatch, component: str, row: ComponentRow, system: SystemRow
) -> Iterator[Holding]:
    marks = full_marks_of(batch, component, row, system.tenant)
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
    basis: Basis | None = None,
    found: BareFinding | None = None,
    undigested: bool = False,
) -> Mark:
    """Return a mark on the component where an incident began.

    Args:
        incident: The incident.
        root: What it is about.
        cause: The fact's key on whose account; empty: findings of events.
        version: The version that is meant; None: any.
        digest: The digest that is meant; None: any.
        revision: Of what caused it.
        tenant: Whose claim it rests on; empty: nobody's, so that it is about whoever holds it.
        basis: How it is known.
        found: What was found.
        undigested: By the version only what has no digest is meant.
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

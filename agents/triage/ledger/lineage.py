"""Lineage: builds as edges between components, and the marks passed along them."""

from __future__ import annotations

import msgspec

from agents.domain.basis import SEVERAL, claimed, through, weakest
from agents.triage.bounded_sets import clip, clip_or_none, stable_rank, trim
from agents.triage.correlation import taint_rule
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.claims import all_claims, is_passed_on, passed_marks_of
from agents.triage.ledger.rows import (
    CHILD,
    COMPONENT,
    DIGEST_KEYS,
    EDGES,
    EDGES_ROOM,
    MAX_DEPTH,
    NAME_BYTES,
    PAGE,
    PATH_BYTES,
    ROOTS,
    TEXT_BYTES,
    ChildRow,
    ComponentRow,
    Edge,
    Mark,
)
from agents.triage.ledger.taints import taint_of
from agents.triage.store import row_key
from schemas.ledger import Derived


def on_derived(batch: LedgerBatch, edge: Derived) -> None:
    """Note that `edge.child` was built from `edge.key`; pass on its marks."""
    whose = edge.tenant if edge.basis is None else edge.basis.tenant
    build = Edge(
        tenant=clip(whose, TEXT_BYTES),
        version=clip_or_none(edge.version, TEXT_BYTES),
        child_version=clip_or_none(edge.child_version, TEXT_BYTES),
        child_digest=clip_or_none(edge.child_digest, TEXT_BYTES),
        appended=edge.appended,
        digest=clip_or_none(edge.digest, TEXT_BYTES),
        basis=edge.basis,
    )
    add_edge(batch, edge.key, edge.child, build)


def add_edge(batch: LedgerBatch, component: str, child: str, build: Edge) -> None:
    """Note how `child` was built from a component; pass on the component's marks.

    Each tenant's edges have rows of their own, so that no tenant fills another's.
    """
    key = row_key(CHILD, component, child, build.tenant)
    row = batch.store.load(key, ChildRow) or ChildRow(child=clip(child, NAME_BYTES))
    names = (build.tenant, build.version, build.child_version, build.child_digest, build.role)
    more = [build.digest] if build.digest else []
    if build.basis is not None:
        more += ["attested", *build.basis.by, *build.basis.roots]
    rank = stable_rank(*(part or "" for part in names), *more)
    known = row.edges.get(rank)
    if known is not None and (
        known.appended == build.appended
        or build.appended is None
        or (known.appended is not None and known.appended <= build.appended)
    ):
        return
    row.edges[rank] = build
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
        + [
            claim
            for claims in all_claims(batch, component, parent)
            for claim in claims.marks.values()
        ]
        if build.is_of_all
        else passed_marks_of(batch, component, parent, build.tenant)
    )
    for mark in marks:
        if is_passed_on(parent, mark):
            _pass_on(batch, component, child, build, mark)


def report_to_children(batch: LedgerBatch, component: str, mark: Mark, after: str = "") -> None:
    """Pass a mark on to everything built from the component, a page at a time.

    Args:
        batch: The batch.
        component: The component key.
        mark: Its mark.
        after: The row to continue after.
    """
    page = list(batch.store.scan(CHILD, component, row_type=ChildRow, limit=PAGE, after=after))
    for _, child in page:
        for edge in child.edges.values():
            _pass_on(batch, component, child.child, edge, mark)
    if len(page) == PAGE:
        going_on = taint_of(mark, component, component)
        batch.send_to_ledger(
            component, msgspec.structs.replace(going_on, children_after=page[-1][0])
        )


def _pass_on(
    batch: LedgerBatch,
    component: str,
    child: str,
    edge: Edge,
    mark: Mark,
) -> None:
    """Pass a mark on along an edge: in full to the edge's tenant, to others as advice.

    Along an edge that follows from the child's digest, it is unchanged. Along an attested edge, it
    has the weaker basis of the two. Along a tenant's own edge, it concerns that tenant alone, and
    is its claim from there on; if the edge's event introduced the child's digest, it advises the
    digest's other holders.
    """
    if not mark.reaches(edge) or child in mark.path or child == component:
        return
    path = (*mark.path, clip(component, PATH_BYTES))
    if len(path) > MAX_DEPTH:
        batch.bound_reached("steps of propagation", component, MAX_DEPTH)
        return
    roots = sorted({*mark.roots, *(edge.basis.roots if edge.basis is not None else ())})
    if len(roots) > ROOTS:
        batch.bound_reached("trust roots of one mark", component, ROOTS)
        return
    taint = msgspec.structs.replace(
        taint_of(mark, component, child),
        origin=path[0],
        path=path,
        version=edge.child_version,
        digest=edge.child_digest,
        appended=None,
        roots=tuple(roots),
    )
    if edge.verified:
        if mark.appended is None and not (mark.advice and edge.basis is not None):
            # The listing states the role that the file was read in; the finding is about the whole,
            # which is not made from the file but holds it.
            basis = msgspec.structs.replace(mark.basis, role="") if mark.basis else None
            if basis is not None and edge.basis is not None:
                basis = weakest((basis, edge.basis))
            held = msgspec.structs.replace(
                taint,
                tenant=mark.tenant or edge.tenant,
                basis=basis,
                found=through(mark.found, edge.basis) if mark.found and edge.basis else mark.found,
                path=tuple(mark.path),
                origin=(*mark.path, component)[0],
            )
            batch.send_to_ledger(child, held)
        return
    of_bytes = child.startswith(DIGEST_KEYS)
    said = edge.basis or claimed(edge.tenant)
    if edge.is_of_all and mark.advice:
        return
    own = msgspec.structs.replace(
        taint,
        tenant=mark.tenant if edge.is_of_all else edge.tenant,
        basis=SEVERAL if mark.advice else weakest((mark.basis or said, said)),
        found=through(mark.found, said) if mark.found and edge.basis else mark.found,
        version=None if of_bytes else edge.child_version,
        digest=None if of_bytes else edge.child_digest,
    )
    batch.send_to_ledger(child, own)
    if (
        of_bytes
        and edge.appended is not None
        and edge.basis is None
        and not _applies_a_policy(mark)
    ):
        batch.send_to_ledger(
            child,
            msgspec.structs.replace(own, advice=True, basis=SEVERAL, appended=edge.appended),
        )


def _applies_a_policy(mark: Mark) -> bool:
    """Return whether a mark applies a tenant's policy to a source, and so advises no others."""
    return (
        bool(mark.tenant) and mark.found is not None and mark.found.ioc_type in taint_rule().policy
    )

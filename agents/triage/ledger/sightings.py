"""Sightings: who has a component, since when, with which digest; one read if nothing is new."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

import msgspec

from agents.domain.component_keys import is_foreign
from agents.domain.roles import role_of
from agents.triage.bounded_sets import clip, clip_or_none, stable_rank, trim
from agents.triage.ledger import drift, intelligence
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.bound_versions import is_of_all, note_bound_version
from agents.triage.ledger.exposures import note_popularity, report_holding
from agents.triage.ledger.introducers import introduce
from agents.triage.ledger.lineage import add_edge
from agents.triage.ledger.package_files import note_signed_file
from agents.triage.ledger.prevalence import report_prevalence
from agents.triage.ledger.rows import (
    CHECKS,
    COMPONENT,
    DAY_MS,
    DIGEST_KEYS,
    EXPIRY,
    HOLDINGS,
    HOLDINGS_ROOM,
    IDENTITIES,
    INPUTS,
    KEEP_DAYS,
    KEY_BYTES,
    NAME_BYTES,
    SYSTEM,
    TENANTS,
    TEXT_BYTES,
    ComponentRow,
    Edge,
    ExpiryRow,
    Holding,
    SystemRow,
    to_ms,
)
from agents.triage.routing import split_version
from agents.triage.store import row_key
from schemas.basis import Basis
from schemas.canonical import stable_hash
from schemas.components import PREFIXES
from schemas.ledger import Derived
from schemas.observations import Sighting, SightingKind

_MADE: Final = frozenset({SightingKind.MADE, SightingKind.PUSHED, SightingKind.SERVED})
"""Kinds of sighting by which the first record of a digest introduces it."""


def on_sighting(batch: LedgerBatch, seen: Sighting) -> None:
    """Add a sighting to the rows; send the consequences of what is new.

    A sighting already known on the same day costs one read and no write.
    """
    at = to_ms(seen.occurred_at)
    key = row_key(SYSTEM, seen.component, seen.tenant, seen.system)
    system = batch.store.load(key, SystemRow)
    version = seen.version or _version_by_inputs(seen)
    rank = stable_rank(seen.name or "", version or "", seen.digest or "", seen.filename or "")
    if system is None:
        system = SystemRow(
            tenant=clip(seen.tenant, TEXT_BYTES), system=clip(seen.system, TEXT_BYTES)
        )
        _expect_expiry(batch, seen.component, key, at)
    known = system.holdings.get(rank)
    before = None if known is None else (known.first_ms, known.first_event, known.signed)
    was_claimed = known is not None and not known.verified
    changed = _merge(system, rank, seen, at=at, version=version)
    introduced = _note_first(seen, system)
    changed = changed or introduced
    if seen.made_from:
        changed = _report_parents(batch, system, seen, version, again=introduced) or changed
    if seen.tree:
        changed = _note_tree(batch, seen, system) or changed
    if seen.bound:
        changed = _note_binding(batch, seen, system) or changed
        note_bound_version(batch, seen)
    if seen.bound_by and not seen.component.startswith(DIGEST_KEYS):
        note_signed_file(batch, seen)
    for basis in seen.bound_by:
        changed = _note_signed_binding(batch, seen, system, basis) or changed
    if not changed and seen.kind not in drift.REPORTED:
        return
    holding = system.holdings[rank]
    # A push or pull of a known version may still have a new tag, publisher or signature.
    fresh = before != (holding.first_ms, holding.first_event, holding.signed)
    if seen.kind in drift.REPORTED or fresh:
        drift.on_new_holding(batch, seen, version)
    if not changed:
        return
    system.last_ms = max(system.last_ms, at)
    # The latest are kept, which include the current version.
    held = dict(system.holdings)
    if trim(system.holdings, HOLDINGS, HOLDINGS_ROOM, lambda rank: (-held[rank].last_ms, rank)):
        system.full = True
        batch.bound_reached("versions on one system", seen.component, HOLDINGS)
    batch.store.save(key, system)
    component = _component(batch, seen, at)
    if introduced and seen.appended is not None:
        made = seen.kind in _MADE
        introduce(batch, seen.component, component, seen.tenant, seen.appended, made=made)
    if component.facts:
        proven = was_claimed and holding.verified
        intelligence.on_holding(batch, seen.component, component, system, holding, proven=proven)
    if component.marks or component.claims:
        report_holding(batch, seen.component, component, system, holding, fresh=fresh)


def _note_first(seen: Sighting, system: SystemRow) -> bool:
    """Note a digest's record if it is the system's earliest; return whether it is."""
    if seen.appended is None or not seen.component.startswith(DIGEST_KEYS):
        return False
    if system.appended is not None and system.appended <= seen.appended:
        return False
    system.appended = seen.appended
    return True


def _note_tree(batch: LedgerBatch, seen: Sighting, system: SystemRow) -> bool:
    """Note a file in a tree's listing, so that findings on the file reach the tree.

    It follows from the tree's digest, whichever tenant reports it.
    """
    role = role_of(seen.filename)
    rank = int(stable_rank(seen.tree, role), 16)
    if rank in system.inputs.smallest:
        return False
    edge = Edge(
        tenant="",
        version=None,
        child_version=None,
        child_digest=None,
        verified=True,
        role=role,
    )
    add_edge(batch, seen.component, clip(seen.tree, KEY_BYTES), edge)
    return system.inputs.add_rank(rank, INPUTS)


def _note_binding(batch: LedgerBatch, seen: Sighting, system: SystemRow) -> bool:
    """Note a verified binding of a name's version to the digest, so that findings reach both.

    It follows from content that Tidewatch fetched, whichever tenant reports it; it covers one
    immutable version of a public name only.
    """
    if not is_of_all(seen.name or "", seen.version):
        return False
    return _bind(batch, seen, system, None)


def _note_signed_binding(
    batch: LedgerBatch, seen: Sighting, system: SystemRow, basis: Basis
) -> bool:
    """Note an attested binding of a name's version to the digest.

    The signer is authorised for the name; a private name only concerns its tenant.
    """
    private = (seen.name or "").partition(":")[2].startswith("@")
    if private and (not basis.tenant or is_foreign(seen.name or "", basis.tenant)):
        return False
    return _bind(batch, seen, system, basis)


def _bind(batch: LedgerBatch, seen: Sighting, system: SystemRow, basis: Basis | None) -> bool:
    name, role = seen.name or "", role_of(seen.filename)
    if seen.digest is None or not name or not seen.component.startswith(DIGEST_KEYS):
        return False
    by = [] if basis is None else [basis.tenant, *basis.by, *basis.roots]
    rank = int(stable_rank("bound", name, seen.version or "", role, *by), 16)
    if rank in system.inputs.smallest:
        return False
    edge = Edge(
        tenant="" if basis is None else clip(basis.tenant, TEXT_BYTES),
        version=None,
        child_version=clip_or_none(seen.version, TEXT_BYTES),
        child_digest=seen.digest,
        verified=True,
        role=role,
        basis=basis,
    )
    add_edge(batch, seen.component, clip(name, KEY_BYTES), edge)
    return system.inputs.add_rank(rank, INPUTS)


def _version_by_inputs(seen: Sighting) -> str | None:
    """Return a version derived from the inputs of a component that names none."""
    if seen.digest is not None or not seen.made_from:
        return None
    return f"from:{stable_hash(*sorted(seen.made_from))[:16]}"


def _merge(
    system: SystemRow,
    rank: str,
    seen: Sighting,
    *,
    at: int,
    version: str | None,
) -> bool:
    known = system.holdings.get(rank)
    if known is None:
        system.holdings[rank] = _holding(seen, at, version)
        return True
    changed = False
    if (at, seen.event_id) < (known.first_ms, known.first_event):
        earlier = _holding(seen, at, version)
        earlier.last_ms, earlier.last_event = known.last_ms, known.last_event
        earlier.exposure = max(known.exposure, earlier.exposure, key=attrgetter("rank"))
        earlier.signed = known.signed if earlier.signed is not True else True
        earlier.criticality = _greater(known.criticality, earlier.criticality)
        earlier.identities = sorted({*known.identities, *earlier.identities}, key=stable_rank)[
            :IDENTITIES
        ]
        earlier.checks = known.checks
        earlier.verified = known.verified or earlier.verified
        system.holdings[rank] = known = earlier
        changed = True
    # Within a day only a system with several versions needs the exact time, which shows the last
    # version.
    if (at, seen.event_id) > (known.last_ms, known.last_event) and (
        at // DAY_MS > known.last_ms // DAY_MS or len(system.holdings) > 1
    ):
        known.last_ms, known.last_event = at, clip(seen.event_id, TEXT_BYTES)
        changed = True
    if seen.exposure.rank > known.exposure.rank:
        known.exposure = seen.exposure
        changed = True
    if seen.signed is True and known.signed is not True:
        known.signed = True
        changed = True
    if seen.criticality is not None and seen.criticality > (known.criticality or -1.0):
        known.criticality = seen.criticality
        changed = True
    if seen.identities:
        identities = sorted(
            {*known.identities, *(clip(name, TEXT_BYTES) for name in seen.identities)},
            key=stable_rank,
        )[:IDENTITIES]
        if identities != known.identities:
            known.identities = identities
            changed = True
    if seen.verified and not known.verified:
        known.verified = True
        changed = True
    if seen.passed or seen.not_passed:
        checks = _checks(known.checks, seen)
        if checks != known.checks:
            known.checks = checks
            changed = True
    return changed


def _checks(known: dict[str, bool], seen: Sighting) -> dict[str, bool]:
    """Return the checks of a version: once passed stays passed, in any order."""
    checks = dict(known)
    for names, passed in ((seen.passed, True), (seen.not_passed, False)):
        for name in names:
            short = clip(name, TEXT_BYTES)
            checks[short] = checks.get(short, False) or passed
    return {name: checks[name] for name in sorted(checks, key=stable_rank)[:CHECKS]}


def _greater(first: float | None, other: float | None) -> float | None:
    return max((value for value in (first, other) if value is not None), default=None)


def _holding(seen: Sighting, at: int, version: str | None) -> Holding:
    event = clip(seen.event_id, TEXT_BYTES)
    return Holding(
        name=clip_or_none(seen.name, NAME_BYTES),
        version=clip_or_none(version, TEXT_BYTES),
        digest=clip_or_none(seen.digest, TEXT_BYTES),
        first_ms=at,
        first_event=event,
        last_ms=at,
        last_event=event,
        exposure=seen.exposure,
        kind=seen.kind,
        tag=clip_or_none(seen.tag, TEXT_BYTES),
        publisher=clip_or_none(seen.publisher, TEXT_BYTES),
        origin=clip_or_none(seen.origin, TEXT_BYTES),
        stage=clip_or_none(seen.stage, TEXT_BYTES),
        source=clip(seen.source, TEXT_BYTES),
        filename=clip_or_none(seen.filename, TEXT_BYTES),
        signed=seen.signed,
        criticality=seen.criticality,
        identities=sorted({clip(name, TEXT_BYTES) for name in seen.identities}, key=stable_rank)[
            :IDENTITIES
        ],
        checks=_checks({}, seen),
        verified=seen.verified,
    )


def _report_parents(
    batch: LedgerBatch, system: SystemRow, seen: Sighting, version: str | None, *, again: bool
) -> bool:
    """Report the build to its inputs; return whether one of them was new.

    A position before all reported ones is reported `again`. Inputs that the row has no room to
    record are reported with each sighting: repetition is harmless, an omission would hide an input.
    """
    changed = False
    entries = seen.made_from
    if len(entries) > INPUTS:
        batch.bound_reached("inputs of what one system builds", seen.component, INPUTS)
        entries = tuple(sorted(entries, key=stable_rank)[:INPUTS])
    digests = _digests_of(entries)
    for entry in entries:
        parent, parent_version = split_version(entry)
        if parent.partition(":")[0] not in PREFIXES or parent == seen.component:
            continue
        signed = [
            part for basis in seen.attested for part in (basis.tenant, *basis.by, *basis.roots)
        ]
        rank = int(stable_rank(entry, version or "", seen.digest or "", *signed), 16)
        if rank in system.inputs.smallest and not again:
            continue
        changed = system.inputs.add_rank(rank, INPUTS) or changed
        # A signature covers the digest; the version only if it names it.
        build = Derived(
            key=parent,
            child=seen.component,
            tenant=seen.tenant,
            system=seen.system,
            event_id=seen.event_id,
            occurred_at=seen.occurred_at,
            version=parent_version,
            digest=digests.get(parent) if _is_name(parent_version) else None,
            child_version=clip_or_none(version, TEXT_BYTES),
            child_digest=seen.digest,
            stage=seen.stage,
            appended=seen.appended if seen.component.startswith(DIGEST_KEYS) else None,
        )
        for basis in seen.attested or (None,):
            of_version = basis is None or basis in seen.bound_by
            child_version = build.child_version if of_version else None
            batch.send_to_ledger(
                parent,
                msgspec.structs.replace(build, basis=basis, child_version=child_version),
            )
    return changed


_DIGEST: Final = "sha256:"


def _is_name(version: str | None) -> bool:
    return version is not None and not version.startswith(_DIGEST)


def _digests_of(entries: tuple[str, ...]) -> dict[str, str]:
    """Return the digests of the inputs that are named by one version and by one digest."""
    versions: dict[str, list[str]] = {}
    for entry in entries:
        parent, version = split_version(entry)
        if version is not None:
            versions.setdefault(parent, []).append(version)
    return {
        parent: named[0].removeprefix(_DIGEST)
        for parent, given in versions.items()
        if len(given) == 2  # noqa: PLR2004 -- a version and a digest
        and len(named := [name for name in given if not _is_name(name)]) == 1
    }


def _component(batch: LedgerBatch, seen: Sighting, at: int) -> ComponentRow:
    key = row_key(COMPONENT, seen.component)
    row = batch.store.load(key, ComponentRow)
    changed = row is None
    if row is None:
        row = ComponentRow(first_ms=at, first_event=clip(seen.event_id, TEXT_BYTES))
    if row.first_ms == 0 or (at, seen.event_id) < (row.first_ms, row.first_event):
        row.first_ms, row.first_event = at, clip(seen.event_id, TEXT_BYTES)
        changed = True
    counted = batch.register.counted(seen.tenant)
    if counted is not None and row.tenants.add(counted, TENANTS):
        changed = True
        if row.prevalent and not row.over_correlating:
            report_prevalence(batch, seen.component, row)
        note_popularity(batch, seen.component, row)
    if changed:
        batch.store.save(key, row)
    return row


def _expect_expiry(batch: LedgerBatch, component: str, key: str, at: int) -> None:
    day = at // DAY_MS + KEEP_DAYS
    pointer = row_key(EXPIRY, f"{max(day, 0):08d}", component, stable_rank(key))
    batch.store.save(pointer, ExpiryRow(component=component, key=key))

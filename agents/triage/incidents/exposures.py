"""The systems that an incident reaches: reduces exposures into a tenant's row, in any order."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

import msgspec

from agents.domain.basis import is_advice, is_of_all
from agents.triage.bounded_sets import clip, clip_or_none, stable_rank, trim
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import (
    ENTRIES_BYTES,
    GROUNDS_BYTES,
    SMALL_BYTES,
    TENANTS,
    TEXT_BYTES,
    Entry,
    SystemsRow,
)
from agents.triage.ledger.rows import to_ms
from agents.triage.routing import split_version
from schemas.findings import Finding
from schemas.incidents.updates import Exposure

IDENTITIES: Final = 8


def on_exposure(case: IncidentRows, seen: Exposure, at_ms: int) -> None:
    """Add what a tenant's system holds."""
    row = case.systems(seen.tenant)
    if not seen.active and not row.entries:
        return
    case.meets(seen.tenant, seen.root, counted=not seen.advice)
    if not seen.advice:
        case.involves(split_version(seen.component)[0])
    first = to_ms(seen.occurred_at)
    _add_entry(
        case,
        seen.tenant,
        Entry(
            system=clip(seen.system, SMALL_BYTES),
            component=clip(seen.component, TEXT_BYTES),
            version=clip_or_none(seen.version, SMALL_BYTES),
            digest=clip_or_none(seen.digest, SMALL_BYTES),
            exposure=seen.exposure,
            first_ms=first,
            last_ms=to_ms(seen.last_seen) if seen.last_seen else first,
            event_id=clip(seen.event_id, SMALL_BYTES),
            path=[clip(step, SMALL_BYTES) for step in seen.path[:16]],
            origin=clip_or_none(seen.origin, SMALL_BYTES),
            publisher=clip_or_none(seen.publisher, SMALL_BYTES),
            stage=clip_or_none(seen.stage, SMALL_BYTES),
            criticality=seen.criticality,
            identities=_identities(seen.identities),
            cause=clip(seen.cause, SMALL_BYTES),
            active=seen.active,
            revision=seen.revision,
            ground=_note_ground(case, row, seen),
            of_all=seen.basis is not None and is_of_all(seen.basis),
            advice=seen.advice,
            popular=seen.popular,
            roots=list(seen.roots),
        ),
        at_ms,
        via=seen.via,
    )


def add_systems_of(case: IncidentRows, finding: Finding, at_ms: int) -> None:
    """Add the systems that a finding names."""
    digest = finding.indicator.key
    for system in finding.systems[:64]:
        _add_entry(
            case,
            finding.tenant,
            Entry(
                system=clip(system, SMALL_BYTES),
                component=clip(finding.component, TEXT_BYTES),
                version=clip_or_none(finding.version, SMALL_BYTES),
                digest=digest[7:] if digest.startswith("sha256:") else None,
                exposure=finding.exposure,
                first_ms=to_ms(finding.occurred_at),
                last_ms=to_ms(finding.occurred_at),
                event_id=clip(finding.event_id, SMALL_BYTES),
                path=[],
                origin=None,
                publisher=clip_or_none(finding.publisher, SMALL_BYTES),
                stage=None,
                criticality=None,
                identities=_identities(finding.identities),
                cause="",
                active=True,
                revision=(0, 0),
                advice=is_advice(finding),
            ),
            at_ms,
        )


def _note_ground(case: IncidentRows, row: SystemsRow, seen: Exposure) -> str:
    """Keep the finding at the mark's origin, once for all that follows from it; return its rank."""
    if seen.found is None:
        return ""
    found = msgspec.structs.replace(
        seen.found,
        ioc_type=clip(seen.found.ioc_type, SMALL_BYTES),
        rule_id=clip(seen.found.rule_id, SMALL_BYTES),
        indicator_type=clip(seen.found.indicator_type, SMALL_BYTES),
    )
    rank = stable_rank(msgspec.json.encode(found).decode())
    if rank not in row.grounds:
        row.grounds[rank] = found
        case.save(row)
        if trim(row.grounds, len(row.grounds), GROUNDS_BYTES, lambda key: (key != rank, key)):
            case.truncate("grounds")
    return rank


def _identities(names: tuple[str, ...]) -> list[str]:
    return sorted({clip(name, SMALL_BYTES) for name in names}, key=stable_rank)[:IDENTITIES]


def _add_entry(case: IncidentRows, tenant: str, entry: Entry, at_ms: int, *, via: str = "") -> None:
    row = case.systems(tenant)
    of_what = [entry.system, entry.component, entry.version or "", entry.digest or "", entry.cause]
    rank = stable_rank(*of_what, "advice", via) if entry.advice else stable_rank(*of_what)
    known = row.entries.get(rank)
    row.entries[rank] = entry if known is None else _merged(row, known, entry)
    if not entry.advice:
        row.tally.add(entry.system, TENANTS)
    if len(row.entries) > IDENTITIES:
        _bound_entries(case, row)
    if entry.active:
        row.detected_ms = min(row.detected_ms or at_ms, at_ms)
    case.save(row)


def _merged(row: SystemsRow, known: Entry, new: Entry) -> Entry:
    better = _stronger(row, known, new)
    early, late = sorted(
        (known, new), key=lambda entry: (entry.first_ms, entry.event_id, str(entry.origin))
    )
    states = dict(known.accounts())
    for account, (active, revision) in new.accounts().items():
        at_first = states.get(account)
        latest = (revision, active)
        if at_first is not None:
            latest = max(latest, (at_first[1], at_first[0]))
        states[account] = (latest[1], latest[0])
    return Entry(
        system=known.system,
        component=known.component,
        version=known.version,
        digest=known.digest,
        exposure=max(known.exposure, new.exposure, key=attrgetter("rank")),
        first_ms=early.first_ms,
        last_ms=max(known.last_ms, new.last_ms),
        event_id=early.event_id,
        path=min(known.path, new.path, key=lambda path: (len(path), path)),
        origin=early.origin or late.origin,
        publisher=early.publisher or late.publisher,
        stage=early.stage or late.stage,
        criticality=max(
            (value for value in (known.criticality, new.criticality) if value is not None),
            default=None,
        ),
        identities=sorted({*known.identities, *new.identities}, key=stable_rank)[:IDENTITIES],
        cause=known.cause,
        active=any(active for active, _ in states.values()),
        revision=max(revision for _, revision in states.values()),
        ground=better.ground,
        of_all=better.of_all,
        advice=known.advice,
        popular=known.popular or new.popular,
        states=states if len(states) > 1 else {},
        roots=known.roots,
    )


def _stronger(row: SystemsRow, known: Entry, new: Entry) -> Entry:
    """Return the entry with the stronger ground: a version may be marked for several reasons."""

    def order(entry: Entry) -> tuple[bool, bool, int, float, str]:
        found = row.grounds.get(entry.ground)
        return (
            found is None,
            not entry.of_all,
            -found.severity.rank if found else 0,
            -found.confidence if found else 0.0,
            entry.ground,
        )

    return min(known, new, key=order)


def _bound_entries(case: IncidentRows, row: SystemsRow) -> None:
    """Keep the most exposed entries that fit the row, advice behind all others.

    Of equals, the smallest ranks: what is kept does not depend on the order of arrival, since the
    exposure of an entry only grows.
    """
    held = row.entries

    def order(rank: str) -> tuple[bool, int, str]:
        return held[rank].advice, -held[rank].exposure.rank, rank

    if trim(held, len(held), ENTRIES_BYTES, order):
        row.full = True
        case.truncate("systems")

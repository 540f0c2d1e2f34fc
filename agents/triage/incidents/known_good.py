"""The versions that may be rolled back to, as the ledger reported them to an incident."""

from __future__ import annotations

import msgspec

from agents.triage.bounded_sets import clip, clip_or_none, stable_rank
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import GOOD, GOOD_BYTES, SMALL_BYTES, TEXT_BYTES, SystemsRow
from schemas.incidents.updates import KnownGood


def on_known_good(case: IncidentRows, good: KnownGood) -> None:
    """Note a version that may be rolled back to, or that no longer may."""
    row = case.systems(good.tenant)
    good = msgspec.structs.replace(
        good,
        # The row's key names the incident and tenant.
        incident="",
        tenant="",
        component=clip(good.component, TEXT_BYTES),
        version=clip_or_none(good.version, SMALL_BYTES),
        digest=clip_or_none(good.digest, SMALL_BYTES),
    )
    rank = stable_rank(good.component, good.version or "", good.digest or "")
    known = row.good.get(rank)
    if known is not None:
        newer = max(good, known, key=lambda version: (version.revision, not version.active))
        good = msgspec.structs.replace(
            good,
            seen_at=min(known.seen_at, good.seen_at),
            signed=known.signed or good.signed,
            # Intelligence may have withdrawn: the later revision wins.
            by_intel=newer.by_intel
            if known.revision != good.revision
            else known.by_intel or good.by_intel,
            active=newer.active,
            revision=newer.revision,
        )
        if good == known:
            return
    row.good[rank] = good
    _bound_good(case, row)
    case.save(row)


def _bound_good(case: IncidentRows, row: SystemsRow) -> None:
    """Keep a few of each component: rollback targets first, then the latest.

    Every component keeps its first before any keeps its second. Retracted ones count as well: what
    is kept must not depend on when the retraction arrived.
    """
    of_component: dict[str, int] = {}
    order: list[tuple[int, str, str]] = []
    for rank, good in sorted(row.good.items(), key=lambda item: _good_order(*item)):
        number = of_component.get(good.component, 0)
        of_component[good.component] = number + 1
        if number < GOOD:
            order.append((number, stable_rank(good.component), rank))
    kept: dict[str, KnownGood] = {}
    left = GOOD_BYTES
    for _, _, rank in sorted(order):
        left -= len(msgspec.msgpack.encode(row.good[rank])) + len(rank)
        if left < 0:
            break
        kept[rank] = row.good[rank]
    if len(kept) < len(row.good):
        case.truncate("known-good versions")
    row.good = kept


def _good_order(rank: str, good: KnownGood) -> tuple[bool, bool, bool, int, int, str]:
    active = good.active
    first, second = good.revision
    return (
        not active,
        not (active and good.by_intel),
        not (active and good.signed),
        -first,
        -second,
        rank,
    )

"""Compares the digests that a registry announced for a version with those that runs held."""

from __future__ import annotations

from typing import Final

from agents.domain.findings import make_finding
from agents.domain.rules import ConditionKind, Slot
from agents.triage.bounded_sets import stable_rank
from agents.triage.correlation import for_prefix
from agents.triage.ledger.batch import LedgerBatch, indicator_of, state_of
from agents.triage.ledger.rows import SLOTS, VALUES, Seen, TenantRow, from_ms, value_seen
from schemas.findings import Finding
from schemas.ledger import Revision
from schemas.observations import Sighting, SightingKind

MOVING: Final = frozenset(
    {"main", "master", "latest", "head", "current", "nightly", "daily", "dev", "edge", "rolling",
     "live", "stable", "staging", "prod", "production", "champion", "challenger"}
)  # fmt: skip
"""Versions that name the newest content, which may change."""
_ANNOUNCED: Final = "announced:"
_HELD: Final = "held:"
_HOLDS: Final = frozenset({SightingKind.USED, SightingKind.MADE, SightingKind.PULLED})
_UNSURE: Final = 0.6
"""Confidence if a run may have hashed other files of the version than the registry lists."""


def moves(version: str) -> bool:
    """Return whether a version's name points at the newest content."""
    return version.strip().lower() in MOVING


def note_announced(
    batch: LedgerBatch, seen: Sighting, row: TenantRow
) -> tuple[bool, Finding | None]:
    """Note a version's announced and held digests; report those never announced.

    The finding is the same whether the registry or the run is seen first.

    Args:
        batch: The batch.
        seen: The sighting, new to its system.
        row: The tenant's row of the component.

    Returns:
        Whether the row changed, and the finding, if there is one.
    """
    if not seen.version or moves(seen.version):
        return False, None
    if for_prefix(ConditionKind.DRIFT, Slot.ANNOUNCED, seen.component.partition(":")[0]) is None:
        return False, None
    if seen.kind == SightingKind.PUSHED:
        digests = {seen.digest, *seen.parts} if seen.parts else set()
        mark = _ANNOUNCED
    elif seen.kind in _HOLDS:
        # Each file that a pull names is compared: it may have fetched only some of them.
        digests, mark = set(seen.parts) or {seen.digest}, _HELD
    else:
        return False, None
    values = {f"{mark}{digest}" for digest in digests if digest}
    if not values:
        return False, None
    name = f"holds:{seen.version}"
    rank = stable_rank(name)
    entries = row.slots.setdefault(rank, {})
    changed = False
    for value in sorted(values):
        entry = value_seen(seen, value)
        known = entries.get(stable_rank(value))
        if known is None or entry < known:
            entries[stable_rank(value)] = entry
            changed = True
    if not changed:
        return False, None
    full = len(entries) >= VALUES
    for extra in sorted(entries)[VALUES:]:
        del entries[extra]
    if row.keep_slots():
        row.full = True
        batch.bound_reached("values compared in one tenant", seen.component, SLOTS)
    if full:
        # A dropped entry may have announced the rest.
        row.full = True
        batch.bound_reached("digests of one version", seen.component, VALUES)
        return True, None
    return True, _difference(seen, row.slots.get(rank, {})) if rank in row.slots else None


def _difference(seen: Sighting, entries: dict[str, Seen]) -> Finding | None:
    announced = sorted(entry for entry in entries.values() if entry.value.startswith(_ANNOUNCED))
    digests = {entry.value.removeprefix(_ANNOUNCED) for entry in announced}
    other = sorted(
        entry
        for entry in entries.values()
        if entry.value.startswith(_HELD) and entry.value.removeprefix(_HELD) not in digests
    )
    if not announced or not other:
        return None
    rule = for_prefix(ConditionKind.DRIFT, Slot.ANNOUNCED, seen.component.partition(":")[0])
    assert rule is not None
    late = max(announced[0], other[0])
    actual = other[0].value.removeprefix(_HELD)
    return make_finding(
        rule.rule,
        locator=(seen.tenant, rule.rule.id, seen.component, seen.version or ""),
        tenant=seen.tenant,
        component=seen.component,
        version=seen.version,
        indicator=indicator_of(seen.component, seen.version),
        description=f"{rule.rule.title}: {seen.component}@{seen.version} is {actual}",
        evidence={
            "announced": sorted(digests),
            "held": [entry.value.removeprefix(_HELD) for entry in other],
            "is": actual,
        },
        source=late.source,
        event_id=late.event_id,
        occurred_at=from_ms(late.first_ms),
        systems=tuple(sorted({entry.system for entry in other})),
        confidence=None if len(digests) == 1 else _UNSURE,
    )


def revision_of(finding: Finding) -> Revision:
    """Return the revision of a finding: the later one replaces the earlier."""
    return state_of(len(finding.evidence["announced"]) + len(finding.evidence["held"]))

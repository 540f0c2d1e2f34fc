"""ATLAS techniques as documents show them, with sub-technique, tactics and mitigations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.taxonomy import parent_technique, taxonomy

FRAMEWORK: Final = "MITRE ATLAS"


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """One technique as documents render it."""

    technique_id: str
    technique: str
    sub_technique_id: str | None
    sub_technique: str | None
    tactics: tuple[tuple[str, str], ...]
    """Ids and names."""


def attacks(technique_ids: Iterable[str]) -> tuple[Attack, ...]:
    """Return the techniques found in the table, each once, in the order given."""
    table = taxonomy()
    result: list[Attack] = []
    for technique_id in dict.fromkeys(technique_ids):
        technique = table.techniques.get(technique_id)
        if technique is None:
            continue
        parent_id = parent_technique(technique_id)
        parent = table.techniques[parent_id] if parent_id else technique
        tactic_ids = technique.tactics or parent.tactics
        result.append(
            Attack(
                technique_id=parent_id or technique_id,
                technique=parent.name,
                sub_technique_id=technique_id if parent_id else None,
                sub_technique=technique.name if parent_id else None,
                tactics=tuple((tactic, table.tactics[tactic]) for tactic in tactic_ids),
            )
        )
    return tuple(result)


def mitigations(ioc_types: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the ids and names of the mitigations against these kinds of indicator, sorted."""
    table = taxonomy()
    ids = {
        mitigation
        for name in ioc_types
        if name in table.ioc_types
        for mitigation in table.ioc_types[name].mitigations
    }
    return tuple((mitigation, table.mitigations[mitigation]) for mitigation in sorted(ids))

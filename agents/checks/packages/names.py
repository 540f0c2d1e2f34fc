"""Detects package names that imitate a well-known one, by lookups only."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from rapidfuzz.distance import OSA

from agents.checks.packages.combinations import (
    MOST_TERMS,
    judge_combination,
    judge_family_name,
)
from agents.checks.packages.name_index import NAME_LIMIT, NameIndex, name_index
from agents.checks.packages.name_verdict import NameVerdict
from agents.checks.packages.slips import WEAK, compact_of, one_edit
from agents.checks.packages.typos import is_plug_in, judge_typo
from agents.checks.packages.versions import CACHE_SIZE
from schemas.severity import Severity

_PAIR: Final = 2
_LONGEST: Final = 128
_OWN_FLOOR: Final = 6


@lru_cache(CACHE_SIZE)
def judge_name(name: str) -> NameVerdict | None:
    """Return what a package name imitates, None if nothing.

    Args:
        name: The name in canonical form (PEP 503).

    Returns:
        The most severe verdict. Names of known legitimate packages imitate none; that exemption
        must not depend on downloads alone, so callers ask intelligence first.

    Source: Neupane et al., Beyond Typosquatting (USENIX Security 2023) for the mechanisms;
    SymSpell for the deletion neighbourhood.
    """
    index = name_index()
    if name in index.table.known or not name or len(name) > _LONGEST:
        return None
    return judge_unknown(name, index)


def judge_unknown(name: str, index: NameIndex) -> NameVerdict | None:
    """Return what a canonical name imitates, whether or not it is itself known."""
    if is_plug_in(name, index) and name.rpartition("-")[2] not in index.table.claims:
        typo = judge_typo(name, index) if len(name) <= NAME_LIMIT else None
        return typo or judge_family_name(name, index)
    if len(name) <= NAME_LIMIT:
        typo = judge_typo(name, index)
        if typo is not None and typo.severity is not Severity.LOW:
            return typo
        found = [
            verdict for verdict in (judge_combination(name, index), typo) if verdict is not None
        ]
        # If two verdicts are equal, take the one that explains more of the name.
        return max(
            found, key=lambda verdict: (verdict.severity.rank, len(verdict.target)), default=None
        )
    return judge_combination(name, index)


@lru_cache(CACHE_SIZE)
def is_plausible(name: str) -> bool:
    """Return whether an unknown name looks invented by a language model.

    Such a name has two to five words, all of them words of known packages, and one of them a
    well-known package or brand itself.

    Source: Spracklen et al., We Have a Package for You! (USENIX Security 2025): invented names
    are recombinations, not misspellings.
    """
    index = name_index()
    if name in index.table.known or is_plug_in(name, index):
        return False
    terms = name.split("-")
    if not _PAIR <= len(terms) <= MOST_TERMS:
        return False
    return all(term in index.vocabulary for term in terms) and any(
        term in index.anchors for term in terms
    )


def slip_of(name: str, targets: tuple[str, ...]) -> str | None:
    """Return the one of a few names (a tenant's own) that is one typing error from `name`."""
    for target in targets:
        if name == target or len(target) < _OWN_FLOOR:
            continue
        if OSA.distance(name, target, score_cutoff=1) == 1:
            edit = one_edit(compact_of(name), compact_of(target))
            if edit is None or edit[1] > WEAK:
                return target
    return None

"""Indexes over the well-known package names, computed once."""

from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from agents.checks.packages.popularity import NameTable, name_table
from agents.checks.packages.slips import compact_of, deletes, folded, looks, undoubled

NAME_LIMIT: Final = 48
"""Longest name that is compared letter by letter; imitations are shorter."""
TWO_EDIT_FLOOR: Final = 10
"""Letters a target must have for two edits to be a typing error rather than another word."""
VERY_POPULAR: Final = 300
SHORT_TERM: Final = 4
FOLDED_FLOOR: Final = 6
"""Letters of a folded name below which several slips yield an unrelated name."""
_TWO_EDIT_TARGETS: Final = 350
_TWO_EDIT_LETTERS: Final = 13
"""Letters of a less popular target from which two edits are a typing error."""
_DOUBLED_BELOW: Final = 450
_ANCHORS: Final = 1000
_ANCHOR_FLOOR: Final = 10
"""Letters from which a less popular name is borrowed too: `torch-geometric`, `detectron2`."""
_GENERIC_FLOOR: Final = 5
"""Least letters of a generic word whose misspellings are recognised."""


class NameIndex(msgspec.Struct, frozen=True):
    """The indexes that the judgement of a name looks up."""

    table: NameTable
    near: dict[str, tuple[str, ...]]
    """Popular names by their deletion neighbourhood (SymSpell), without separators."""
    far: dict[tuple[str, int], tuple[str, ...]]
    """Long and very popular names by first letter and length."""
    skeletons: dict[str, str]
    undoubled: dict[str, str]
    """Very popular names with each doubled letter written once."""
    folded: dict[str, tuple[str, ...]]
    """Popular names by the deletion neighbourhood of their folded form."""
    sorted_terms: dict[str, str]
    near_terms: dict[str, tuple[str, ...]]
    """Terms of hyphenated popular names by their deletion neighbourhood."""
    anchors: frozenset[str]
    """Known names that combinations borrow."""
    misspelt_generic: dict[str, str]
    """Long generic words by their deletion neighbourhood."""
    vocabulary: frozenset[str]


@cache
def name_index() -> NameIndex:
    """Return the indexes."""
    table = name_table()
    near: dict[str, list[str]] = {}
    far: dict[tuple[str, int], list[str]] = {}
    skeletons: dict[str, str] = {}
    undoubling: dict[str, str] = {}
    folding: dict[str, list[str]] = {}
    ordered: dict[str, str] = {}
    parts: set[str] = set()
    for name in sorted(table.ranks, key=lambda known_name: (table.ranks[known_name], known_name)):
        compact = compact_of(name)
        if len(compact) < SHORT_TERM or len(name) > NAME_LIMIT:
            continue
        for key in deletes(compact):
            near.setdefault(key, []).append(name)
        long = _TWO_EDIT_LETTERS if table.ranks[name] >= _TWO_EDIT_TARGETS else TWO_EDIT_FLOOR
        if len(compact) >= long:
            far.setdefault((compact[0], len(compact)), []).append(name)
        skeletons.setdefault(looks(name), name)
        if table.ranks[name] < _DOUBLED_BELOW:
            undoubling.setdefault(undoubled(compact), name)
        fold = folded(name)
        if len(fold) >= FOLDED_FLOOR:
            for key in deletes(fold):
                folding.setdefault(key, []).append(name)
        if "-" in name:
            if name in table.curated:
                ordered.setdefault("-".join(sorted(name.split("-"))), name)
            parts.update(term for term in name.split("-") if len(term) >= SHORT_TERM)
    anchors = frozenset(
        name
        for name, rank in table.ranks.items()
        if (rank < _ANCHORS or len(name) >= _ANCHOR_FLOOR)
        and len(name) >= SHORT_TERM
        and name not in table.bait
        and name not in table.words
    )
    terms = {term for name in table.curated for term in name.split("-") if len(term) > 1}
    return NameIndex(
        table=table,
        near={key: tuple(names) for key, names in near.items()},
        far={key: tuple(names) for key, names in far.items()},
        skeletons=skeletons,
        undoubled=undoubling,
        folded={key: tuple(names) for key, names in folding.items()},
        sorted_terms=ordered,
        near_terms=_neighbourhoods(parts),
        anchors=anchors | table.brands,
        misspelt_generic={
            key: word
            for word in sorted(table.generic)
            if len(word) >= _GENERIC_FLOOR
            for key in deletes(word)
        },
        vocabulary=frozenset(terms) | table.bait | table.claims | table.words,
    )


def _neighbourhoods(words: set[str]) -> dict[str, tuple[str, ...]]:
    """Return words by their deletion neighbourhood."""
    found: dict[str, list[str]] = {}
    for word in sorted(words):
        for key in deletes(word):
            found.setdefault(key, []).append(word)
    return {key: tuple(near) for key, near in found.items()}

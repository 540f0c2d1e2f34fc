"""Detects package names that imitate a well-known one, by lookups only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final

import msgspec
from rapidfuzz.distance import OSA

from agents.checks.packages.popularity import NameTable, name_table
from agents.checks.packages.slips import (
    INSIGNIFICANT,
    PLAIN,
    SIMILAR,
    STRONG,
    WEAK,
    compact_of,
    deletes,
    is_shuffled,
    looks,
    one_edit,
    undoubled,
)
from agents.checks.packages.versions import CACHE_SIZE
from schemas.severity import Severity

NAME_LIMIT: Final = 48
"""Longest name that is compared letter by letter; imitations are shorter."""
TWO_EDIT_FLOOR: Final = 10
"""Letters a target must have for two edits to be a typing error rather than another word."""
TWO_EDIT_TARGETS: Final = 350
_TYPO: Final = "TW-PKG-TYPOSQUAT"
_COMBO: Final = "TW-PKG-COMBOSQUAT"
_BRAND: Final = "TW-PKG-BRAND"
_PAIR: Final = 2
_LONG_TERM: Final = 6
_ANCHORS: Final = 700
_ANCHOR_FLOOR: Final = 4
_TERM_FLOOR: Final = 5
_MOST_TERMS: Final = 5
_FRONTS: Final = frozenset({"python", "py", "lib", "pip", "open", "free", "real", "easy"})
_FAR_LIMIT: Final = 26
_SIGNIFICANT_LETTERS: Final = 8
_SHORT_TERM: Final = 4
_UNMISTAKABLE: Final = 12
"""Letters of a name that few other names resemble, even if one short term differs."""
_MOST_POPULAR: Final = 350
_DOUBLED_BELOW: Final = 450
_AFFIXES: Final = frozenset({"py", "ai", "ml", "db", "io", "my", "go", "js", "tf"})
_HEAD: Final = 3
_VERY_POPULAR: Final = 300
_MUCH_IMITATED: Final = 150
_LONGEST: Final = 128
_OWN_FLOOR: Final = 6


class NameVerdict(msgspec.Struct, frozen=True):
    """The target that a name imitates, and the technique."""

    rule_id: str
    severity: Severity
    confidence: float
    target: str
    technique: str
    """transposed letters, look-alike characters, separators ..., for the evidence."""


class _Index(msgspec.Struct, frozen=True):
    """Indexes over the popular names, computed once."""

    table: NameTable
    near: dict[str, tuple[str, ...]]
    """Popular names by their deletion neighbourhood (SymSpell), without separators."""
    far: dict[tuple[str, int], tuple[str, ...]]
    """Long and very popular names by first letter and length."""
    skeletons: dict[str, str]
    undoubled: dict[str, str]
    """Very popular names with each doubled letter written once."""
    sorted_terms: dict[str, str]
    anchors: frozenset[str]
    vocabulary: frozenset[str]


@cache
def _index() -> _Index:
    table = name_table()
    near: dict[str, list[str]] = {}
    far: dict[tuple[str, int], list[str]] = {}
    skeletons: dict[str, str] = {}
    undoubling: dict[str, str] = {}
    ordered: dict[str, str] = {}
    for name in sorted(table.ranks, key=lambda one: (table.ranks[one], one)):
        compact = compact_of(name)
        if len(compact) < _ANCHOR_FLOOR or len(name) > NAME_LIMIT:
            continue
        for key in deletes(compact):
            near.setdefault(key, []).append(name)
        if len(compact) >= TWO_EDIT_FLOOR and table.ranks[name] < TWO_EDIT_TARGETS:
            far.setdefault((compact[0], len(compact)), []).append(name)
        skeletons.setdefault(looks(name), name)
        if table.ranks[name] < _DOUBLED_BELOW:
            undoubling.setdefault(undoubled(compact), name)
        if "-" in name and table.ranks[name] < _VERY_POPULAR:
            ordered.setdefault("-".join(sorted(name.split("-"))), name)
    anchors = frozenset(
        name
        for name, rank in table.ranks.items()
        if rank < _ANCHORS
        and len(name) >= _ANCHOR_FLOOR
        and name not in table.bait
        and name not in table.words
    )
    terms = {term for name in table.known for term in name.split("-") if len(term) > 1}
    return _Index(
        table=table,
        near={key: tuple(names) for key, names in near.items()},
        far={key: tuple(names) for key, names in far.items()},
        skeletons=skeletons,
        undoubled=undoubling,
        sorted_terms=ordered,
        anchors=anchors | table.brands,
        vocabulary=frozenset(terms) | table.bait | table.claims | table.words,
    )


def _edited_term(name: str, target: str) -> tuple[str, str] | None:
    """Return the one term of two hyphenated names that differs; None if more than one does."""
    one, other = name.split("-"), target.split("-")
    if len(one) != len(other):
        return None
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    return pairs[0] if len(pairs) == 1 else None


_SEVERITIES: Final[dict[int, tuple[tuple[int, int, Severity], ...]]] = {
    STRONG: (
        (11, 10_000, Severity.HIGH),
        (8, 650, Severity.HIGH),
        (6, 400, Severity.HIGH),
        (5, 250, Severity.HIGH),
        (5, 650, Severity.LOW),
        (8, 10_000, Severity.LOW),
        (4, 250, Severity.MEDIUM),
        (4, 450, Severity.LOW),
    ),
    PLAIN: (
        (10, 300, Severity.HIGH),
        (12, 10_000, Severity.MEDIUM),
        (6, 100, Severity.MEDIUM),
        (6, 450, Severity.LOW),
        (9, 10_000, Severity.LOW),
        (5, 50, Severity.MEDIUM),
        (5, 150, Severity.LOW),
    ),
    WEAK: ((5, 800, Severity.LOW),),
}
"""By significance of the edit: minimum letters, maximum rank, severity; the first match wins."""


def _slip_severity(strength: int, letters: int, rank: int) -> Severity | None:
    """Return the severity of one edit: higher for longer and more popular targets."""
    for floor, below, severity in _SEVERITIES.get(strength, ()):
        if letters >= floor and rank < below:
            return severity
    return None


def _offer(target: str, technique: str, severity: Severity, confidence: float) -> NameVerdict:
    return NameVerdict(_TYPO, severity, confidence, target, technique)


def _whole_name(name: str, index: _Index) -> Iterator[NameVerdict]:
    """Yield the targets a whole name imitates: by look, separators, or order of words."""
    compact, ranks = compact_of(name), index.table.ranks
    folded = index.skeletons.get(looks(name))
    if folded is not None and folded != name:
        if compact_of(folded) == compact:
            significant = len(compact) >= _SIGNIFICANT_LETTERS and ranks[folded] < _VERY_POPULAR
            yield _offer(
                folded, "separators", Severity.MEDIUM if significant else Severity.LOW, 0.7
            )
        elif len(compact) >= _SHORT_TERM or not name.isascii():
            yield _offer(folded, "look-alike characters", Severity.HIGH, 0.95)
    doubled = index.undoubled.get(undoubled(compact))
    if doubled is not None and compact_of(doubled) != compact:
        severity = _slip_severity(_word_strength(name, STRONG, index), len(compact), ranks[doubled])
        if severity is not None and abs(len(compact) - len(compact_of(doubled))) <= _PAIR:
            yield _offer(doubled, "doubled letters", severity, 0.85)
    if "-" not in name:
        return
    swapped = index.sorted_terms.get("-".join(sorted(name.split("-"))))
    if swapped is not None and swapped != name and len(compact) >= TWO_EDIT_FLOOR:
        yield _offer(swapped, "words in another order", Severity.MEDIUM, 0.6)


def _word_strength(word: str, strength: int, index: _Index) -> int:
    """Return the significance of an edit, reduced if it yields one or two ordinary words."""
    if word in index.table.words or _is_compound(word, index):
        return min(strength, WEAK)
    return strength


def _is_compound(word: str, index: _Index) -> bool:
    """Return whether a word is a compound of known ones, like `filestore` beside `firestore`."""
    known = index.vocabulary
    for cut in range(_PAIR, len(word) - 1):
        head, tail = word[:cut], word[cut:]
        if (
            (head in _AFFIXES or (cut >= _SHORT_TERM and head in known))
            and (tail in _AFFIXES or (len(tail) >= _SHORT_TERM and tail in known))
            and max(len(head), len(tail)) >= _SHORT_TERM
        ):
            return True
    return False


def _has_other_head(name: str, target: str, index: _Index) -> bool:
    """Return whether two names are a known word after different short prefixes: `pacparser`."""
    same = 0
    while same < min(len(name), len(target)) and name[-1 - same] == target[-1 - same]:
        same += 1
    start = max(len(name), len(target)) - same
    return start <= _HEAD and any(
        len(name) - cut >= _TERM_FLOOR and name[cut:] in index.vocabulary
        for cut in range(start, _HEAD + 1)
    )


def _near_slip(name: str, target: str, index: _Index) -> NameVerdict | None:
    """Return the verdict on a name one edit from a target; hyphenated names term by term."""
    compact, other = compact_of(name), compact_of(target)
    edit = one_edit(compact, other)
    if edit is None:
        return None
    technique, strength = edit
    rank = index.table.ranks[target]
    if "-" in name or "-" in target:
        pair = _edited_term(name, target)
        if pair is None:
            if strength != STRONG:
                return None
        else:
            technique, strength = one_edit(*pair) or edit
            strength = _term_strength(pair, strength, rank, len(other), index)
    else:
        strength = _word_strength(name, strength, index)
        if strength == PLAIN and _has_other_head(name, target, index):
            strength = WEAK
    if technique == SIMILAR and rank >= _MUCH_IMITATED:
        strength = min(strength, PLAIN)
    severity = _slip_severity(strength, len(other), rank)
    if severity is None:
        return None
    if "-" in name and rank >= _VERY_POPULAR and _is_plug_in(name, index):
        severity = min(severity, Severity.LOW, key=lambda one: one.rank)
    return _offer(target, technique, severity, 0.85)


def _is_plug_in(name: str, index: _Index) -> bool:
    return name.startswith(index.table.families)


def _term_strength(
    pair: tuple[str, str], strength: int, rank: int, letters: int, index: _Index
) -> int:
    """Return the significance of an edit of one term of a name, the others being equal."""
    written, meant = pair
    unmistakable = letters >= _UNMISTAKABLE and rank < _MOST_POPULAR
    if written in index.table.words or written in index.vocabulary:
        # A different word makes a different name, except in the longest and most popular ones.
        significant = unmistakable and len(meant) >= _LONG_TERM and strength > INSIGNIFICANT
        return WEAK if significant else INSIGNIFICANT
    if min(len(written), len(meant)) < _SHORT_TERM:
        return PLAIN if unmistakable and strength == STRONG else INSIGNIFICANT
    if _is_compound(written, index):
        return INSIGNIFICANT
    if strength == WEAK:
        return WEAK if unmistakable else INSIGNIFICANT
    return min(strength, PLAIN) if len(meant) < _TERM_FLOOR else strength


def _far_slip(name: str, target: str, index: _Index) -> NameVerdict | None:
    """Return the verdict on a name two edits from a long, very popular target."""
    compact, other = compact_of(name), compact_of(target)
    if OSA.distance(compact, other, score_cutoff=_PAIR) != _PAIR:
        return None
    if compact[-1].isdigit() != other[-1].isdigit():
        return None
    if "-" in name or "-" in target:
        pair = _edited_term(name, target)
        if pair is None or pair[0] in index.vocabulary:
            return None
        if len(pair[1]) < TWO_EDIT_FLOOR - 1 and not is_shuffled(*pair):
            return None
    same = next((i for i, (a, b) in enumerate(zip(compact, other, strict=False)) if a != b), 0)
    if compact in index.vocabulary or compact[same:] in index.vocabulary:
        return None
    return _offer(target, "two slips", Severity.MEDIUM, 0.7)


def _typo(name: str, index: _Index) -> NameVerdict | None:
    found = list(_whole_name(name, index))
    compact = compact_of(name)
    for target in dict.fromkeys(t for key in deletes(compact) for t in index.near.get(key, ())):
        slip = _near_slip(name, target, index)
        if slip is not None:
            found.append(slip)
    if not found and TWO_EDIT_FLOOR - 1 <= len(compact) <= _FAR_LIMIT:
        for letters in range(len(compact) - 1, len(compact) + _PAIR):
            for target in index.far.get((compact[0], letters), ()):
                slip = _far_slip(name, target, index)
                if slip is not None:
                    found.append(slip)
    return max(found, key=lambda one: one.severity.rank, default=None)


def _glued(name: str, index: _Index) -> tuple[str, str] | None:
    """Split a name without hyphens into a known name and a generic word."""
    for cut in range(3, len(name) - 1):
        head, tail = name[:cut], name[cut:]
        if len(head) >= _TERM_FLOOR and head in index.anchors and tail in index.table.bait:
            return head, tail
        if head in _FRONTS and len(tail) >= _TERM_FLOOR and tail in index.anchors:
            return tail, head
    if name.startswith("py") and len(name) > _LONG_TERM and name[2:] in index.anchors:
        return name[2:], "py"
    return None


def _combo(name: str, index: _Index) -> NameVerdict | None:
    table = index.table
    terms = name.split("-")
    if len(terms) == 1:
        glued = _glued(name, index)
        return None if glued is None else _combined(glued[0], [glued[1]], table)
    if len(terms) > _MOST_TERMS:
        return None
    for size in range(len(terms) - 1, 0, -1):
        for start in range(len(terms) - size + 1):
            anchor = "-".join(terms[start : start + size])
            rest = terms[:start] + terms[start + size :]
            if anchor in index.anchors and all(_is_bait(term, table) for term in rest):
                return _combined(anchor, rest, table)
    return _misspelt_combo(terms, index)


def _is_bait(term: str, table: NameTable) -> bool:
    return term in table.generic or term.rstrip("0123456789") in table.generic


def _combined(anchor: str, rest: list[str], table: NameTable) -> NameVerdict:
    words = " ".join(rest)
    if anchor in table.brands and any(term in table.claims for term in rest):
        return NameVerdict(_BRAND, Severity.MEDIUM, 0.7, anchor, f"vendor's name with {words}")
    return NameVerdict(_COMBO, Severity.LOW, 0.5, anchor, f"known name with {words}")


def _misspelt_combo(terms: list[str], index: _Index) -> NameVerdict | None:
    """Return the verdict on a misspelt known name with generic words around it."""
    for place, term in enumerate(terms):
        rest = terms[:place] + terms[place + 1 :]
        if len(term) < _LONG_TERM or term in index.vocabulary:
            continue
        if not all(_is_bait(one, index.table) for one in rest):
            continue
        slip = _typo(term, index)
        if slip is not None and slip.severity.rank >= Severity.HIGH.rank:
            technique = f"{slip.technique}, with {' '.join(rest)}"
            return NameVerdict(_TYPO, Severity.MEDIUM, 0.75, slip.target, technique)
    return None


@lru_cache(CACHE_SIZE)
def judge_name(name: str) -> NameVerdict | None:
    """Return what a package name imitates, None for a name that imitates none.

    Args:
        name: The name in canonical form (PEP 503).

    Returns:
        The most severe verdict. Names of known legitimate packages imitate none; that exemption
        must not depend on downloads alone, so callers ask intelligence first.

    Source: Neupane et al., Beyond Typosquatting (USENIX Security 2023) for the mechanisms;
    SymSpell for the deletion neighbourhood.
    """
    index = _index()
    if name in index.table.known or not name or len(name) > _LONGEST:
        return None
    if _is_plug_in(name, index) and name.rpartition("-")[2] not in index.table.claims:
        return _typo(name, index) if len(name) <= NAME_LIMIT else None
    if len(name) <= NAME_LIMIT:
        typo = _typo(name, index)
        if typo is not None and typo.severity is not Severity.LOW:
            return typo
        return _combo(name, index) or typo
    return _combo(name, index)


@lru_cache(CACHE_SIZE)
def is_plausible(name: str) -> bool:
    """Return whether an unknown name looks invented by a language model.

    Such a name has two to five words, all of them words of known packages, and one of them a
    well-known package or brand itself.

    Source: Spracklen et al., We Have a Package for You! (USENIX Security 2025): invented names
    are recombinations, not misspellings.
    """
    index = _index()
    if name in index.table.known or _is_plug_in(name, index):
        return False
    terms = name.split("-")
    if not _PAIR <= len(terms) <= _MOST_TERMS:
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

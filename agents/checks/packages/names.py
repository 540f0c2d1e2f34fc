"""Whether a package name imitates a well-known one: one lookup, no scan of the table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import Final

import msgspec
from rapidfuzz.distance import OSA

from agents.checks.packages.popularity import NameTable, name_table
from agents.checks.packages.versions import CACHE_SIZE
from schemas.severity import Severity

NAME_LIMIT: Final = 48
"""Characters up to which a name is compared letter by letter; imitations are no longer."""
TWO_EDIT_FLOOR: Final = 10
"""Letters a target must have for two edits to be a slip rather than another word."""
TWO_EDIT_TARGETS: Final = 350
_TYPO: Final = "TW-PKG-TYPOSQUAT"
_COMBO: Final = "TW-PKG-COMBOSQUAT"
_BRAND: Final = "TW-PKG-BRAND"
_STRONG, _PLAIN, _WEAK = 2, 1, 0
_PAIR: Final = 2
_LONG_TERM: Final = 6
_ANCHORS: Final = 700
_ANCHOR_FLOOR: Final = 4
_TERM_FLOOR: Final = 5
_MOST_TERMS: Final = 5
_FRONTS: Final = frozenset({"python", "py", "lib", "pip", "open", "free", "real", "easy"})
_FAR_LIMIT: Final = 26
_TELLING_LETTERS: Final = 8
_VERY_POPULAR: Final = 300
_LONGEST: Final = 128
_OWN_FLOOR: Final = 6

_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS: Final = frozenset(
    pair for row in _ROWS for one, other in pairwise(row) for pair in ((one, other), (other, one))
) | frozenset(
    pair
    for upper, lower in pairwise(_ROWS)
    for index, one in enumerate(lower)
    for other in upper[index : index + 2]
    for pair in ((one, other), (other, one))
)
_SOUNDS: Final = frozenset(
    (one, other)
    for group in ("aeiou", "ck", "sz", "iy", "ckq", "bp", "dt", "mn", "fv", "jg", "uw", "vw")
    for one in group
    for other in group
    if one != other
)
_LOOKS: Final = str.maketrans(
    "0134578i"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0578\u043a\u043c\u0442"
    "\u043d\u0432\u03bf\u03b1\u03c1\u03bd\u03b9\u03c4\u03ba\u0131\u0261\u0142\u00f8"
    "\u00e9\u00e8\u00e1\u00e0\u00f6\u00fc\u00f1\u00e7\u04cf\u0501\u0251",
    "oleastblaeopcyxlsnkmthboapvltklgloeeaaounclda",
)
"""What the eye takes for another letter: digits, and Cyrillic, Greek and accented letters."""


class NameVerdict(msgspec.Struct, frozen=True):
    """What a name imitates, and how."""

    rule_id: str
    severity: Severity
    confidence: float
    target: str
    technique: str
    """transposed letters, look-alike characters, separators ..., for the evidence."""


def looks(name: str) -> str:
    """Return a name folded to what the eye sees (0 as o, rn as m, Cyrillic as Latin)."""
    return name.translate(_LOOKS).replace("rn", "m").replace("vv", "w").replace("-", "")


def _compact(name: str) -> str:
    return name.replace("-", "")


def _deletes(text: str) -> Iterator[str]:
    yield text
    for index in range(len(text)):
        if index and text[index] == text[index - 1]:
            continue
        yield text[:index] + text[index + 1 :]


class _Index(msgspec.Struct, frozen=True):
    """Everything about the popular names that is computed once."""

    table: NameTable
    near: dict[str, tuple[str, ...]]
    """Popular names by their deletion neighbourhood (SymSpell), without separators."""
    far: dict[str, tuple[str, ...]]
    """Long and very popular names, without separators, by their first letter."""
    skeletons: dict[str, str]
    sorted_terms: dict[str, str]
    anchors: frozenset[str]
    vocabulary: frozenset[str]


@cache
def _index() -> _Index:
    table = name_table()
    near: dict[str, list[str]] = {}
    far: dict[str, list[str]] = {}
    skeletons: dict[str, str] = {}
    ordered: dict[str, str] = {}
    for name in sorted(table.ranks, key=lambda one: (table.ranks[one], one)):
        compact = _compact(name)
        if len(compact) < _ANCHOR_FLOOR or len(name) > NAME_LIMIT:
            continue
        for key in _deletes(compact):
            near.setdefault(key, []).append(name)
        if len(compact) >= TWO_EDIT_FLOOR and table.ranks[name] < TWO_EDIT_TARGETS:
            far.setdefault(compact[0], []).append(name)
        skeletons.setdefault(looks(name), name)
        if "-" in name:
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
        sorted_terms=ordered,
        anchors=anchors | table.brands,
        vocabulary=frozenset(terms) | table.bait | table.claims | table.words,
    )


def _one_edit(name: str, target: str) -> tuple[str, int] | None:
    """Return how two texts that are one edit apart differ, and how telling that is."""
    if len(name) == len(target):
        places = [index for index, (a, b) in enumerate(zip(name, target, strict=True)) if a != b]
        if len(places) == _PAIR and places[1] == places[0] + 1:
            first = places[0]
            if name[first] == target[first + 1] and name[first + 1] == target[first]:
                digits = name[first].isdigit() or name[first + 1].isdigit()
                return "transposed letters", _WEAK if digits else _STRONG
        if len(places) != 1:
            return None
        place = places[0]
        pair = (name[place], target[place])
        if pair[0].isdigit() and pair[1].isdigit():
            return "another number", _WEAK
        if pair[0].isdigit() or pair[1].isdigit():
            return "a digit for a letter", _PLAIN if place else _WEAK
        if place == 0:
            return "another first letter", _WEAK
        if place == len(target) - 1 and pair not in _NEIGHBOURS and pair not in _SOUNDS:
            return "another last letter", _WEAK
        if place == len(target) - 1:
            return "another last letter", _PLAIN
        if pair in _NEIGHBOURS:
            return "neighbouring key", _STRONG
        if pair in _SOUNDS:
            return "similar letter", _STRONG
        return "another letter", _PLAIN
    longer, shorter = (name, target) if len(name) > len(target) else (target, name)
    if len(longer) != len(shorter) + 1:
        return None
    place = next(
        (i for i, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter)
    )
    if longer[place + 1 :] != shorter[place:]:
        return None
    letter = longer[place]
    added = longer is name
    if letter.isdigit():
        return ("number added" if added else "number left out"), _WEAK
    doubled = (place > 0 and longer[place - 1] == letter) or longer[place + 1 : place + 2] == letter
    if doubled:
        return ("doubled letter" if added else "letter left out"), _STRONG
    if place == 0:
        return ("letter added in front" if added else "first letter left out"), _WEAK
    if place == len(shorter):
        if letter == "s":
            return ("plural" if added else "singular"), _PLAIN if not added else _WEAK
        return ("letter added" if added else "letter left out"), _WEAK if added else _PLAIN
    if not added:
        return "letter left out", _STRONG
    slip = any((letter, other) in _NEIGHBOURS for other in (longer[place - 1], longer[place + 1]))
    return "letter added", _STRONG if slip else _PLAIN


def _edited_term(name: str, target: str) -> tuple[str, str] | None:
    """Return the one term of two hyphenated names that differs; None if more than one does."""
    one, other = name.split("-"), target.split("-")
    if len(one) != len(other):
        return None
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    return pairs[0] if len(pairs) == 1 else None


_SEVERITIES: Final[dict[int, tuple[tuple[int, int, Severity], ...]]] = {
    _STRONG: (
        (11, 10_000, Severity.HIGH),
        (8, 650, Severity.HIGH),
        (6, 400, Severity.HIGH),
        (5, 250, Severity.HIGH),
        (5, 10_000, Severity.LOW),
        (4, 250, Severity.MEDIUM),
        (4, 450, Severity.LOW),
    ),
    _PLAIN: (
        (8, 300, Severity.HIGH),
        (12, 10_000, Severity.MEDIUM),
        (6, 150, Severity.HIGH),
        (6, 10_000, Severity.LOW),
        (5, 150, Severity.MEDIUM),
    ),
    _WEAK: ((5, 800, Severity.LOW),),
}
"""By how telling an edit is: letters at least, rank below, severity; the first that fits."""


def _slip_severity(strength: int, letters: int, rank: int) -> Severity | None:
    """Return how bad one edit is: the more popular and the longer the target, the worse."""
    for floor, below, severity in _SEVERITIES[strength]:
        if letters >= floor and rank < below:
            return severity
    return None


def _offer(target: str, technique: str, severity: Severity, confidence: float) -> NameVerdict:
    return NameVerdict(_TYPO, severity, confidence, target, technique)


def _whole_name(name: str, index: _Index) -> Iterator[NameVerdict]:
    """Yield what a name imitates as a whole: its look, its separators, the order of its words."""
    compact, ranks = _compact(name), index.table.ranks
    folded = index.skeletons.get(looks(name))
    if folded is not None and folded != name:
        if _compact(folded) == compact:
            telling = len(compact) >= _TELLING_LETTERS and ranks[folded] < _VERY_POPULAR
            yield _offer(folded, "separators", Severity.MEDIUM if telling else Severity.LOW, 0.7)
        elif len(compact) >= _TERM_FLOOR or not name.isascii():
            yield _offer(folded, "look-alike characters", Severity.HIGH, 0.95)
    if "-" not in name:
        return
    swapped = index.sorted_terms.get("-".join(sorted(name.split("-"))))
    if swapped is not None and swapped != name and len(compact) >= TWO_EDIT_FLOOR:
        telling = ranks[swapped] < _VERY_POPULAR
        severity = Severity.MEDIUM if telling else Severity.LOW
        yield _offer(swapped, "words in another order", severity, 0.6)


def _near_slip(name: str, target: str, index: _Index) -> NameVerdict | None:
    """Return the verdict on a name one edit from a target; hyphenated names term by term."""
    edit = _one_edit(_compact(name), _compact(target))
    if edit is None:
        return None
    technique, strength = edit
    if "-" in name or "-" in target:
        pair = _edited_term(name, target)
        if pair is None:
            if strength != _STRONG:
                return None
        else:
            technique, strength = _one_edit(*pair) or edit
            if min(map(len, pair)) < _TERM_FLOOR - 1 or pair[0] in index.vocabulary:
                return None
            if len(pair[1]) < _TERM_FLOOR:
                strength = min(strength, _PLAIN)
            if strength == _WEAK:
                return None
    elif name in index.table.words:
        strength = _WEAK
    letters, rank = len(_compact(target)), index.table.ranks[target]
    severity = _slip_severity(strength, letters, rank)
    return None if severity is None else _offer(target, technique, severity, 0.85)


def _far_slip(name: str, target: str, index: _Index) -> NameVerdict | None:
    """Return the verdict on a name two edits from a long, very popular target."""
    compact, other = _compact(name), _compact(target)
    if (
        abs(len(compact) - len(other)) > 1
        or OSA.distance(compact, other, score_cutoff=_PAIR) != _PAIR
    ):
        return None
    if compact[-1].isdigit() != other[-1].isdigit():
        return None
    if "-" in name or "-" in target:
        pair = _edited_term(name, target)
        if pair is None or len(pair[1]) < TWO_EDIT_FLOOR - 1 or pair[0] in index.vocabulary:
            return None
    same = next((i for i, (a, b) in enumerate(zip(compact, other, strict=False)) if a != b), 0)
    if compact in index.vocabulary or compact[same:] in index.vocabulary:
        return None
    return _offer(target, "two slips", Severity.MEDIUM, 0.7)


def _typo(name: str, index: _Index) -> NameVerdict | None:
    found = list(_whole_name(name, index))
    compact = _compact(name)
    for target in dict.fromkeys(t for key in _deletes(compact) for t in index.near.get(key, ())):
        slip = _near_slip(name, target, index)
        if slip is not None:
            found.append(slip)
    if not found and TWO_EDIT_FLOOR - 1 <= len(compact) <= _FAR_LIMIT:
        for target in index.far.get(compact[0], ()):
            slip = _far_slip(name, target, index)
            if slip is not None:
                found.append(slip)
    return max(found, key=lambda one: one.severity.rank, default=None)


def _glued(name: str, index: _Index) -> tuple[str, str] | None:
    """Return the known name and the generic word that a name without hyphens consists of."""
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
    return term in table.bait or term in table.claims or term.isdigit()


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
        The worst reading of it. Names known to be somebody's honest package imitate none; whether
        they are exempt must not depend on downloads alone, so callers ask intelligence first.

    Source: Neupane et al., Beyond Typosquatting (USENIX Security 2023) for the mechanisms;
    SymSpell for the deletion neighbourhood.
    """
    index = _index()
    if name in index.table.known or not name or len(name) > _LONGEST:
        return None
    if any(name.startswith(family) for family in index.table.families):
        return _typo(name, index) if len(name) <= NAME_LIMIT else None
    if len(name) <= NAME_LIMIT:
        typo = _typo(name, index)
        if typo is not None and typo.severity is not Severity.LOW:
            return typo
        return _combo(name, index) or typo
    return _combo(name, index)


@lru_cache(CACHE_SIZE)
def is_plausible(name: str) -> bool:
    """Tell whether an unknown name is made of words a language model would put together.

    That is: two to five words, each of them a word of known packages, one of them a well-known
    package or brand itself.

    Source: Spracklen et al., We Have a Package for You! (USENIX Security 2025): invented names
    are recombinations, not misspellings.
    """
    index = _index()
    if name in index.table.known or any(name.startswith(one) for one in index.table.families):
        return False
    terms = name.split("-")
    if not _PAIR <= len(terms) <= _MOST_TERMS:
        return False
    return all(term in index.vocabulary for term in terms) and any(
        term in index.anchors for term in terms
    )


def slip_of(name: str, targets: tuple[str, ...]) -> str | None:
    """Return the one of a few names (a tenant's own) that `name` is a single slip from."""
    for target in targets:
        if name == target or len(target) < _OWN_FLOOR:
            continue
        if OSA.distance(name, target, score_cutoff=1) == 1:
            edit = _one_edit(_compact(name), _compact(target))
            if edit is None or edit[1] != _WEAK:
                return target
    return None

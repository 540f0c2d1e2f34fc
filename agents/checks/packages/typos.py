"""Judges names that differ from a well-known one by typing errors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

from rapidfuzz.distance import OSA

from agents.checks.packages.name_index import (
    FOLDED_FLOOR,
    NAME_LIMIT,
    SHORT_TERM,
    TWO_EDIT_FLOOR,
    VERY_POPULAR,
    NameIndex,
)
from agents.checks.packages.name_verdict import TYPO, NameVerdict
from agents.checks.packages.popularity import WELL_KNOWN_RANK
from agents.checks.packages.slips import (
    EVIDENT,
    INSIGNIFICANT,
    PLAIN,
    SIMILAR,
    STRONG,
    WEAK,
    compact_of,
    deletes,
    digits_of,
    folded,
    is_shuffled,
    looks,
    one_edit,
    undoubled,
)
from schemas.severity import Severity

SEPARATORS: Final = "separators"
SEVERAL: Final = "several slips"
SHORT: Final = -2
"""A slip in a term too short to tell a slip from another word: the other terms decide."""
_PAIR: Final = 2
_LONG_TERM: Final = 6
_DIGITS: Final = "0123456789"
_TERM_FLOOR: Final = 5
_FAR_LIMIT: Final = 26
_SIGNIFICANT_LETTERS: Final = 8
_UNMISTAKABLE: Final = 12
"""Letters of a name that few other names resemble, even if one short term differs."""
_MOST_POPULAR: Final = 350
_SHORT_BELOW: Final = 60
"""Rank of a short name from which other words differ from it by one letter as often as slips do."""
_DOUBLE_SLIP_BELOW: Final = 450
"""Rank of a shorter name that is recognised in spite of two slips, one of them evident."""
_AFFIXES: Final = frozenset({"py", "ai", "ml", "db", "io", "my", "go", "js", "tf"})
_HEAD: Final = 3
_MUCH_IMITATED: Final = 150
_MOST_TERMS: Final = 5
_MEANT: Final = 4
"""Words that one term may have been meant as."""


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
        (6, 10_000, Severity.LOW),
        (4, 250, Severity.MEDIUM),
        (4, 450, Severity.LOW),
    ),
    PLAIN: (
        (10, 300, Severity.HIGH),
        (12, 10_000, Severity.MEDIUM),
        (7, 100, Severity.MEDIUM),
        (6, 450, Severity.LOW),
        (9, 10_000, Severity.LOW),
        (5, 150, Severity.LOW),
    ),
    WEAK: ((5, 800, Severity.LOW), (13, 10_000, Severity.LOW)),
}
"""By significance of the edit: minimum letters, maximum rank, severity; the first match wins."""
_RARE: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "transposed letters": ((4, 300), (5, 450), (7, 10_000)),
    "doubled letter": ((6, 10_000),),
    "doubled letters": ((6, 10_000),),
    "neighbouring key": ((8, 10_000),),
    SIMILAR: ((8, 450), (10, 10_000)),
    "first letter left out": ((9, 450),),
    "letter left out": ((7, 450), (12, 10_000)),
    "letter added": ((8, 450), (13, 10_000)),
    "another first letter": ((9, 450), (13, 10_000)),
    "another last letter": ((9, 450),),
    "plural": ((4, 300), (6, 450), (10, 10_000)),
    "singular": ((9, 450), (10, 1000)),
}
"""Slips that are rare among legitimate names: minimum letters and maximum rank to be above low.

Chosen by counting: each row matches at most a few of 140,000 names drawn from the public index.
"""
_SEPARATED: Final = ((6, 300), (8, 450), (14, 1000))
"""Letters and rank from which a name that differs by separators alone is above low."""
_RARE_IN_TERM: Final[dict[str, int]] = {
    "letter left out": 8,
    "neighbouring key": 8,
    SIMILAR: 8,
    "another letter": 8,
    "letter added": 10,
    "plural": 10,
    "another last letter": 10,
    "first letter left out": 10,
}
"""The same of one term of a name whose other terms are the target's: minimum letters of both."""


def _slip_severity(strength: int, letters: int, rank: int) -> Severity | None:
    """Return the severity of one edit: higher for longer and more popular targets."""
    for floor, below, severity in _SEVERITIES.get(strength, ()):
        if letters >= floor and rank < below:
            return severity
    return None


def _is_rare(technique: str, letters: int, rank: int, *, in_term: bool) -> bool:
    """Return whether legitimate names rarely differ from a known one by such a slip."""
    if in_term and letters >= _RARE_IN_TERM.get(technique, NAME_LIMIT):
        return True
    return any(letters >= floor and rank < below for floor, below in _RARE.get(technique, ()))


def _offer(target: str, technique: str, severity: Severity, confidence: float) -> NameVerdict:
    return NameVerdict(TYPO, severity, confidence, target, technique)


def _whole_name(name: str, index: NameIndex) -> Iterator[NameVerdict]:
    """Yield the targets a whole name imitates: by look, separators, or order of words."""
    compact, ranks = compact_of(name), index.table.ranks
    folded = index.skeletons.get(looks(name))
    if folded is not None and folded != name:
        if compact_of(folded) == compact:
            significant = any(
                len(compact) >= floor and ranks[folded] < below for floor, below in _SEPARATED
            )
            yield _offer(folded, SEPARATORS, Severity.MEDIUM if significant else Severity.LOW, 0.7)
        elif len(compact) >= SHORT_TERM or not name.isascii():
            unlikely = _is_unlikely(compact, compact_of(folded))
            yield _offer(
                folded, "look-alike characters", Severity.LOW if unlikely else Severity.HIGH, 0.95
            )
    doubled = index.undoubled.get(undoubled(compact))
    if doubled is not None and compact_of(doubled) != compact and not _is_renumbered(name, doubled):
        severity = _slip_severity(_word_strength(name, STRONG, index), len(compact), ranks[doubled])
        if severity is not None and _is_tripled(compact, compact_of(doubled)):
            severity = max(severity, Severity.MEDIUM, key=lambda level: level.rank)
        if severity is not None and abs(len(compact) - len(compact_of(doubled))) <= _PAIR:
            yield _offer(doubled, "doubled letters", severity, 0.85)
    if "-" not in name:
        return
    swapped = index.sorted_terms.get("-".join(sorted(name.split("-"))))
    if swapped is not None and swapped != name and len(compact) >= TWO_EDIT_FLOOR:
        severity = Severity.MEDIUM if ranks[swapped] < WELL_KNOWN_RANK else Severity.LOW
        yield _offer(swapped, "words in another order", severity, 0.6)


def _is_tripled(name: str, target: str) -> bool:
    """Return whether only the name has three of one letter in a row, as no word has."""
    return any(
        a == b == c and a.isalpha() and 3 * a not in target
        for a, b, c in zip(name, name[1:], name[2:], strict=False)
    )


def _is_renumbered(name: str, target: str) -> bool:
    """Return whether a name differs from its target in a number of several digits: `cu112`."""
    digits = digits_of(target)
    return len(digits) >= _PAIR and digits_of(name) != digits


def _word_strength(word: str, strength: int, index: NameIndex) -> int:
    """Return the significance of an edit, reduced if it yields one or two ordinary words."""
    if word in index.table.words or _is_compound(word, index):
        return min(strength, WEAK)
    return strength


def _is_compound(word: str, index: NameIndex) -> bool:
    """Return whether a word is a compound of known ones, like `filestore` beside `firestore`."""
    known = index.vocabulary
    for cut in range(_PAIR, len(word) - 1):
        head, tail = word[:cut], word[cut:]
        if (
            (head in _AFFIXES or (cut >= SHORT_TERM and head in known))
            and (tail in _AFFIXES or (len(tail) >= SHORT_TERM and tail in known))
            and max(len(head), len(tail)) >= SHORT_TERM
        ):
            return True
    return False


def _has_other_head(name: str, target: str, index: NameIndex) -> bool:
    """Return whether two names are a known word after different short prefixes: `pacparser`."""
    same = 0
    while same < min(len(name), len(target)) and name[-1 - same] == target[-1 - same]:
        same += 1
    start = max(len(name), len(target)) - same
    return start <= _HEAD and any(
        len(name) - cut >= _TERM_FLOOR and name[cut:] in index.vocabulary
        for cut in range(start, _HEAD + 1)
    )


def _near_slip(name: str, target: str, index: NameIndex) -> NameVerdict | None:
    """Return the verdict on a name one edit from a target; hyphenated names term by term."""
    compact, other = compact_of(name), compact_of(target)
    edit = one_edit(compact, other)
    if edit is None:
        return None
    technique, strength = edit
    rank = index.table.ranks[target]
    in_term = apart = False
    pair = None
    if "-" in name or "-" in target:
        pair = _edited_term(name, target)
        if pair is None:
            apart = True
            if strength != STRONG:
                return None
            judged = strength
        else:
            technique, strength = one_edit(*pair) or edit
            judged = _term_strength(pair, strength, rank, len(other), index)
            if judged == SHORT:
                return _short_slip(target, technique, pair, index)
            in_term = len(pair[1]) >= _TERM_FLOOR
    else:
        judged = _word_strength(name, strength, index)
        if judged == PLAIN and _has_other_head(name, target, index):
            judged = WEAK
    evident = technique in EVIDENT and judged >= PLAIN and len(other) >= TWO_EDIT_FLOOR
    rare = (judged == strength or evident) and not apart and compact != f"{other}x"
    if pair is not None and len(pair[1]) < SHORT_TERM:
        rare = False
    rare = rare and _is_rare(technique, len(other), rank, in_term=in_term)
    if technique == SIMILAR and rank >= _MUCH_IMITATED:
        judged = min(judged, PLAIN)
    severity = _slip_severity(judged, len(other), rank)
    if rare and (severity is None or severity.rank < Severity.MEDIUM.rank):
        severity = Severity.MEDIUM
    if len(other) <= _TERM_FLOOR and rank >= _SHORT_BELOW and technique not in EVIDENT:
        severity = None if severity is None else Severity.LOW
    if severity is None:
        return None
    plug_in = "-" in name and rank >= VERY_POPULAR and is_plug_in(name, index)
    if plug_in or (apart and _is_parted(name, index)) or _is_unlikely(compact, other):
        severity = min(severity, Severity.LOW, key=lambda level: level.rank)
    return _offer(target, technique, severity, 0.85)


def _is_parted(name: str, index: NameIndex) -> bool:
    """Return whether a hyphen sets a usual word apart: `do-utils` is not read as `docutils`."""
    usual = index.vocabulary | index.table.affixes
    return "-" in name and any(term in usual for term in name.split("-"))


def _is_unlikely(name: str, target: str) -> bool:
    """Return whether a similar name is not a likely imitation of a target.

    A name of three letters is close to many. A target that adds an `x` to the name is a variant of
    it, as forks are named, rather than the other way round. An imitator of a short name
    does not replace its digits with letters.
    """
    spelt = any(b.isdigit() and not a.isdigit() for a, b in zip(name, target, strict=False))
    return (
        len(name) < SHORT_TERM
        or target == f"{name}x"
        or (len(target) <= _TERM_FLOOR and len(name) == len(target) and spelt)
    )


def _short_slip(
    target: str, technique: str, pair: tuple[str, str], index: NameIndex
) -> NameVerdict | None:
    """Return the verdict on one slip in a short term of a name that another term makes unique."""
    rest = [term for term in target.split("-") if term != pair[1]]
    if not any(_is_telling(term, index) for term in rest):
        return None
    return _offer(target, technique, Severity.LOW, 0.6)


def _is_telling(term: str, index: NameIndex) -> bool:
    """Return whether a term of a name is specific to one project rather than an ordinary word."""
    table = index.table
    return (
        len(term) >= _TERM_FLOOR
        and term not in table.words
        and term not in table.generic
        and f"{term}-" not in table.families
        and (term in index.anchors or term not in table.affixes)
    )


def _several_slips(name: str, index: NameIndex) -> Iterator[NameVerdict]:
    """Yield the targets that a name equals except for plurals, repeats, separators and a number.

    One more typing error is allowed in a long name (`onnx-runtim`, `torchs-visoin`).
    """
    fold = folded(name)
    if len(fold) < FOLDED_FLOOR:
        return
    ordinary = all(term in index.vocabulary for term in name.split("-"))
    for target in dict.fromkeys(t for key in deletes(fold) for t in index.folded.get(key, ())):
        if target == name:
            continue
        other = folded(target)
        rank = index.table.ranks[target]
        if fold == other:
            numbered = compact_of(name).rstrip(_DIGITS) == compact_of(target).rstrip(_DIGITS)
            severe = (
                rank < WELL_KNOWN_RANK
                and len(fold) >= _SIGNIFICANT_LETTERS
                and not (ordinary or numbered)
            )
            yield _offer(target, SEVERAL, Severity.MEDIUM if severe else Severity.LOW, 0.7)
            continue
        edit = one_edit(fold, other)
        if edit is None or edit[1] != STRONG or ordinary:
            continue
        evident = edit[0] in EVIDENT and rank < _DOUBLE_SLIP_BELOW
        if len(other) < _SIGNIFICANT_LETTERS and not evident:
            continue
        if OSA.distance(compact_of(name), compact_of(target), score_cutoff=1) == 1:
            continue  # A single edit has been judged on its own.
        severe = rank < _DOUBLE_SLIP_BELOW and (
            edit[0] in EVIDENT or len(other) >= _SIGNIFICANT_LETTERS + 1
        )
        severity = Severity.MEDIUM if severe else Severity.LOW
        yield _offer(target, f"{SEVERAL}, {edit[0]}", severity, 0.6)


def _term_slips(name: str, index: NameIndex) -> Iterator[NameVerdict]:
    """Yield the targets two or more of whose terms a name misspells: `grcpio-statsu`."""
    terms = name.split("-")
    if not _PAIR <= len(terms) <= _MOST_TERMS:
        return
    choices = [_meant(term, index) for term in terms]
    for meant in product(*choices):
        pairs = [(a, b) for a, b in zip(terms, meant, strict=True) if a != b]
        target = "-".join(meant)
        if len(pairs) < _PAIR or target not in index.table.ranks:
            continue
        edits = [one_edit(*pair) for pair in pairs]
        severe = all(edit is not None and edit[1] == STRONG for edit in edits) and all(
            len(term) >= _TERM_FLOOR for _, term in pairs
        )
        techniques = ", ".join(dict.fromkeys(edit[0] for edit in edits if edit is not None))
        severity = Severity.MEDIUM if severe else Severity.LOW
        yield _offer(target, f"{SEVERAL}, {techniques}", severity, 0.7)


def _meant(term: str, index: NameIndex) -> list[str]:
    """Return a term, and the few terms of popular names that it misspells."""
    if term in index.table.words or term in index.vocabulary or len(term) < SHORT_TERM:
        return [term]
    near = dict.fromkeys(word for key in deletes(term) for word in index.near_terms.get(key, ()))
    slips = [
        word for word in near if (edit := one_edit(term, word)) is not None and edit[1] >= PLAIN
    ]
    return [term, *slips[:_MEANT]]


def is_plug_in(name: str, index: NameIndex) -> bool:
    """Return whether a name is of a family that third parties extend by custom."""
    return name.startswith(index.table.families)


def _term_strength(
    pair: tuple[str, str], strength: int, rank: int, letters: int, index: NameIndex
) -> int:
    """Return the significance of an edit of one term of a name, the others being equal."""
    written, meant = pair
    unmistakable = letters >= _UNMISTAKABLE and rank < _MOST_POPULAR
    if written in index.table.words or written in index.vocabulary:
        # A different word makes a different name, except in the longest and most popular ones.
        significant = unmistakable and len(meant) >= _LONG_TERM and strength > INSIGNIFICANT
        return WEAK if significant else INSIGNIFICANT
    if min(len(written), len(meant)) < SHORT_TERM:
        if unmistakable and strength == STRONG:
            return PLAIN
        return SHORT if strength > INSIGNIFICANT and len(written) > 1 else INSIGNIFICANT
    if _is_compound(written, index):
        return INSIGNIFICANT
    if strength == WEAK:
        return WEAK if unmistakable or letters >= TWO_EDIT_FLOOR else INSIGNIFICANT
    return min(strength, PLAIN) if len(meant) < _TERM_FLOOR else strength


def _far_slip(name: str, target: str, index: NameIndex) -> NameVerdict | None:
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
    # Of shorter and less popular names other words are two letters away as often as slips are,
    # unless all letters are the target's.
    word = any(compact[:cut] in index.vocabulary for cut in range(_LONG_TERM, same + 1)) or any(
        compact.endswith(other[cut:]) and other[cut:] in index.vocabulary
        for cut in range(same, len(other) - _TERM_FLOOR + 1)
    )
    likely = not word and (index.table.ranks[target] < VERY_POPULAR or len(other) > _UNMISTAKABLE)
    severity = Severity.MEDIUM if likely or is_shuffled(compact, other) else Severity.LOW
    return _offer(target, "two slips", severity, 0.7)


def judge_typo(name: str, index: NameIndex) -> NameVerdict | None:
    """Return the most severe verdict on a name as a misspelling; None if there is no verdict."""
    found = list(_whole_name(name, index))
    compact = compact_of(name)
    for target in dict.fromkeys(t for key in deletes(compact) for t in index.near.get(key, ())):
        slip = _near_slip(name, target, index)
        if slip is not None:
            found.append(slip)
    if not found:
        found += _several_slips(name, index)
        found += _term_slips(name, index)
    if not found and TWO_EDIT_FLOOR - 1 <= len(compact) <= _FAR_LIMIT:
        for letters in range(len(compact) - 1, len(compact) + _PAIR):
            for target in index.far.get((compact[0], letters), ()):
                slip = _far_slip(name, target, index)
                if slip is not None:
                    found.append(slip)
    return max(found, key=lambda verdict: verdict.severity.rank, default=None)

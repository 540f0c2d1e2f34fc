"""Judges names that combine a well-known one with other words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agents.checks.packages.name_index import VERY_POPULAR, NameIndex
from agents.checks.packages.name_verdict import BRAND, COMBO, TYPO, NameVerdict
from agents.checks.packages.popularity import WELL_KNOWN_RANK, NameTable
from agents.checks.packages.slips import EVIDENT, STRONG, deletes, one_edit
from agents.checks.packages.typos import SEPARATORS, SEVERAL, judge_typo
from schemas.severity import Severity

_TERM_FLOOR: Final = 5
_LONG_TERM: Final = 6
_LONGER_TERM: Final = 8
_PAIR: Final = 2
_DIGITS: Final = "0123456789"
_FRONTS: Final = frozenset({"python", "py", "lib", "pip", "open", "free", "real", "easy"})
_FRONT: Final = 2
_LONGEST_FRONT: Final = 12
_BEHIND_FLOOR: Final = 7
"""Letters of a known name before which any generic word may be glued."""
MOST_TERMS: Final = 5
KNOWN_WITH: Final = "known name with "
_PAIRED: Final = 450
"""Rank up to which a name of two known names counts as bait."""


def _glued(name: str, index: NameIndex) -> tuple[str, str] | None:
    """Split a name into a known name and a generic word that no hyphen separates."""
    start = name.rfind("-") + 1
    if start:
        cuts = range(start + 1, len(name) - 1)
        fronts = range(_FRONT, min(name.index("-"), _LONGEST_FRONT + 1))
        return next(
            ((name[:cut], name[cut:]) for cut in cuts
             if name[cut:] in index.table.bait and name[:cut] in index.anchors),
            None,
        ) or next(
            ((name[cut:], name[:cut]) for cut in fronts
             if name[:cut] in index.table.bait and name[cut:] in index.anchors),
            None,
        )  # fmt: skip
    for cut in range(3, len(name) - 1):
        head, tail = name[:cut], name[cut:]
        if len(head) >= _TERM_FLOOR and head in index.anchors and tail in index.table.bait:
            return head, tail
        if tail in index.anchors and (
            (head in _FRONTS and len(tail) >= _TERM_FLOOR)
            or (head in index.table.bait and len(tail) >= _BEHIND_FLOOR)
        ):
            return tail, head
    if name.startswith("py") and len(name) > _LONG_TERM and name[2:] in index.anchors:
        return name[2:], "py"
    return None


def judge_combination(name: str, index: NameIndex) -> NameVerdict | None:
    """Return the verdict on a known name with other words around it; None if there is none."""
    table = index.table
    terms = name.split("-")
    if len(terms) == 1:
        glued = _glued(name, index)
        return None if glued is None else _combined(glued[0], [glued[1]], table)
    if len(terms) > MOST_TERMS:
        return None
    borrowed: list[tuple[bool, int, str, list[str]]] = []
    for size in range(len(terms) - 1, 0, -1):
        for start in range(len(terms) - size + 1):
            anchor = _anchor("-".join(terms[start : start + size]), index)
            if anchor is None:
                continue
            rest = terms[:start] + terms[start + size :]
            if all(_is_bait(term, index) for term in rest):
                return _combined(anchor, rest, table)
            if _is_borrowed(anchor, rest, start, index):
                borrowed.append((anchor in table.vendors, table.ranks[anchor], anchor, rest))
    glued = _glued(name, index)
    if glued is not None:
        return _combined(glued[0], [glued[1]], table)
    if borrowed:
        # Of two known names the more popular one is imitated, unless it is the vendor's.
        _, _, anchor, rest = min(borrowed)
        return _combined(anchor, rest, table, confidence=0.4)
    return _misspelt_combo(terms, index)


def judge_family_name(name: str, index: NameIndex) -> NameVerdict | None:
    """Return the verdict on a name under a prefix that third parties extend by custom.

    Only a single generic word, as in `django-core`, or a known name after a vendor's, as in
    `aws-boto3`, claims to be the project itself.
    """
    head, _, tail = name.rpartition("-")
    own = f"{head}-" in index.table.families or (
        "-" in head and index.table.ranks.get(head, WELL_KNOWN_RANK) < WELL_KNOWN_RANK
    )
    if own and head in index.anchors and tail in index.table.generic:
        return _combined(head, [tail], index.table)
    head, _, tail = name.partition("-")
    if head in index.table.vendors and tail in index.anchors:
        return _combined(tail, [head], index.table)
    return None


def _anchor(text: str, index: NameIndex) -> str | None:
    """Return the known name that a text is, a version number aside (`tensorflow2`)."""
    if text in index.anchors:
        return text
    bare = text.rstrip("0123456789")
    if len(bare) >= _TERM_FLOOR and bare in index.anchors and text not in index.table.known:
        return bare
    return None


def _is_bait(term: str, index: NameIndex) -> bool:
    """Return whether a term is a generic word: in the plural, numbered or misspelt too."""
    generic = index.table.generic
    return (
        term in generic
        or term.rstrip("0123456789") in generic
        or (len(term) > _PAIR and term.endswith("s") and term[:-1] in generic)
        or _is_misspelt_generic(term, index)
    )


def _is_misspelt_generic(term: str, index: NameIndex) -> bool:
    if len(term) < _TERM_FLOOR or term in index.vocabulary:
        return False
    for key in deletes(term):
        word = index.misspelt_generic.get(key)
        if word is not None:
            edit = one_edit(term, word)
            if edit is not None and edit[1] == STRONG:
                return True
    return False


def _is_borrowed(anchor: str, rest: list[str], after: int, index: NameIndex) -> bool:
    """Return whether the terms around a known name make it look like a part of the project.

    Args:
        anchor: The known name.
        rest: The other terms.
        after: The number of them before it.
        index: The indexes.
    """
    table = index.table
    if len(rest) == 1 and not table.words & {anchor, *rest}:
        # Two known names in one: `pytorch-pandas`.
        ranks = (table.ranks[anchor], table.ranks.get(rest[0], VERY_POPULAR))
        if max(ranks) < _PAIRED and rest[0] in index.anchors:
            return True
    if after == 1 and rest[0] in table.vendors and rest[0] != anchor:
        rest = rest[1:]
    return all(_is_bait(term, index) or term in table.affixes for term in rest)


def _combined(
    anchor: str, rest: list[str], table: NameTable, *, confidence: float = 0.5
) -> NameVerdict:
    words = " ".join(rest)
    # A claim beside other words, as in `claude-token-monitor`, says what an honest tool does.
    if anchor in table.brands and all(term in table.claims for term in rest):
        return NameVerdict(BRAND, Severity.MEDIUM, 0.7, anchor, f"vendor's name with {words}")
    if anchor in table.alone and says_release(rest, table):
        return NameVerdict(COMBO, Severity.MEDIUM, 0.6, anchor, f"{KNOWN_WITH}{words}")
    return NameVerdict(COMBO, Severity.LOW, confidence, anchor, f"{KNOWN_WITH}{words}")


def says_release(words: Iterable[str], table: NameTable) -> bool:
    """Return whether words name a release or form of a project: `latest`, `lib`, a number."""
    return all(word.rstrip(_DIGITS) in table.release or word in table.release for word in words)


def _edit(slip: NameVerdict) -> str:
    """Return the technique of a slip, or of the one beside plurals and numbers."""
    return slip.technique.removeprefix(f"{SEVERAL}, ")


def _misspelt_combo(terms: list[str], index: NameIndex) -> NameVerdict | None:
    """Return the verdict on a misspelt known name with generic words around it."""
    start, end = 0, len(terms)
    while start < end and _is_bait(terms[start], index):
        start += 1
    while end > start and _is_bait(terms[end - 1], index):
        end -= 1
    rest = terms[:start] + terms[end:]
    core = "-".join(terms[start:end])
    if not rest or len(core) < _TERM_FLOOR or core in index.vocabulary or core in index.table.known:
        return None
    slip = judge_typo(core, index)
    if slip is None or slip.technique == SEPARATORS:
        return None
    long = _LONG_TERM if _edit(slip) in EVIDENT else _LONGER_TERM
    severe = slip.severity.rank >= Severity.HIGH.rank and len(core) >= long
    if slip.severity is Severity.LOW and _edit(slip) not in EVIDENT:
        return None
    technique = f"{slip.technique}, with {' '.join(rest)}"
    severity = Severity.MEDIUM if severe else Severity.LOW
    return NameVerdict(TYPO, severity, 0.75 if severe else 0.6, slip.target, technique)

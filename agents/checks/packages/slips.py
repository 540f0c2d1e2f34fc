"""How two spellings differ: typing errors, look-alikes, and how significant each is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Final
from unicodedata import category, normalize

STRONG: Final = 2
"""A typing error: letters swapped, doubled, left out, or an adjacent key."""
PLAIN: Final = 1
"""A different letter, which may make a different word."""
WEAK: Final = 0
"""Likely a different name: a different number, a plural, letters added at the end."""
INSIGNIFICANT: Final = -1
"""One edit apart, as many names are by chance."""
SIMILAR: Final = "similar letter"
"""The technique that also yields legitimate names: `cronitor` beside `croniter`."""
EVIDENT: Final = frozenset({"doubled letters", "doubled letter", "transposed letters"})
"""Techniques that hardly yield another word, regardless of the popularity of the name."""
_PAIR: Final = 2
_PLURAL_FLOOR: Final = 4
"""Letters of a term whose last `s` may be a plural's: `hubs`, not `rs`."""

_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS: Final = frozenset(
    pair
    for row in _ROWS
    for left, other in pairwise(row)
    for pair in ((left, other), (other, left))
) | frozenset(
    pair
    for upper, lower in pairwise(_ROWS)
    for index, char in enumerate(lower)
    for other in upper[index : index + 2]
    for pair in ((char, other), (other, char))
)
_SOUNDS: Final = frozenset(
    (member, other)
    for group in ("aeiou", "ck", "sz", "iy", "ckq", "bp", "dt", "mn", "fv", "jg", "uw", "vw")
    for member in group
    for other in group
    if member != other
)
_DIGITS: Final = str.maketrans("0134578i", "oleastbl")
"""Digits that look like a letter, and the letter that looks like `l`."""
_UNSEEN: Final = frozenset({"Cf", "Mn", "Cc", "Zs"})
"""Categories of characters that join or alter letters, or show nothing."""
_LOOK_ALIKES: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0578\u043a\u043c\u0442"
    "\u043d\u0432\u03bf\u03b1\u03c1\u03bd\u03b9\u03c4\u03ba\u0131\u0261\u0142\u00f8"
    "\u00e9\u00e8\u00e1\u00e0\u00f6\u00fc\u00f1\u00e7\u04cf\u0501\u0251",
    "aeopcyxisnkmthboapvitkigloeeaaounclda",
)
"""Characters that look like another letter: Cyrillic, Greek and accented letters."""


def compact_of(name: str) -> str:
    """Return a name without its separators."""
    return name.replace("-", "")


def digits_of(name: str) -> str:
    """Return the digits of a name."""
    return "".join(filter(str.isdigit, name))


def looks(name: str) -> str:
    """Return a name folded by appearance (0 as o, rn as m, Cyrillic as Latin)."""
    return compact_of(plain_letters(name).translate(_DIGITS).replace("rn", "m").replace("vv", "w"))


def plain_letters(name: str) -> str:
    """Return a name with look-alike letters as those of ASCII, and without invisible characters."""
    if name.isascii():
        return name
    apart = normalize("NFKD", name.translate(_LOOK_ALIKES))
    return "".join(char for char in apart if category(char) not in _UNSEEN).lower()


def undoubled(text: str) -> str:
    """Return a text with each run of one letter written once: `vllm` and `vlmm` as `vlm`."""
    return "".join(letter for letter, _ in groupby(text))


def folded(name: str) -> str:
    """Return a name as it sounds at a glance: no separators, plurals, repeats or final number.

    Names that differ by several slips of these kinds have one folded form (`torchs-visions`).
    """
    seen = plain_letters(name)
    terms = [
        term.rstrip("s") if len(term) >= _PLURAL_FLOOR else term
        for term in seen.rstrip("0123456789").split("-")
    ]
    return undoubled("".join(terms))


def deletes(text: str) -> Iterator[str]:
    """Yield a text and each variant of it without one letter."""
    yield text
    for index in range(len(text)):
        if index and text[index] == text[index - 1]:
            continue
        yield text[:index] + text[index + 1 :]


def one_edit(name: str, target: str) -> tuple[str, int] | None:
    """Return how two texts that are one edit apart differ, and how significant that is.

    Args:
        name: The name as written.
        target: The name that may have been meant.

    Returns:
        The technique in words and one of the strengths above; None if they are not one edit apart.
    """
    if len(name) == len(target):
        return _exchanged(name, target)
    if abs(len(name) - len(target)) == 1:
        return _lengthened(name, target)
    return None


def _exchanged(name: str, target: str) -> tuple[str, int] | None:
    positions = [index for index, (a, b) in enumerate(zip(name, target, strict=True)) if a != b]
    position = positions[0] if positions else 0
    pair = (name[position], target[position])
    digits = (pair[0].isdigit(), pair[1].isdigit())
    if len(positions) == _PAIR and positions[1] == position + 1:
        if pair != (target[position + 1], name[position + 1]):
            return None
        return "transposed letters", WEAK if any(digits) else STRONG
    if len(positions) != 1:
        return None
    last = position == len(target) - 1
    close = pair in _NEIGHBOURS or pair in _SOUNDS
    if all(digits):
        return "another number", WEAK
    if digits[0]:
        return "a digit for a letter", WEAK if last or not position else PLAIN
    if digits[1]:
        return "a letter for a digit", WEAK if last else PLAIN
    if position == 0:
        return "another first letter", WEAK if close else INSIGNIFICANT
    if last:
        return "another last letter", PLAIN if close else WEAK
    if pair in _NEIGHBOURS:
        return "neighbouring key", STRONG
    return SIMILAR if close else "another letter", STRONG if close else PLAIN


def _lengthened(name: str, target: str) -> tuple[str, int] | None:
    added = len(name) > len(target)
    longer, shorter = (name, target) if added else (target, name)
    position = next(
        (i for i, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter)
    )
    if longer[position + 1 :] != shorter[position:]:
        return None
    letter = longer[position]
    around = {*longer[max(position - 1, 0) : position], *longer[position + 1 : position + 2]}
    if letter.isdigit():
        return "number added" if added else "number left out", WEAK
    if letter in around:
        return "doubled letter" if added else "letter left out", STRONG
    if position == 0:
        return "letter added in front" if added else "first letter left out", WEAK
    if position == len(shorter):
        if letter == "s":
            return "plural" if added else "singular", WEAK if added else PLAIN
        return "letter added" if added else "letter left out", WEAK if added else PLAIN
    if not added:
        return "letter left out", STRONG
    slip = any((letter, other) in _NEIGHBOURS for other in around)
    return "letter added", STRONG if slip else PLAIN


def is_shuffled(name: str, target: str) -> bool:
    """Return whether a text permutes the target's letters, except the first and last."""
    return name[:1] == target[:1] and name[-1:] == target[-1:] and sorted(name) == sorted(target)

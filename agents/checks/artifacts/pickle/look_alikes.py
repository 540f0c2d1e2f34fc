"""Recognises module names that imitate others: by look-alike letters, or by one letter."""
# ruff: noqa: PLR2004 -- counts of letters are given where they are compared

from __future__ import annotations

import unicodedata
from typing import Final

SHORT: Final = 5
"""Names of modules shorter than this differ by a letter by chance."""
_ALIKE: Final = str.maketrans("IL1|0Oіоасерхуѕԁ", "llllooioacepxysd")  # noqa: RUF001 -- that is the trick


def passes_for(module: str, known: str) -> bool:
    """Return whether a module's name may be mistaken for another's."""
    return _look(module) == _look(known) or one_letter(module, known)


def _look(module: str) -> str:
    """Return a module's name with look-alike letters replaced by one of them."""
    folded = unicodedata.normalize("NFKC", module).translate(_ALIKE).lower()
    return folded.replace("rn", "m").replace("vv", "w")


def _common(left: str, right: str) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(left), len(right)))


def one_letter(left: str, right: str) -> bool:
    """Return whether two names differ by one letter put in, left out, changed or swapped."""
    if abs(len(left) - len(right)) > 1 or len(right) < SHORT:
        return False
    start = _common(left, right)
    end = _common(left[start:][::-1], right[start:][::-1])
    changed, other = left[start : len(left) - end], right[start : len(right) - end]
    if len(changed) == 2 and changed == other[::-1]:
        return True
    if len(changed) > 1 or len(other) > 1 or not (changed + other).isalpha():
        return False
    after = right[len(right) - end :][:1] if end else ""
    return not (len(changed) != len(other) and changed + other == "s" and after in ("", "."))


def shortened(name: str) -> set[str]:
    """Return a short name, and what is left of it without any one letter.

    Of two names that `one_letter` finds alike, these sets share an element.
    """
    return {name, *(name[:at] + name[at + 1 :] for at in range(len(name)))}

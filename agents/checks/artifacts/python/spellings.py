"""Lists the full names of functions that the patterns of the data file match."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Final

ANY: Final = "*"
"""Stands for a part of a name that may be anything."""


def spellings(patterns: Iterable[str]) -> frozenset[str]:
    """Return what patterns of full names match, with `*` for parts that may be anything.

    Args:
        patterns: Consist of letters, groups, choices, sets of letters, and `?`, `*`, `+` after any.

    Raises:
        ValueError: a pattern has something else.
    """
    return frozenset(name for pattern in patterns for name in _Pattern(pattern).names())


class _Pattern:
    """One pattern, read from its beginning to its end."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def names(self) -> set[str]:
        found = self._choice()
        if self._at < len(self._pattern):
            raise self._error()
        return found

    def _error(self) -> ValueError:
        return ValueError(f"not read at {self._at}: {self._pattern!r}")

    def _choice(self) -> set[str]:
        found = self._sequence()
        while self._next("|"):
            found |= self._sequence()
        return found

    def _sequence(self) -> set[str]:
        found = {""}
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            found = {start + end for start, end in product(found, self._repeated())}
        return found

    def _repeated(self) -> set[str]:
        found = self._part()
        if self._next("?"):
            return found | {""}
        if self._next("*") or self._next("+"):
            return {ANY}
        return found

    def _part(self) -> set[str]:
        if self._next("("):
            found = self._choice()
            if not self._next(")"):
                raise self._error()
            return found
        if self._next("["):
            end = self._pattern.index("]", self._at)
            letters = self._pattern[self._at : end]
            self._at = end + 1
            if not letters.isalnum():
                raise self._error()
            return set(letters)
        if self._next("\\."):
            return {"."}
        if self._next("\\w") or self._next("."):
            return {ANY}
        letter = self._pattern[self._at]
        if not (letter.isalnum() or letter == "_"):
            raise self._error()
        self._at += 1
        return {letter}

    def _next(self, mark: str) -> bool:
        if not self._pattern.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

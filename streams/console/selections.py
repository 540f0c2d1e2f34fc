"""The queries of pages to the index, and the records of the answers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from schemas.incidents.views import IncidentDocument
from schemas.severity import Severity
from streams.cli.incident_list import SortKey

PAGE: Final = 50
"""Rows of a page."""
MOST_PAGES: Final = 2_000
SEARCH_WORDS: Final = 16
_WORD: Final = re.compile(r"\S+")


class CaseSelection(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents a list shows; an empty field selects all."""

    text: str = ""
    open: bool = False
    statuses: tuple[str, ...] = ()
    severity: Severity | None = None
    """Of at least this severity."""
    tenant: str = ""
    """This tenant is part of it."""
    assignee: str | None = None
    """A part of it is assigned to this person; empty: some part is assigned to nobody."""
    waiting: bool = False
    """A command of it waits for a person."""
    since_ms: int = 0
    """It changed then or later."""
    sort: SortKey = SortKey.SCORE
    reverse: bool = False
    page: int = 1


class RowSelection(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows another list shows."""

    text: str = ""
    tenant: str = ""
    kind: str = ""
    """The value of the column that filters the list."""
    severity: Severity | None = None
    page: int = 1


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list."""

    rows: tuple[dict[str, Any], ...]
    total: int
    number: int
    size: int = PAGE

    @property
    def pages(self) -> int:
        """How many pages there are; at least one."""
        return min(max(1, math.ceil(self.total / self.size)), MOST_PAGES)

    @property
    def first(self) -> int:
        """The number of its first row, from 1; 0 where there is none."""
        return (self.number - 1) * self.size + 1 if self.rows else 0

    @property
    def last(self) -> int:
        """The number of its last row."""
        return (self.number - 1) * self.size + len(self.rows)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as the viewer may read it."""

    document: IncidentDocument
    tenant: str
    """The tenant whose part it is; empty: the whole, as the operator reads it."""
    changed: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Times of incidents, in seconds."""

    count: int
    median: float | None = None
    p95: float | None = None


def figures(seconds: Iterable[float | None]) -> Figures:
    """Return the median and the 95th percentile of times, by nearest rank.

    Args:
        seconds: The times; None where there is none.
    """
    ordered = sorted(value for value in seconds if value is not None)
    if not ordered:
        return Figures(count=0)
    return Figures(
        count=len(ordered),
        median=ordered[(len(ordered) - 1) // 2],
        p95=ordered[math.ceil(len(ordered) * 0.95) - 1],
    )


def search_expression(text: str) -> str | None:
    """Return an FTS5 expression: each word of a text, or what begins with it, in any order.

    Args:
        text: The text as typed.

    Returns: None if it contains no words.
    """
    # SQLite ends an expression at a NUL
    words = [word for word in _WORD.findall(text.replace("\0", " ")) if any(map(str.isalnum, word))]
    # quoted, so that nothing in it is an operator
    return (
        " ".join('"{}" *'.format(word.replace('"', '""')) for word in words[:SEARCH_WORDS]) or None
    )


def matching(table: str, text: str) -> list[tuple[str, Sequence[Any]]]:
    """Return the conditions, with their values, of rows that hold the words of a text."""
    expression = search_expression(text)
    if expression is None:
        return []
    condition = f"{table}.rowid IN (SELECT rowid FROM {table}_text WHERE text MATCH ?)"
    return [(condition, [expression])]

"""The tables of the console's index, derived from the records of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from schemas.canonical import stable_hash
from streams.console.rows import (
    AskedRow,
    CaseRow,
    ComponentRow,
    EdgeRow,
    FactRow,
    HoldingRow,
    HoldRow,
    IndicatorRow,
    LetterRow,
    NoticeRow,
    PartRow,
    PolicyRow,
    Row,
    SourceRow,
)


class RowLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most rows of each kind per tenant; the least recently changed are dropped first."""

    incidents: int = 100_000
    """Incidents of a tenant; of the operator's, those that several tenants share. Closed ones are
    dropped first."""
    indicators: int = 200_000
    """Indicators."""
    components: int = 200_000
    """Components."""
    holdings: int = 500_000
    """Versions of components on systems, and derivations between components, each."""
    dead_letters: int = 20_000
    """Dead letters, and alerts for the operator, each."""


class RowStorage(msgspec.Struct, frozen=True, kw_only=True):
    """The storage of the rows of one kind."""

    name: str
    row: type[Row]
    key: tuple[str, ...]
    limit: str = ""
    """The limit that applies; empty: as many as there are keys of a compacted topic."""
    searched: bool = False
    """Whether its text is searched."""
    body: bool = False
    """Whether the record itself is kept."""
    merged: Mapping[str, str] = {}
    """Columns that are not simply replaced by a later row: `min` or `max` of both."""
    indexes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def beside(self) -> Iterator[str]:
        """Yield the tables with further data of each row, by its number."""
        if self.body:
            yield f"{self.name}_body"
        if self.searched:
            yield f"{self.name}_text"

    def insert(self) -> str:
        """Return the statement that adds or changes a row."""
        marks = ", ".join("?" for _ in self.columns)
        sets = ", ".join(
            f"{name} = {self.merged[name]}({self.name}.{name}, excluded.{name})"
            if name in self.merged
            else f"{name} = excluded.{name}"
            for name in self.columns
            if name not in self.key
        )
        return (
            f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks}) "
            f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {sets} RETURNING rowid"
        )

    def ddl(self) -> Iterator[str]:
        """Yield the statements that make the table."""
        yield (
            f"CREATE TABLE {self.name} ({', '.join(self.columns)}, UNIQUE ({', '.join(self.key)}))"
        )
        for number, columns in enumerate(self.indexes):
            yield f"CREATE INDEX {self.name}_{number} ON {self.name} ({columns})"
        if self.body:
            yield f"CREATE TABLE {self.name}_body (row INTEGER PRIMARY KEY, body)"
        if self.searched:
            yield (
                f"CREATE VIRTUAL TABLE {self.name}_text USING fts5(text, "
                "tokenize = 'unicode61 remove_diacritics 2')"
            )


_NOT_COLUMNS: Final = frozenset({"text", "parts", "asked", "body"})
"""Fields that are kept beside the row: lists are read without them."""
_SINCE: Final = {"first_seen": "min", "changed": "max"}


_FILTERED: Final = "severity, waiting, status"
"""The columns by which lists of incidents are filtered, besides those of their order."""


def _table(row: type[Row], name: str, key: str, **more: Any) -> RowStorage:  # noqa: ANN401 -- as of Table
    columns = tuple(n for n in row.__struct_fields__ if n not in _NOT_COLUMNS)
    return RowStorage(
        name=name,
        row=row,
        key=tuple(key.split()),
        body="body" in row.__struct_fields__,
        searched="text" in row.__struct_fields__,
        columns=columns,
        **more,
    )


TABLES: Final = {
    table.row: table
    for table in (
        _table(
            CaseRow,
            "cases",
            "tenant id",
            limit="incidents",
            # a list is ordered and filtered by one of them alone; rows are read for a page
            indexes=(
                f"tenant, ended, score DESC, id, changed, {_FILTERED}",
                f"tenant, score DESC, id, ended, changed, {_FILTERED}",
                f"tenant, changed DESC, id, ended, {_FILTERED}",
                f"tenant, first_seen DESC, id, retro, detect, contain, ended, changed, {_FILTERED}",
                f"tenant, systems DESC, id, ended, changed, {_FILTERED}",
                f"tenant, id, ended, changed, {_FILTERED}",
                f"tenant, ended, {_FILTERED}, failed, tasks, assignee, changed",
            ),
        ),
        _table(
            IndicatorRow,
            "indicators",
            "tenant id",
            limit="indicators",
            indexes=("tenant, changed DESC", "key", "component"),
        ),
        _table(
            ComponentRow,
            "components",
            "tenant id",
            limit="components",
            merged={"changed": "max"},
            indexes=("tenant, changed DESC", "id"),
        ),
        _table(
            HoldingRow,
            "holdings",
            "tenant component system version digest",
            limit="holdings",
            merged=_SINCE,
            indexes=("component", "name", "digest", "tenant, changed DESC"),
        ),
        _table(
            EdgeRow,
            "edges",
            "tenant parent parent_version child child_version",
            limit="holdings",
            merged=_SINCE,
            indexes=("parent", "child", "tenant, changed DESC"),
        ),
        _table(
            SourceRow,
            "sources",
            "tenant id",
            limit="dead_letters",
            merged=dict.fromkeys(("changed", "ok", "incomplete", "dead"), "max"),
            indexes=("tenant, changed DESC",),
        ),
        _table(
            LetterRow,
            "letters",
            "tenant id",
            limit="dead_letters",
            indexes=("tenant, changed DESC", "reason"),
        ),
        _table(
            NoticeRow,
            "notices",
            "tenant id",
            limit="dead_letters",
            indexes=("tenant, changed DESC",),
        ),
        _table(HoldRow, "holds", "tenant id", indexes=("tenant, changed DESC",)),
        _table(FactRow, "facts", "tenant id", indexes=("tenant, changed DESC",)),
        _table(PolicyRow, "policies", "tenant id"),
    )
}
PARTS: Final = {
    name: ("row", "tenant", "ended", *row.__struct_fields__)
    for name, row in (("parts", PartRow), ("asked", AskedRow))
}
"""The columns of the tables with the lists of each incident, by their name."""


def ddl() -> Iterator[str]:
    """Yield the statements that make an index."""
    for table in TABLES.values():
        yield from table.ddl()
    for name, columns in PARTS.items():
        yield f"CREATE TABLE {name} ({', '.join(columns)})"
        yield f"CREATE INDEX {name}_row ON {name} (row)"
    for number, ordered in enumerate(
        ("part, tenant, row", "assignee, tenant, row", "tenant, ended, part, status, severity")
    ):
        yield f"CREATE INDEX parts_{number} ON parts ({ordered})"
    yield "CREATE INDEX asked_0 ON asked (tenant, ended, waiting, command)"
    yield "CREATE TABLE offsets (topic, number, next, PRIMARY KEY (topic, number))"
    yield "CREATE TABLE notes (name PRIMARY KEY, value)"


READING: Final = 1
"""The version of the rows' content: increased if that changes and the tables do not."""
LAYOUT: Final = int(stable_hash(str(READING), *ddl())[:7], 16)
"""An index of another layout is rebuilt."""

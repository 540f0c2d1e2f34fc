"""Reads the index on behalf of one viewer: every query is confined to their tenants, here.

A viewer who is not the operator reads their tenants' own alerts, indicators, sightings and
policies. The operator reads the records that name several tenants. `IndexReader.scope` is the one
place that says which rows those are; no other module reads the index.
Over 500 lines, since every query passes through that scope.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from schemas.errors import TidewatchError
from schemas.findings import SupplyChainIoC
from schemas.incidents.holds import HoldView
from schemas.incidents.views import IncidentDocument
from schemas.intel import IntelFact
from schemas.policy import Policy
from schemas.severity import Severity
from streams.cli.incident_list import SortKey
from streams.console.index import Index
from streams.console.rows import OPERATOR, unpacked
from streams.console.selections import (
    MOST_PAGES,
    PAGE,
    Case,
    CaseSelection,
    Figures,
    Page,
    RowSelection,
    figures,
    matching,
)
from streams.console.tables import PARTS
from streams.console.tenant_part import TenantAlert, tenant_document
from streams.console.viewer import Viewer

_ALERTS: Final = msgspec.json.Decoder(TenantAlert)
_INCIDENTS: Final = msgspec.json.Decoder(IncidentDocument)
_INDICATORS: Final = msgspec.json.Decoder(SupplyChainIoC)
_HOLDS: Final = msgspec.json.Decoder(HoldView)
_FACTS: Final = msgspec.json.Decoder(IntelFact)
_POLICIES: Final = msgspec.json.Decoder(Policy)
QUERY_SECONDS: Final = 5.0
"""How long one query may take."""
LISTED: Final = 200
"""Rows of a table beside the main one of a page."""
FEW_ROWS: Final = 5_000
"""Selected rows that are read and sorted; of more, those of a page are searched in order."""
MOST_TIMES: Final = 10_000
"""Incidents, the latest, of which times are computed."""
_STEPS: Final = 20_000
_SORTS: Final = {
    SortKey.SCORE: "score",
    SortKey.CHANGED: "changed",
    SortKey.FIRST_SEEN: "first_seen",
    SortKey.SYSTEMS: "systems",
}
_NARROWED: Final = {
    "indicators": "kind",
    "components": "kind",
    "letters": "reason",
    "notices": "kind",
    "facts": "kind",
    "sources": "id",
    "holds": "id",
}
"""The column by which each list is narrowed."""

T = TypeVar("T")


class SlowQueryError(TidewatchError):
    """A query that took too long."""


class IndexReader:
    """The reader of the index for one viewer."""

    def __init__(self, index: Index, viewer: Viewer) -> None:
        """Read an index.

        Args:
            index: The index.
            viewer: The viewer.
        """
        self._index = index
        self.viewer = viewer

    def scope(self, table: str) -> tuple[str, list[Any]]:
        """Return the condition under which the viewer may read a row of a table.

        Args:
            table: The table; its name or alias qualifies the column.
        """
        viewer = self.viewer
        if viewer.everything:
            whole = table in {"cases", *PARTS}
            return (f"{table}.tenant = ?", [OPERATOR]) if whole else ("1", [])
        # the empty tenant is the operator's, even if a viewer's list contains it
        own = [tenant for tenant in viewer.tenants if tenant != OPERATOR]
        return f"{table}.tenant IN ({', '.join('?' * len(own))})", [*own]

    @property
    def revision(self) -> int:
        """A number that increases with every change that the viewer may read."""
        viewer = self.viewer
        return self._index.revision(
            None
            if viewer.everything
            else [tenant for tenant in viewer.tenants if tenant != OPERATOR]
        )

    def _rows(
        self,
        table: str,
        columns: str = "*",
        *,
        where: Iterable[tuple[str, Sequence[Any]]] = (),
        tail: str = "",
        values: Sequence[Any] = (),
        joined: str = "",
    ) -> list[sqlite3.Row]:
        """Return rows of a table that the viewer may read.

        Args:
            table: The table.
            columns: Its columns.
            where: Further conditions with their values.
            tail: The clauses after the conditions: order, limit.
            values: The values in it.
            joined: Other tables, joined to rows of this one.
        """
        where = list(where)
        own, parameters = self.scope(table)
        if any(condition.startswith(f"{table}.rowid IN") for condition, _ in where):
            # a search selects fewer rows than the tenant
            own = f"+{own}"
        conditions = [own]
        for condition, more in where:
            conditions.append(condition)
            parameters.extend(more)
        statement = (
            f"SELECT {columns} FROM {table} {joined} WHERE {' AND '.join(conditions)} {tail}"
        )
        return self._found(statement, [*parameters, *values])

    def _found(self, statement: str, values: Sequence[Any]) -> list[sqlite3.Row]:
        """Return what a statement selects, within the time that one may take."""
        connection = self._index.reading()
        deadline = time.monotonic() + QUERY_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                raise
            raise SlowQueryError(
                f"the search took more than {QUERY_SECONDS:g} s", remedy="narrow it down"
            ) from None
        finally:
            connection.set_progress_handler(None, 0)

    def _one(self, table: str, columns: str, **more: Any) -> sqlite3.Row | None:  # noqa: ANN401 -- as of _rows
        rows = self._rows(table, columns, tail="LIMIT 1", **more)
        return rows[0] if rows else None

    def _count(self, table: str, where: Sequence[tuple[str, Sequence[Any]]]) -> int:
        found = self._one(table, "count(*)", where=where)
        return int(found[0]) if found is not None else 0

    def _paged(
        self,
        table: str,
        where: Sequence[tuple[str, Sequence[Any]]],
        order: str,
        number: int,
        columns: str = "*",
    ) -> Page:
        where = [self._by_order(table, condition, values) for condition, values in where]
        total = self._count(table, where)
        number = max(1, min(number, max(1, math.ceil(total / PAGE)), MOST_PAGES))
        # the rows of the page alone: their numbers are found by an index
        found = self._rows(
            table,
            f"{table}.rowid",
            where=where,
            tail=f"ORDER BY {order} LIMIT ? OFFSET ?",
            values=[PAGE, (number - 1) * PAGE],
        )
        numbers = [row[0] for row in found]
        marks = ", ".join("?" * len(numbers))
        rows = self._rows(
            table,
            columns,
            where=[(f"{table}.rowid IN ({marks})", numbers)],
            tail=f"ORDER BY {order}",
        )
        return Page(rows=tuple(dict(row) for row in rows), total=total, number=number)

    def _by_order(
        self, table: str, condition: str, values: Sequence[Any]
    ) -> tuple[str, Sequence[Any]]:
        """Return a condition so that, if it selects many rows, an index of the order is walked.

        Each selected row would be read and sorted otherwise, for the few of a page.
        """
        selected = condition.removeprefix(f"{table}.rowid IN ")
        if not selected.startswith("(SELECT "):
            return condition, values
        most = f"SELECT count(*) FROM (SELECT 1 FROM {selected} LIMIT {FEW_ROWS + 1})"
        many = self._found(most, values)[0][0] > FEW_ROWS
        return f"+{condition}" if many else condition, values

    # -- incidents ---------------------------------------------------------------------------------

    def cases(self, selection: CaseSelection) -> Page:
        """Return a page of the selected incidents."""
        where: list[tuple[str, Sequence[Any]]] = []
        if selection.open:
            where.append(("cases.ended = 0", []))
        if selection.statuses:
            marks = ", ".join("?" * len(selection.statuses))
            where.append((f"cases.status IN ({marks})", selection.statuses))
        if selection.severity is not None:
            where.append(("cases.severity >= ?", [selection.severity.rank]))
        if selection.waiting:
            where.append(("cases.waiting > 0", []))
        if selection.since_ms:
            where.append(("cases.changed >= ?", [selection.since_ms]))
        if selection.tenant:
            where.append(self._with_part("part", selection.tenant))
        if selection.assignee is not None:
            where.append(self._with_part("assignee", selection.assignee))
        where += matching("cases", selection.text)
        # the reverse of equal rows too, so that the same index is read backwards
        down, by_id = ("ASC", "DESC") if selection.reverse else ("DESC", "ASC")
        order = f"cases.id {by_id}"
        if selection.sort is not SortKey.ID:
            order = f"cases.{_SORTS[selection.sort]} {down}, {order}"
        return self._paged("cases", where, order, selection.page)

    def _with_part(self, column: str, value: str) -> tuple[str, list[Any]]:
        """Return the condition of incidents with a part whose column has a value."""
        own, values = self.scope("parts")
        found = f"SELECT row FROM parts WHERE {own} AND parts.{column} = ?"
        return f"cases.rowid IN ({found})", [*values, value]

    def case(self, incident: str, tenant: str = "") -> Case | None:
        """Return an incident, None if there is none that the viewer may read.

        Args:
            incident: Its id, or a beginning of it that is unique.
            tenant: Whose part, for a viewer of several tenants; by default the worst part.
        """
        where: list[tuple[str, Sequence[Any]]] = [("cases.id = ?", [incident])]
        if tenant and not self.viewer.everything:
            where.append(("cases.tenant = ?", [tenant]))
        row = self._case_row(where)
        if row is None and len(incident) >= 8:  # noqa: PLR2004 -- "inc-" and four digits
            where[0] = ("cases.id >= ? AND cases.id < ?", [incident, f"{incident}\U0010ffff"])
            ids = self._rows("cases", "DISTINCT cases.id", where=where, tail="LIMIT 2")
            row = self._case_row(where) if len(ids) == 1 else None
        if row is None:
            return None
        body = unpacked(row["body"])
        if row["tenant"] == OPERATOR:
            document = _INCIDENTS.decode(body)
        else:
            alert = _ALERTS.decode(body)
            document = tenant_document(alert, self._whole(row["id"]))
        return Case(document=document, tenant=row["tenant"], changed=row["changed"])

    def _case_row(self, where: Sequence[tuple[str, Sequence[Any]]]) -> sqlite3.Row | None:
        rows = self._rows(
            "cases",
            "cases.id, cases.tenant, cases.changed, body",
            joined="JOIN cases_body ON cases_body.row = cases.rowid",
            where=where,
            tail="ORDER BY score DESC, tenant LIMIT 1",
        )
        return rows[0] if rows else None

    def _whole(self, incident: str) -> IncidentDocument | None:
        """Return the operator's record, from which `tenant_document` takes the tenant's part."""
        operator = IndexReader(self._index, Viewer(name="", tenants="*"))
        row = operator._case_row([("cases.id = ?", [incident])])
        return None if row is None else _INCIDENTS.decode(unpacked(row["body"]))

    def parts(self, incident: str) -> list[str]:
        """Return the viewer's tenants that have a part in an incident."""
        rows = self._rows(
            "cases",
            "parts.part",
            joined="JOIN parts ON parts.row = cases.rowid",
            where=[("cases.id = ?", [incident])],
            tail="ORDER BY parts.part LIMIT ?",
            values=[LISTED],
        )
        return [row[0] for row in rows]

    def titles(self, incidents: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the rows of those incidents that the viewer may read, by id."""
        ids = list(incidents)[:LISTED]
        marks = ", ".join("?" * len(ids))
        rows = self._rows(
            "cases", where=[(f"cases.id IN ({marks})", ids)], tail="ORDER BY cases.score DESC"
        )
        return {row["id"]: dict(row) for row in rows}

    def open_by_severity(self) -> dict[str, int]:
        """Return how many incidents are open, by severity, the worst first."""
        rows = self._rows(
            "cases", "severity, count(*)", where=[("cases.ended = 0", [])], tail="GROUP BY severity"
        )
        counts = {row[0]: row[1] for row in rows}
        return {severity.value: counts.get(severity.rank, 0) for severity in reversed(Severity)}

    def open_by_tenant(self, most: int = 20) -> list[dict[str, Any]]:
        """Return how many incidents are open in each tenant, by severity, the worst first."""
        sums = ", ".join(
            f"sum(parts.severity = {severity.rank}) AS {severity.value}"
            for severity in reversed(Severity)
        )
        rows = self._rows(
            "parts",
            f"parts.part AS tenant, count(*) AS total, {sums}",
            where=[("parts.ended = 0", []), (_OPEN_PART, [])],
            tail="GROUP BY parts.part ORDER BY critical DESC, high DESC, total DESC, 1 LIMIT ?",
            values=[most],
        )
        return [dict(row) for row in rows]

    def waiting(self) -> dict[str, int]:
        """Return the work that waits: approvals, failed commands, tasks, unassigned parts."""
        found = self._one(
            "cases",
            "total(tasks) AS tasks, "
            "total(assignee = '') AS unassigned, total(status = 'new') AS new, count(*) AS open",
            where=[("cases.ended = 0", [])],
        )
        # a command that several incidents ask for is one
        asked = self._rows(
            "asked",
            "asked.waiting, count(DISTINCT asked.command)",
            where=[("asked.ended = 0", [])],
            tail="GROUP BY asked.waiting",
        )
        counts = {bool(waiting): count for waiting, count in asked}
        return {
            "approvals": counts.get(True, 0),
            "failed": counts.get(False, 0),
            **{name: int(value) for name, value in dict(found or {}).items()},
        }

    def times(self, since_ms: int) -> tuple[Figures, Figures]:
        """Return how long it took to detect, and to contain.

        Args:
            since_ms: Of incidents first seen then or later.
        """
        rows = self._rows(
            "cases",
            "retro, detect, contain",
            where=[("cases.first_seen >= ?", [since_ms])],
            tail="ORDER BY cases.first_seen DESC LIMIT ?",
            values=[MOST_TIMES],
        )
        # findings of later intelligence could not have been detected earlier
        return (
            figures(row["detect"] for row in rows if not row["retro"]),
            figures(row["contain"] for row in rows),
        )

    def assignees(self) -> list[str]:
        """Return the assignees of open incidents."""
        rows = self._rows(
            "parts",
            "DISTINCT parts.assignee",
            where=[("parts.ended = 0 AND parts.assignee != ''", [])],
            tail="ORDER BY 1 LIMIT ?",
            values=[LISTED],
        )
        return [row[0] for row in rows]

    def tenants(self) -> list[str]:
        """Return the tenants that the viewer may choose from."""
        if not self.viewer.everything:
            return sorted(self.viewer.tenants)
        rows = self._rows(
            "parts", "DISTINCT parts.part", tail="ORDER BY 1 LIMIT ?", values=[LISTED]
        )
        return [row[0] for row in rows]

    # -- other lists -------------------------------------------------------------------------------

    def rows(self, table: str, selection: RowSelection) -> Page:
        """Return a page of a list.

        Args:
            table: indicators, components, letters, notices, sources, holds or facts.
            selection: Which rows.
        """
        where = matching(table, selection.text) if table in _SEARCHED else []
        if selection.tenant:
            where.append((f"{table}.tenant = ?", [selection.tenant]))
        if selection.kind:
            where.append((f"{table}.{_NARROWED[table]} = ?", [selection.kind]))
        if selection.severity is not None and table == "indicators":
            where.append(("indicators.severity >= ?", [selection.severity.rank]))
        return self._paged(table, where, f"{table}.changed DESC, {table}.id", selection.page)

    def kinds(self, table: str) -> list[tuple[str, int]]:
        """Return the values by which a list can be narrowed, and how many rows have each."""
        column = _NARROWED[table]
        rows = self._rows(
            table,
            f"{table}.{column}, count(*)",
            tail="GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
            values=[LISTED],
        )
        return [(row[0], row[1]) for row in rows]

    def row(self, table: str, key: str, tenant: str = "") -> dict[str, Any] | None:
        """Return one row by its id, None if there is none that the viewer may read."""
        where: list[tuple[str, Sequence[Any]]] = [(f"{table}.id = ?", [key])]
        if tenant:
            where.append((f"{table}.tenant = ?", [tenant]))
        found = self._one(table, "*", where=where)
        return None if found is None else dict(found)

    def indicator(self, key: str) -> SupplyChainIoC | None:
        """Return an indicator by its id."""
        return self._body("indicators", _INDICATORS, [("indicators.id = ?", [key])])

    def hold(self, tenant: str, component: str) -> HoldView | None:
        """Return the holds of a component in a tenant."""
        return self._body(
            "holds", _HOLDS, [("holds.id = ? AND holds.tenant = ?", [component, tenant])]
        )

    def fact(self, key: str) -> IntelFact | None:
        """Return a fact of intelligence by its key."""
        return self._body("facts", _FACTS, [("facts.id = ?", [key])])

    def policy(self, tenant: str) -> Policy | None:
        """Return the policy of a tenant."""
        return self._body("policies", _POLICIES, [("policies.id = ?", [tenant])])

    def policies(self) -> list[dict[str, Any]]:
        """Return the policies that there are."""
        rows = self._rows("policies", tail="ORDER BY policies.id LIMIT ?", values=[LISTED])
        return [dict(row) for row in rows]

    def _body(
        self,
        table: str,
        decoder: msgspec.json.Decoder[T],
        where: Sequence[tuple[str, Sequence[Any]]],
    ) -> T | None:
        row = self._one(
            table,
            "body",
            joined=f"JOIN {table}_body ON {table}_body.row = {table}.rowid",
            where=where,
        )
        return None if row is None else decoder.decode(unpacked(row["body"]))

    def refusal(self, decision: str) -> str | None:
        """Return why a decision was refused, None if no refusal is known.

        Args:
            decision: Its id.
        """
        if not decision.startswith("dec-"):
            return None
        row = self._one(
            "letters",
            "reason, error",
            where=[
                (
                    "letters.topic LIKE '%decisions' AND instr(letters.preview, ?) > 0",
                    [f'"{decision}"'.encode()],
                )
            ],
        )
        return None if row is None else f"{row['reason']}: {row['error']}"

    # -- components --------------------------------------------------------------------------------

    def holdings(self, key: str) -> list[dict[str, Any]]:
        """Return the systems that have a component, a digest, or anything of that name.

        A holding under both its name and its digest is listed once.
        """
        digest = key.removeprefix("sha256:")
        return self._listed(
            "holdings",
            "(holdings.component = ? OR holdings.name = ? OR holdings.digest = ?) "
            "AND NOT (holdings.name <> '' AND EXISTS (SELECT 1 FROM holdings AS named "
            "WHERE named.tenant = holdings.tenant AND named.component = holdings.name "
            "AND named.system = holdings.system AND named.digest = holdings.digest "
            "AND (named.component = ? OR named.digest = ?)))",
            [key, key, digest, key, digest],
        )

    def made_of(self, key: str) -> list[dict[str, Any]]:
        """Return the components made from a component."""
        return self._listed("edges", "edges.parent = ?", [key])

    def made_from(self, key: str) -> list[dict[str, Any]]:
        """Return the components that a component was made from."""
        return self._listed("edges", "edges.child = ?", [key])

    def indicators_of(self, key: str) -> list[dict[str, Any]]:
        """Return the indicators about a component."""
        return self._listed(
            "indicators", "(indicators.component = ? OR indicators.key = ?)", [key, key]
        )

    def holds_of(self, key: str) -> list[dict[str, Any]]:
        """Return the holds of a component."""
        return self._listed("holds", "holds.id = ?", [key])

    def cases_of(self, key: str) -> list[dict[str, Any]]:
        """Return the incidents that name a component, the worst first."""
        rows = self._rows(
            "cases",
            where=matching("cases", key),
            tail="ORDER BY cases.ended, cases.score DESC LIMIT ?",
            values=[LISTED],
        )
        return [dict(row) for row in rows]

    def _listed(self, table: str, condition: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        rows = self._rows(
            table,
            where=[(condition, values)],
            tail=f"ORDER BY {table}.changed DESC LIMIT ?",
            values=[LISTED],
        )
        return [dict(row) for row in rows]

    # -- the index itself --------------------------------------------------------------------------

    def notes(self) -> dict[str, str]:
        """Return the index's notes about itself; nothing unless the viewer is the operator."""
        if not self.viewer.everything:
            return {}
        rows = self._index.reading().execute("SELECT name, value FROM notes ORDER BY name")
        return {row[0]: row[1] for row in rows}


_OPEN_PART: Final = "parts.status NOT IN ('closed', 'false-positive', 'withdrawn')"
_SEARCHED: Final = frozenset({"cases", "indicators", "components", "facts"})

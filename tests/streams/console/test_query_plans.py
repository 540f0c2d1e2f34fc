"""Lists of incidents are filtered, counted and ordered by an index alone, however many they are."""

from __future__ import annotations

from itertools import product

import pytest

from schemas.severity import Severity
from streams.cli.incident_list import SortKey
from streams.console import queries
from streams.console.queries import IndexReader
from streams.console.selections import CaseSelection
from tests.each import each
from tests.streams.console.site import ACME, OPERATOR

FILTERS = {
    "all": {},
    "open": {"open": True},
    "severity": {"severity": Severity.HIGH},
    "status": {"statuses": ("new", "closed")},
    "waiting": {"open": True, "waiting": True},
    "since": {"since_ms": 1},
}
COUNTED_AND_FOUND = ("SELECT count(*) FROM cases ", "SELECT cases.rowid FROM cases ")
LISTS = [
    (sort, reverse, name, viewer)
    for sort, reverse, name, viewer in product(SortKey, (False, True), FILTERS, (OPERATOR, ACME))
]


def plans(index, ask) -> list[list[str]]:
    """Return the plan of each statement that selects or counts rows, not the page's own."""
    said: list[str] = []
    connection = index.reading()
    connection.set_trace_callback(said.append)
    try:
        ask()
    finally:
        connection.set_trace_callback(None)
    asked = [text for text in said if text.startswith(COUNTED_AND_FOUND)]
    assert len(asked) == 2, said
    return [[row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")] for text in asked]


@each(("sort", "reverse", "name", "viewer"), LISTS)
def test_no_row_is_read_that_is_not_on_the_page(index, sort, reverse, name, viewer):
    selection = CaseSelection(sort=sort, reverse=reverse, **FILTERS[name])
    for plan in plans(index, lambda: IndexReader(index, viewer).cases(selection)):
        assert "USING COVERING INDEX" in plan[0], plan
        assert "RIGHT PART" not in " ".join(plan), plan
        if name in {"all", "open"}:
            assert len(plan) == 1, plan


@each("column", ["tenant", "assignee"])
def test_a_part_is_looked_for_among_those_that_the_viewer_reads(index, column):
    selection = CaseSelection(**{column: "acme"})
    for plan in plans(index, lambda: IndexReader(index, OPERATOR).cases(selection)):
        assert any(f"({'part' if column == 'tenant' else column}=? AND tenant=?)" in step
                   for step in plan), plan  # fmt: skip


@each(("few", "step"), [(0, "USING COVERING INDEX"), (5_000, "USING INTEGER PRIMARY KEY")])
def test_of_many_that_are_found_those_of_the_page_are_searched_in_order(index, few, step):
    selection = CaseSelection(text="model", tenant="acme")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "FEW_ROWS", few)
        for plan in plans(index, lambda: IndexReader(index, OPERATOR).cases(selection)):
            assert step in plan[0], plan
            assert "TEMP B-TREE" not in " ".join(plan) or few, plan

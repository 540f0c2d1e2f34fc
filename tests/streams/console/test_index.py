"""The index: what records become, what is kept, and who reads which rows."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.channels import Channel
from schemas.severity import Severity
from streams.cli.incident_list import SortKey
from streams.console import index as index_module
from streams.console import queries
from streams.console.index import ConsoleIndexError, Index, IndexInUseError
from streams.console.queries import IndexReader, SlowQueryError
from streams.console.row_changes import UnreadableError, changes
from streams.console.selections import CaseSelection, RowSelection, search_expression
from streams.console.tables import LAYOUT, RowLimits
from streams.console.viewer import Viewer
from tests.streams.console.played import edited, fill, indexed, letter, record
from tests.streams.console.site import ACME, GLOBEX, OPERATOR

LISTS = ("indicators", "components", "letters", "notices", "sources", "holds", "facts")
TABLES = ("cases", "holdings", "edges", "policies", *LISTS)


def contents(made: Index) -> dict[str, list[tuple]]:
    """Return all that an index holds, in an order that does not depend on how it came."""
    rows = made.reading()
    names = [
        name
        for (name,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if "_text_" not in name and name != "notes"
    ]
    found = {}
    for name in names:
        columns = [row[1] for row in rows.execute(f"PRAGMA table_info({name})")]
        kept = ", ".join(column for column in columns if column not in {"row", "text"})
        if kept:
            found[name] = sorted(map(repr, map(tuple, rows.execute(f"SELECT {kept} FROM {name}"))))
    return found


@pytest.fixture
def small(played):
    """A few records of each channel, which tests may change."""
    found = {}
    for channel, entry in played.records:
        found.setdefault(channel, []).append((channel, entry))
    return [entry for channel, many in found.items() for entry in many[:20]]


@pytest.fixture
def own(tmp_path):
    made = Index(tmp_path)
    made.begin("cluster|")
    yield made
    made.close()


def test_a_replay_adds_nothing(tmp_path, small):
    made = indexed(tmp_path, small)
    before = contents(made)
    fill(made, small)
    assert contents(made) == before
    assert all(before[name] for name in ("cases", "indicators", "holdings", "parts", "letters"))
    made.close()


def test_a_missing_index_is_the_same_once_rebuilt(tmp_path, small):
    made = indexed(tmp_path / "a", small)
    before = contents(made)
    made.close()
    again = indexed(tmp_path / "b", small)
    assert contents(again) == before
    again.close()


def test_rows_and_offsets_are_kept_together_or_not_at_all(own, small):
    def failing():
        for channel, entry in small:
            yield from changes(channel, entry)
        raise sqlite3.OperationalError("disk full")

    with pytest.raises(ConsoleIndexError, match="disk full"):
        own.apply(failing(), {("t", 0): 7})
    assert own.begin("cluster|") == {}
    assert not contents(own)["cases"]
    own.apply([row for channel, entry in small for row in changes(channel, entry)], {("t", 0): 7})
    assert own.begin("cluster|") == {("t", 0): 7}
    assert contents(own)["cases"]


def test_index_continues_after_a_restart(tmp_path, small):
    made = indexed(tmp_path, small)
    made.apply([], {("t", 1): 12})
    before = contents(made)
    made.close()
    again = Index(tmp_path)
    assert again.begin("cluster|") == {("t", 1): 12}
    assert contents(again) == before
    again.close()


def test_index_is_locked_by_one_console(tmp_path, small):
    made = indexed(tmp_path, small)
    with pytest.raises(IndexInUseError, match="a console runs"):
        Index(tmp_path)
    made.close()
    Index(tmp_path).close()


def test_index_of_another_cluster_is_emptied(tmp_path, small):
    made = indexed(tmp_path, small)
    made.apply([], {("t", 1): 12})
    assert made.begin("another|") == {}
    assert not any(contents(made).values())
    made.close()


@pytest.mark.parametrize("damage", ["layout", "bytes"])
def test_an_index_of_another_layout_or_damaged_is_rebuilt(tmp_path, small, damage):
    made = indexed(tmp_path, small)
    made.close()
    if damage == "layout":
        connection = sqlite3.connect(made.path)
        connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
        connection.close()
    else:
        made.path.write_bytes(b"this is no database" * 1000)
    again = Index(tmp_path)
    assert again.begin("cluster|") == {}
    assert not any(contents(again).values())
    again.close()


def test_a_deleted_incident_is_gone_with_its_text(own, played):
    (incident,) = [entry for channel, entry in played.records if channel is Channel.INCIDENTS][-1:]
    fill(own, [(Channel.INCIDENTS, incident)])
    reader = IndexReader(own, OPERATOR)
    (row,) = reader.cases(CaseSelection(open=False)).rows
    assert reader.cases(CaseSelection(text=row["id"])).total == 1
    fill(own, [(Channel.INCIDENTS, record(Channel.INCIDENTS, row["id"], None))])
    assert reader.cases(CaseSelection()).total == 0
    assert not any(contents(own).values())


def test_a_later_record_takes_the_place_of_an_earlier_one_in_searches_as_well(own, played):
    incident = next(entry for channel, entry in played.records if channel is Channel.INCIDENTS)
    for title in ("zebra crossing", "okapi crossing"):
        value = edited(incident.value, title=title)
        fill(own, [(Channel.INCIDENTS, msgspec.structs.replace(incident, value=value))])
    reader = IndexReader(own, OPERATOR)
    assert [reader.cases(CaseSelection(text=text)).total for text in ("zebra", "okapi")] == [0, 1]


def test_what_is_no_document_of_its_topic_is_counted_and_passed_over(own):
    broken = [
        (channel, record(channel, "k", value))
        for channel in (Channel.INCIDENTS, Channel.ALERTS, Channel.IOCS, Channel.OBSERVATIONS)
        for value in (b"", b"{", b"[]", b"\xff", b'{"type": 7}', b"[" * 10_000)
    ]
    assert fill(own, broken) == len(broken)
    assert IndexReader(own, OPERATOR).notes()["unreadable"] == str(len(broken))


@pytest.mark.parametrize("channel", [Channel.IOCS, Channel.ALERTS, Channel.POLICY])
def test_a_document_of_another_topic_is_refused(channel, played):
    other = next(entry for found, entry in played.records if found is Channel.INTEL)
    with pytest.raises(UnreadableError):
        changes(channel, other)


def test_a_tenant_with_too_many_loses_its_own_oldest_and_no_others(tmp_path, small):
    made = indexed(tmp_path, small, limits=RowLimits(dead_letters=10))
    reader = IndexReader(made, OPERATOR)
    before = {row["id"] for row in reader.rows("notices", RowSelection(tenant="globex")).rows}
    bound = {"flood": "acme"}
    fill(
        made,
        [(Channel.DEAD_LETTER, letter("flood", b"{", offset=number)) for number in range(50)],
        bound,
    )
    found = reader.rows("letters", RowSelection(tenant="acme"))
    assert found.total == 10
    assert {row["id"] for row in found.rows} == {f"flood-0-{number}" for number in range(40, 50)}
    assert reader.notes()["dropped letters"] == "40"
    after = {row["id"] for row in reader.rows("notices", RowSelection(tenant="globex")).rows}
    assert after == before
    made.close()


def test_closed_incidents_go_before_open_ones(own, played, monkeypatch):
    monkeypatch.setattr(index_module, "_TRIM_EVERY", 1.0)
    own.limits = RowLimits(incidents=2)
    incident = next(entry for channel, entry in played.records if channel is Channel.INCIDENTS)
    for number, status in enumerate(("new", "closed", "new", "new")):
        value = edited(incident.value, id=f"inc-{number}", status=status)
        fill(own, [(Channel.INCIDENTS, msgspec.structs.replace(incident, value=value))])
    found = IndexReader(own, OPERATOR).cases(CaseSelection(sort=SortKey.ID)).rows
    assert len(found) == 2
    assert {row["status"] for row in found} == {"new"}


# -- reading -------------------------------------------------------------------------------------


def test_an_operator_reads_incidents_whole_and_a_tenant_its_own_part(index):
    whole = IndexReader(index, OPERATOR).cases(CaseSelection())
    assert whole.total == 5
    shared = next(row for row in whole.rows if row["tenants"] > 1)
    reader = IndexReader(index, GLOBEX)
    own = {row["id"]: row for row in reader.cases(CaseSelection()).rows}
    assert set(own) < {row["id"] for row in whole.rows}
    assert own[shared["id"]]["systems"] < shared["systems"]
    case = reader.case(shared["id"])
    assert {part.tenant for part in case.document.tenants} == {"globex"}
    assert {system.tenant for system in case.document.systems} == {"globex"}


@pytest.mark.parametrize("table", TABLES)
def test_no_query_gives_a_row_of_another_tenant(index, table):
    reader = IndexReader(index, ACME)
    assert {row["tenant"] for row in reader._rows(table, "tenant")} <= {"acme"}


@pytest.mark.parametrize("tenants", [(), ("",), ("nobody",), ("' OR 1 --",)])
def test_viewer_without_a_tenant_reads_nothing(index, tenants):
    reader = IndexReader(index, Viewer(name="x", tenants=tenants))
    for table in TABLES:
        assert reader._rows(table, "tenant") == []
    assert reader.open_by_tenant() == []
    assert set(reader.open_by_severity().values()) == {0}
    assert reader.notes() == {}
    assert reader.assignees() == []


def test_cross_tenant_rows_are_the_operators_alone(index):
    for viewer in (ACME, GLOBEX):
        reader = IndexReader(index, viewer)
        assert reader.rows("facts", RowSelection()).total == 0
        kinds = {row["kind"] for row in reader.rows("notices", RowSelection()).rows}
        assert kinds == {"source-silent"}
    kinds = {
        row["kind"] for row in IndexReader(index, OPERATOR).rows("notices", RowSelection()).rows
    }
    assert "over-correlating" in kinds


def test_only_a_bound_topic_assigns_a_dead_letter_to_a_tenant(index):
    assert IndexReader(index, ACME).rows("letters", RowSelection()).total == 1
    assert IndexReader(index, GLOBEX).rows("letters", RowSelection()).total == 0
    assert IndexReader(index, OPERATOR).rows("letters", RowSelection()).total == 2


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (CaseSelection(severity=Severity.CRITICAL), 3),
        (CaseSelection(severity=Severity.HIGH), 4),
        (CaseSelection(statuses=("closed",)), 0),
        (CaseSelection(tenant="umbra"), 2),
        (CaseSelection(tenant="nobody"), 0),
        (CaseSelection(assignee=""), 5),
        (CaseSelection(assignee="alice"), 0),
        (CaseSelection(text="litellm"), 1),
        (CaseSelection(text="LITELLM 1.82"), 1),
        (CaseSelection(text="speedy-llm/chat-7b"), 1),
        (CaseSelection(text="litellm no-such-word"), 0),
        (CaseSelection(waiting=True), 4),
        (CaseSelection(since_ms=1 << 45), 0),
    ],
)
def test_a_list_is_narrowed_as_asked(index, selection, expected):
    assert IndexReader(index, OPERATOR).cases(selection).total == expected


@pytest.mark.parametrize("key", list(SortKey))
def test_a_list_is_in_the_order_asked_for_and_the_reverse(index, key):
    reader = IndexReader(index, OPERATOR)
    down = [row["id"] for row in reader.cases(CaseSelection(sort=key)).rows]
    rows = {row["id"]: row for row in reader.cases(CaseSelection()).rows}
    column = {SortKey.FIRST_SEEN: "first_seen"}.get(key, key.value)
    values = [rows[key][column] for key in down]
    assert values == sorted(values, reverse=key is not SortKey.ID)
    up = [row["id"] for row in reader.cases(CaseSelection(sort=key, reverse=True)).rows]
    assert [rows[key][column] for key in up] == values[::-1]


def test_a_page_beyond_the_last_is_the_last(index, monkeypatch):
    monkeypatch.setattr(queries, "PAGE", 2)
    reader = IndexReader(index, OPERATOR)
    pages = [reader.cases(CaseSelection(page=number)) for number in (1, 2, 3, 99)]
    assert [page.number for page in pages] == [1, 2, 3, 3]
    ids = [row["id"] for page in pages[:3] for row in page.rows]
    assert len(set(ids)) == 5


def test_an_incident_is_found_by_a_beginning_that_is_unique(index):
    reader = IndexReader(index, OPERATOR)
    ids = [row["id"] for row in reader.cases(CaseSelection()).rows]
    assert reader.case(ids[0][:16]).document.id == ids[0]
    assert reader.case("inc-") is None
    assert reader.case("inc-%") is None


def test_a_component_says_who_has_it_and_what_was_made_of_it(index):
    reader = IndexReader(index, OPERATOR)
    dataset = "dataset:huggingface/label-vendor/reviews-extended"
    assert {row["tenant"] for row in reader.holdings(dataset)} >= {"umbra"}
    for key in (dataset, "pypi:litellm"):
        held = reader.holdings(key)
        once = {(row["tenant"], row["system"], row["version"], row["digest"]) for row in held}
        assert len(held) == len(once) > 0, "by name and by digest is one"
    (digest,) = {row["digest"] for row in reader.holdings(dataset)}
    assert {row["component"] for row in reader.holdings(f"sha256:{digest}")} == {dataset}
    made = {row["child"] for row in reader.made_of(dataset)}
    assert made
    assert dataset in {row["parent"] for row in reader.made_from(next(iter(made)))}
    assert IndexReader(index, ACME).made_of(dataset) == []


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_search_text_is_literal(index, text):
    reader = IndexReader(index, OPERATOR)
    assert 0 <= reader.cases(CaseSelection(text=text)).total <= 5
    expression = search_expression(text)
    assert (expression is None) == (not any(map(str.isalnum, text)))


@pytest.mark.parametrize(
    "text", ['"', '" OR "a', "litellm*", "NEAR(a b)", "title:x", "-a", "a\x00b"]
)
def test_search_operators_are_words(index, text):
    IndexReader(index, OPERATOR).cases(CaseSelection(text=text))


def test_a_query_that_takes_too_long_is_ended(index, monkeypatch):
    monkeypatch.setattr(queries, "QUERY_SECONDS", -1.0)
    monkeypatch.setattr(queries, "_STEPS", 1)
    with pytest.raises(SlowQueryError, match="narrow it down"):
        IndexReader(index, OPERATOR).cases(CaseSelection(text="a"))


def test_a_viewer_is_notified_of_changes_of_their_own_tenants_only(own, played):
    alerts = {
        tenant: next(
            entry
            for channel, entry in played.records
            if channel is Channel.ALERTS and entry.key.endswith(f"|{tenant}".encode())
        )
        for tenant in ("acme", "globex")
    }
    reader = IndexReader(own, ACME)
    before = reader.revision
    fill(own, [(Channel.ALERTS, alerts["globex"])])
    assert reader.revision == before
    fill(own, [(Channel.ALERTS, alerts["acme"])])
    assert reader.revision > before

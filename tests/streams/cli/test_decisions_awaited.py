"""`--wait`: a decision is awaited until the incident says so, whatever it decides."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from schemas.decisions import Decision
from schemas.incidents.states import IncidentStatus, Occurrence
from schemas.incidents.views import TimelineEntry
from streams import decisions
from streams.cli import incident_decisions, main
from tests.each import each
from tests.streams.reports.test_incident_report import incident

PLAIN = ["acknowledge", "close", "false-positive", "reopen", "share", "comment"]


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Decision]:
    """The decisions that were written; the incident says so the second time that it is read."""
    made: list[Decision] = []
    reads = iter(range(1_000_000))

    async def write(_settings, decision, _signer) -> None:
        made.append(decision)

    def all_incidents():
        document = incident(status=IncidentStatus.ACKNOWLEDGED)
        if next(reads) % 2:
            entry = TimelineEntry(
                at=made[-1].time, what=Occurrence.DECIDED, text="decided", ref=made[-1].id
            )
            document = msgspec.structs.replace(document, timeline=(entry,))
        return {document.id: document}

    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TIDEWATCH_KAFKA", "127.0.0.1:1")
    monkeypatch.setattr(incident_decisions, "WAIT_STEP", 0.0)
    monkeypatch.setattr(incident_decisions, "one_incident", lambda _start: incident())
    monkeypatch.setattr(incident_decisions, "all_incidents", all_incidents)
    monkeypatch.setattr(decisions, "write_decision", write)
    return made


@each(
    "words",
    [
        *([kind, "inc-1"] for kind in PLAIN),
        ["assign", "inc-1", "ann"],
        ["suppress", "inc-1", "--days", "2"],
        ["severity", "inc-1", "low"],
        ["evaluation", "inc-1", "host-1", "--passed"],
        ["complete", "inc-1", "1"],
    ],
)
def test_every_decision_is_awaited(words, written, capsys):
    assert main(["incidents", *words, "--reason", "why", "--wait"]) == 0
    assert "the incident is now acknowledged" in capsys.readouterr().out.splitlines()
    assert main(["incidents", *words, "--reason", "why", "--wait", "--format", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("id") for line in lines] == [written[-1].id, None]
    assert lines[-1] == {"incident": "inc-1", "status": "acknowledged"}


def test_what_never_takes_effect_says_where_to_look(monkeypatch, capsys):
    monkeypatch.setattr(incident_decisions, "WAIT_SECONDS", 0.0)
    assert main(["incidents", "close", "inc-1", "--reason", "why", "--wait"]) == 2
    assert "tidewatch dead-letters list" in capsys.readouterr().err

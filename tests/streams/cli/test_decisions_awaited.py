"""`--wait` waits until the incident shows the decision, for each kind of decision."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from schemas.decisions import Decision
from schemas.incidents.states import IncidentStatus, Occurrence
from schemas.incidents.views import IncidentDocument, TimelineEntry
from streams import decisions
from streams.cli import incident_decisions, incident_records, main
from streams.kafka import reader
from tests.each import each
from tests.streams.reports.test_incident_report import incident

PLAIN = ["acknowledge", "close", "false-positive", "reopen", "share", "comment"]


def record(document: IncidentDocument) -> SimpleNamespace:
    """Return a document as a record of the topic."""
    return SimpleNamespace(key=document.id.encode(), value=msgspec.json.encode(document))


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Decision]:
    """The written decisions; the topic of incidents has the result once it is read on."""
    made: list[Decision] = []

    async def write(_settings, decision, _signer) -> None:
        made.append(decision)

    class Reader:
        """Gives an incident before the decision, others, and then the incident after it."""

        def __init__(self):
            self.reads = 0

        async def to_end(self):
            self.reads += 1
            before = incident(status=IncidentStatus.ACKNOWLEDGED)
            if self.reads == 1:
                yield record(incident(id="inc-2"))
                yield record(before)
            elif self.reads == 3:
                entry = TimelineEntry(
                    at=made[-1].time, what=Occurrence.DECIDED, text="decided", ref=made[-1].id
                )
                yield record(msgspec.structs.replace(before, timeline=(entry,)))

    @asynccontextmanager
    async def open_topic(_settings, topic, *, from_start):
        assert (topic, from_start) == ("supplychain.incidents", True)
        yield Reader()

    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TIDEWATCH_KAFKA", "127.0.0.1:1")
    monkeypatch.setattr(incident_records, "WAIT_STEP", 0.0)
    monkeypatch.setattr(incident_decisions, "one_incident", lambda _start: incident())
    monkeypatch.setattr(reader, "open_topic", open_topic)
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


def test_timeout_names_the_commands_that_tell_why(monkeypatch, capsys):
    monkeypatch.setattr(incident_decisions, "WAIT_SECONDS", 0.0)
    assert main(["incidents", "close", "inc-1", "--reason", "why", "--wait"]) == 2
    assert "tidewatch dead-letters list" in capsys.readouterr().err

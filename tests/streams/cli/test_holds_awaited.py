"""`tidewatch holds release --wait` waits until nothing of what it released is held."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from schemas.decisions import DecisionKind
from schemas.incidents.holds import HoldState, HoldView, ReasonState, ReasonView, ThingView
from streams.cli import holds, main
from tests.streams.reports.test_incident_report import incident

MODEL = "model:huggingface/acme/churn"
HELD = ThingView(
    action="quarantine",
    target=f"{MODEL}@r2",
    state=HoldState.HELD,
    generation=0,
    reasons=(ReasonView(incident="inc-1", state=ReasonState.AUTOMATIC, closed=True),),
    command=incident().commands[0].spec,
)
OTHER = replace(HELD, target=f"{MODEL}@r9")


@pytest.fixture
def reads(tmp_path, monkeypatch):
    """What the topic of holds has at each further read; the decisions are noted beside it."""
    state = {"views": [], "read": 0, "decided": []}

    async def read(_settings):
        view = state["views"][min(state["read"], len(state["views"]) - 1)]
        state["read"] += 1
        return [HoldView(tenant="b", component=MODEL, things=(HELD,)), view]

    def decide(kind, incident_id, reason, **given):
        state["decided"].append((kind, incident_id, reason, given["target"]))

    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TIDEWATCH_KAFKA", "127.0.0.1:1")
    monkeypatch.setattr(holds, "WAIT_STEP", 0.001)
    monkeypatch.setattr(holds, "_read", read)
    monkeypatch.setattr(holds, "decide", decide)
    return state


def _view(*things):
    return HoldView(tenant="a", component=MODEL, things=things)


def test_the_state_after_a_release_is_shown(reads, capsys):
    before = _view(HELD)
    reads["views"] = [before, before, before, _view(replace(HELD, state=HoldState.RELEASED))]
    assert main(["holds", "release", "a", MODEL, "--reason", "why", "--wait"]) == 0
    assert f"quarantine {MODEL}@r2 is now released" in capsys.readouterr().out.splitlines()
    assert reads["read"] == 4
    ((kind, incident_id, reason, target),) = reads["decided"]
    assert (kind, incident_id, reason) == (DecisionKind.RELEASE, "inc-1", "why")
    assert target == HELD.command.command_id


def test_the_state_is_one_document_in_json(reads, capsys):
    reads["views"] = [_view(HELD), _view(replace(HELD, state=HoldState.RELEASED))]
    command = ["holds", "release", "a", MODEL, "--reason", "why", "--wait", "--format", "json"]
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["things"][0]["state"] == "released"


def test_without_the_option_nothing_is_awaited(reads):
    reads["views"] = [_view(HELD)]
    assert main(["holds", "release", "a", MODEL, "--reason", "why"]) == 0
    assert reads["read"] == 1


def test_a_release_that_takes_no_effect_is_an_error(reads, monkeypatch, capsys):
    monkeypatch.setattr(holds, "WAIT_SECONDS", 0.005)
    reads["views"] = [_view(HELD), _view(HELD, replace(OTHER, state=HoldState.RELEASED))]
    assert main(["holds", "release", "a", MODEL, "--reason", "why", "--wait"]) == 2
    assert "tidewatch dead-letters list" in capsys.readouterr().err

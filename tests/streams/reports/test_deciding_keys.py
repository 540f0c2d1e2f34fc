"""The key that a decision was signed with is kept with it, and shown."""

from __future__ import annotations

from schemas.decisions import DecisionKind
from streams.reports.incident import markdown
from tests.agents.triage.incidents.incident_flow import CASE, decide, hostile


def test_the_timeline_and_the_report_name_actor_and_key() -> None:
    flow = hostile("a")
    decide(flow, DecisionKind.ACKNOWLEDGE, key="ann-2026")
    decide(flow, DecisionKind.ASSIGN, tenant="a", target="bob", key="bea-2026")
    document = flow.incidents[CASE]
    shown = [entry.text for entry in document.timeline if "because" in entry.text]
    assert "acknowledge by analyst@acme.example (key ann-2026): because" in shown
    assert "assign to bob by analyst@acme.example (key bea-2026): because" in shown
    assert "key ann-2026" in markdown(document)


def test_a_decision_recorded_before_keys_were_is_shown_without() -> None:
    flow = hostile("a")
    decide(flow, DecisionKind.ACKNOWLEDGE)
    assert any(
        entry.text == "acknowledge by analyst@acme.example: because"
        for entry in flow.incidents[CASE].timeline
    )

"""Severity that people set: what has it, for how long, and what it must not change."""

from __future__ import annotations

import pytest

from schemas.decisions import DecisionKind
from schemas.documents.ecs import alert_document
from schemas.documents.ocsf import detection_finding
from schemas.policy import Policy
from schemas.severity import Severity, band
from tests.agents.triage.flow import at
from tests.agents.triage.incidents.incident_flow import ALL, CASE, decide, hostile
from tests.agents.triage.stories import BAD, MODEL, held


def set_severity(flow, target, minutes=200, **more):
    decide(flow, DecisionKind.SEVERITY, minutes, target=target, **more)


@pytest.mark.parametrize("target", list(Severity))
def test_the_alert_and_its_documents_have_the_severity_that_was_set(target):
    flow = hostile("a")
    set_severity(flow, target, tenant="a")
    view = flow.alerts[CASE, "a"]
    assert view.score.band is target
    assert band(view.score.value) is target
    assert flow.incidents[CASE].score.band is target
    finding = detection_finding(view)
    assert finding["severity"].lower() == target
    assert finding["severity_id"] == target.rank + 1
    assert finding["risk_level_id"] == target.rank
    assert finding["risk_score"] == view.score.value
    event = alert_document(view)
    assert event["event"]["severity"] == view.score.value
    assert event["tidewatch"]["severity"] == target


def test_last_severity_decision_replaces_earlier_ones():
    flow = hostile("a")
    before = flow.alerts[CASE, "a"].score
    for number, target in enumerate(("low", "critical", "low", "informational")):
        set_severity(flow, target, 200 + number, tenant="a")
    after = flow.alerts[CASE, "a"].score
    assert after.band is Severity.INFORMATIONAL
    assert after.terms[:-1] == before.terms
    set_severity(flow, "computed", 300, tenant="a")
    assert flow.alerts[CASE, "a"].score == before
    assert flow.incidents[CASE].score.band is before.band


def test_decided_severity_outlasts_new_findings():
    flow = hostile("a")
    set_severity(flow, "low", tenant="a")
    flow.saw(*held(MODEL, "a", "gpu-new", 300, version="r2", digest=BAD))
    view = flow.alerts[CASE, "a"]
    assert view.system_count == 2
    assert view.score.band is Severity.LOW


@pytest.mark.parametrize("automatic", [ALL, ()])
def test_severity_decision_does_not_change_containment(automatic):
    calm, decided = (hostile("a", [Policy(tenant="a", automatic=automatic)]) for _ in range(2))
    set_severity(decided, "informational", tenant="a")
    decide(calm, DecisionKind.COMMENT, tenant="a")  # so that both clocks stand alike
    for flow in (calm, decided):
        flow.saw(*held(MODEL, "a", "gpu-new", 300, version="r2", digest=BAD))
    assert calm.alerts[CASE, "a"].commands
    assert decided.issued == calm.issued
    assert decided.alerts[CASE, "a"].commands == calm.alerts[CASE, "a"].commands


def test_operator_severity_applies_to_the_incident_and_each_part():
    flow = hostile("ab")
    set_severity(flow, "critical", 190, tenant="a")
    set_severity(flow, "low", 200)
    assert {view.score.band for view in flow.alerts.values()} == {Severity.LOW}
    assert flow.incidents[CASE].score.band is Severity.LOW
    set_severity(flow, "high", 210, tenant="a")
    assert flow.alerts[CASE, "a"].score.band is Severity.HIGH
    assert flow.alerts[CASE, "b"].score.band is Severity.LOW
    assert flow.incidents[CASE].score.band is Severity.LOW


def test_incident_severity_is_the_worst_of_its_parts():
    flow = hostile("ab")
    computed = flow.incidents[CASE].score
    set_severity(flow, "informational", 200, tenant="a")
    assert flow.incidents[CASE].score == computed, "b's part is as severe as it was"
    set_severity(flow, "low", 201, tenant="b")
    assert flow.incidents[CASE].score.band is Severity.LOW
    set_severity(flow, "critical", 202, tenant="b")
    assert flow.incidents[CASE].score.band is Severity.CRITICAL


def test_severity_is_published_after_a_suppression():
    flow = hostile("a")
    decide(flow, DecisionKind.SUPPRESS, 61, tenant="a", expires=at(24 * 60))
    view = flow.alerts[CASE, "a"]
    reported = len(flow.history[view.id])
    set_severity(flow, "low", 70, tenant="a")
    assert len(flow.history[view.id]) == reported
    flow.tick(minutes=25 * 60)
    assert flow.alerts[CASE, "a"].score.band is Severity.LOW


def test_no_tenant_reads_the_operators_reason_or_another_tenants_decision():
    flow = hostile("ab")
    set_severity(flow, "low", 200)
    set_severity(flow, "high", 201, tenant="a")
    texts = flow.texts_for("b")
    assert "because" not in texts
    assert "analyst" not in texts
    assert "set by the operator" in texts
    assert "severity low" in texts
    assert "severity high" not in texts

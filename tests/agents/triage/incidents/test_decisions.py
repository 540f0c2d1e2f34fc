"""Decisions of people: acknowledge, false positive, reopen, suppress."""

from __future__ import annotations

import pytest

from schemas.decisions import DecisionKind
from schemas.policy import Policy
from tests.agents.triage.flow import at
from tests.agents.triage.incidents.incident_flow import ALL, CASE, ROOT, decide, hostile
from tests.agents.triage.stories import BAD, MODEL, held


def test_acknowledge_and_assign():
    flow = hostile("a")
    decide(flow, DecisionKind.ACKNOWLEDGE, tenant="a")
    decide(flow, DecisionKind.ASSIGN, tenant="a", target="bob")
    view = flow.alerts[CASE, "a"]
    assert view.status == "acknowledged"
    assert view.assignee == "bob"


def test_a_false_positive_closes_undoes_and_withdraws_the_indicator():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    for spec in list(flow.issued):
        flow.answer(spec)
    decide(flow, DecisionKind.FALSE_POSITIVE, tenant="a")
    view = flow.alerts[CASE, "a"]
    assert view.status == "false-positive"
    reported = [alert.activity for alert in flow.history[view.id]]
    assert reported.count("close") == 1
    assert set(reported[reported.index("close") + 1 :]) <= {"update"}
    assert {spec.action for spec in flow.issued if spec.undoes} == {
        "restore",
        "unblock",
        "roll-forward",
    }
    assert {ioc.status for ioc in flow.iocs.values()} == {"withdrawn"}


def test_release_is_in_the_timeline_at_its_command():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    for spec in list(flow.issued):
        flow.answer(spec)
    decide(flow, DecisionKind.FALSE_POSITIVE, 100, tenant="a")
    ids = {spec.command_id for spec in flow.issued if spec.undoes}
    released = [entry.at for entry in flow.alerts[CASE, "a"].timeline if entry.ref in ids]
    assert released
    assert max(released) <= at(101)


def test_reopening_reverts_a_false_positive():
    flow = hostile("a")
    decide(flow, DecisionKind.FALSE_POSITIVE, 200, tenant="a")
    decide(flow, DecisionKind.REOPEN, 210, tenant="a")
    assert flow.alerts[CASE, "a"].status == "new"
    assert {ioc.status for ioc in flow.iocs.values()} == {"active"}


def test_operator_decision_applies_to_all_tenants():
    flow = hostile("abc")
    decide(flow, DecisionKind.CLOSE)
    assert {view.status for view in flow.alerts.values()} == {"closed"}
    assert flow.incidents[CASE].status == "closed"
    assert flow.incidents[CASE].phase == "post-incident"
    assert "analyst" not in flow.texts_for("b")


def test_a_closed_incident_reopens_on_recurrence():
    flow = hostile("a")
    decide(flow, DecisionKind.CLOSE, 200, tenant="a")
    assert flow.alerts[CASE, "a"].status == "closed"
    flow.saw(*held(MODEL, "a", "gpu-new", 300, version="r2", digest=BAD))
    assert flow.alerts[CASE, "a"].status == "new"


def test_a_suppression_is_quiet_until_it_expires():
    flow = hostile("a")
    decide(flow, DecisionKind.SUPPRESS, 61, tenant="a", target=ROOT, expires=at(24 * 60))
    view = flow.alerts[CASE, "a"]
    assert view.status == "suppressed"
    reported = len(flow.history[view.id])
    flow.saw(*held(MODEL, "a", "gpu-new", 90, version="r2", digest=BAD))
    assert len(flow.history[view.id]) == reported
    flow.tick(minutes=25 * 60)
    assert flow.alerts[CASE, "a"].status != "suppressed"
    assert flow.alerts[CASE, "a"].system_count == 2


def test_reopening_ends_a_suppression_and_a_later_one_holds_again():
    flow = hostile("a")
    decide(flow, DecisionKind.SUPPRESS, 61, tenant="a", expires=at(24 * 60))
    decide(flow, DecisionKind.SUPPRESS, 62, tenant="a", expires=at(12 * 60))
    decide(flow, DecisionKind.REOPEN, 70, tenant="a")
    view = flow.alerts[CASE, "a"]
    assert view.status == "new"
    reported = len(flow.history[view.id])
    flow.saw(*held(MODEL, "a", "gpu-new", 90, version="r2", digest=BAD))
    assert len(flow.history[view.id]) > reported
    decide(flow, DecisionKind.SUPPRESS, 100, tenant="a", expires=at(48 * 60))
    assert flow.alerts[CASE, "a"].status == "suppressed"


def test_a_suppression_that_lasts_longer_outlives_a_shorter_one():
    flow = hostile("a")
    decide(flow, DecisionKind.SUPPRESS, 61, tenant="a", expires=at(48 * 60))
    decide(flow, DecisionKind.SUPPRESS, 62, tenant="a", expires=at(24 * 60))
    flow.tick(minutes=25 * 60)
    assert flow.alerts[CASE, "a"].status == "suppressed"
    flow.tick(minutes=49 * 60)
    assert flow.alerts[CASE, "a"].status == "new"


@pytest.mark.parametrize("suppressed_ms", [61, 120])
def test_a_false_positive_is_closed_and_released_whether_it_is_suppressed_or_not(suppressed_ms):
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    for spec in list(flow.issued):
        flow.answer(spec)
    expires = at(48 * 60)
    if suppressed_ms < 100:
        decide(flow, DecisionKind.SUPPRESS, suppressed_ms, tenant="a", expires=expires)
    decide(flow, DecisionKind.FALSE_POSITIVE, 100, tenant="a")
    if suppressed_ms > 100:
        decide(flow, DecisionKind.SUPPRESS, suppressed_ms, tenant="a", expires=expires)
    view = flow.alerts[CASE, "a"]
    assert view.status == "false-positive"
    assert [alert.activity for alert in flow.history[view.id]].count("close") == 1
    assert {spec.action for spec in flow.issued if spec.undoes} == {
        "restore",
        "unblock",
        "roll-forward",
    }


@pytest.mark.parametrize("ended", [DecisionKind.FALSE_POSITIVE, DecisionKind.CLOSE])
def test_acknowledging_what_is_closed_does_not_open_it(ended):
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    for spec in list(flow.issued):
        flow.answer(spec)
    decide(flow, ended, 100, tenant="a")
    status, issued = flow.alerts[CASE, "a"].status, len(flow.issued)
    indicators = {ioc.status for ioc in flow.iocs.values()}
    decide(flow, DecisionKind.ACKNOWLEDGE, 110, tenant="a")
    decide(flow, DecisionKind.ACKNOWLEDGE, 120)
    assert flow.alerts[CASE, "a"].status == status
    assert len(flow.issued) == issued
    assert {ioc.status for ioc in flow.iocs.values()} == indicators


def test_recurrence_after_closing_can_be_acknowledged():
    flow = hostile("a")
    decide(flow, DecisionKind.CLOSE, 70, tenant="a")
    flow.saw(*held(MODEL, "a", "gpu-new", 90, version="r2", digest=BAD))
    decide(flow, DecisionKind.ACKNOWLEDGE, 100, tenant="a")
    assert flow.alerts[CASE, "a"].status == "acknowledged"


def test_closing_ends_a_suppression():
    flow = hostile("a")
    decide(flow, DecisionKind.SUPPRESS, 61, tenant="a", expires=at(24 * 60))
    decide(flow, DecisionKind.CLOSE, 70, tenant="a")
    assert flow.alerts[CASE, "a"].status == "closed"
    flow.saw(*held(MODEL, "a", "gpu-new", 90, version="r2", digest=BAD))
    assert flow.alerts[CASE, "a"].status == "new"


def test_the_operator_reopens_what_a_tenant_suppressed():
    flow = hostile("ab")
    decide(flow, DecisionKind.SUPPRESS, 61, tenant="a", expires=at(24 * 60))
    decide(flow, DecisionKind.REOPEN, 70)
    assert flow.alerts[CASE, "a"].status == "new"

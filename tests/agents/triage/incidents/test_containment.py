"""Containment: which commands an incident issues, and what their answers change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.triage.containment import (
    command_id,
    last_known_good,
    mode_of,
    plan,
)
from agents.triage.grounds import Ground, ground_of
from agents.triage.incidents.views import significance
from agents.triage.routing import incident_message
from schemas.decisions import DecisionKind
from schemas.incidents.updates import ForgedResult, KnownGood
from schemas.incidents.views import SystemView
from schemas.policy import Policy
from schemas.severity import ExposureLevel, Severity
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.incidents.incident_flow import ALL, CASE, ROOT, decide, hostile
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held


def test_evidence_precedes_containment_and_rollback_targets_the_last_known_good():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    specs = {spec.action: spec for spec in flow.issued}
    assert set(specs) == {"capture-evidence", "quarantine", "rollback", "block", "revoke"}
    evidence = {
        command.target: command for command in flow.issued if command.action == "capture-evidence"
    }
    assert set(evidence) == {f"{MODEL}@r2", "gpu-a"}
    first = evidence[f"{MODEL}@r2"].command_id
    assert all(
        first in command.after for command in flow.issued if command.action != "capture-evidence"
    )
    assert specs["quarantine"].command_id in specs["rollback"].after
    assert specs["rollback"].rollback_digest == GOOD
    assert specs["revoke"].target == "secret-ref:a-token"
    assert specs["block"].target == ROOT
    assert all(spec.dry_run and spec.expires and spec.reason for spec in flow.issued)
    views = [view for view in flow.incidents[CASE].commands if view.state != "advised"]
    assert {view.spec.command_id for view in views} == {
        command.command_id for command in flow.issued
    }
    assert all(view.spec.findings for view in views)
    assert all(len(spec.command_id) == 36 for spec in flow.issued)


def test_without_policy_everything_is_a_proposal():
    flow = hostile("a")
    assert not flow.commands
    assert flow.proposals


def test_advised_command_is_no_record():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL, advised=("revoke",))])
    assert "revoke" not in {
        spec.action for spec in [*flow.commands.values(), *flow.proposals.values()]
    }
    states = {command.spec.action: command.state for command in flow.alerts[CASE, "a"].commands}
    assert states["revoke"] == "advised"


def test_missing_rollback_target_is_reported():
    flow = Flow()
    flow.policy(Policy(tenant="a", automatic=ALL))
    flow.saw(*held(MODEL, "a", "gpu", version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a"))
    (rollback,) = [
        command for command in flow.alerts[CASE, "a"].commands if command.spec.action == "rollback"
    ]
    assert rollback.state == "advised"
    assert "no known-good version" in rollback.spec.reason
    assert "rollback" not in {spec.action for spec in flow.issued}


def test_approval_issues_and_rejection_does_not():
    flow = hostile("a")
    quarantine = next(
        proposal for proposal in flow.proposals.values() if proposal.action == "quarantine"
    )
    block = next(proposal for proposal in flow.proposals.values() if proposal.action == "block")
    decide(flow, DecisionKind.APPROVE, 61, tenant="a", target=quarantine.command_id)
    decide(flow, DecisionKind.REJECT, 61, tenant="a", target=block.command_id)
    assert set(flow.commands) == {quarantine.command_id}
    assert flow.commands[quarantine.command_id].mode == "approved"
    states = {command.spec.action: command.state for command in flow.alerts[CASE, "a"].commands}
    assert states["block"] == "rejected"


def test_decision_of_another_tenant_has_no_effect():
    flow = hostile("ab")
    mine = next(proposal for proposal in flow.proposals.values() if proposal.tenant == "a")
    decide(flow, DecisionKind.APPROVE, 61, tenant="b", target=mine.command_id)
    decide(flow, DecisionKind.CLOSE, tenant="stranger")
    assert mine.command_id not in flow.commands
    assert flow.alerts[CASE, "a"].status == "new"


def test_containment_follows_from_the_finding_not_the_band():
    doubtful = finding("malicious_payload", "a", confidence=0.5)
    sure = finding("malicious_payload", "a")
    medium = finding("metadata_manipulation", "a", confidence=1.0)
    assert not ground_of(doubtful).contains
    assert ground_of(sure).contains
    assert plan("inc", "a", [ground_of(medium)], [], [], Policy(tenant="a")) == ()


def test_unanswered_command_is_repeated_then_escalated():
    flow = hostile("a", [Policy(tenant="a", automatic=("block",))])
    (block,) = flow.commands.values()
    assert block.attempt == 1
    for _ in range(40):
        flow.tick(minutes=30)
    assert flow.commands[block.command_id].attempt == 5
    assert [notice.kind for notice in flow.operator.values()].count("escalation") == 1


def test_a_repeated_command_does_not_update_the_alert_that_says_nothing_of_it():
    flow = hostile("a", [Policy(tenant="a", automatic=("block", "capture-evidence"))])
    alerts, issued = len(flow.history[flow.alerts[CASE, "a"].id]), len(flow.issued)
    flow.tick(minutes=16)
    assert len(flow.issued) > issued
    assert {spec.attempt for spec in flow.commands.values()} == {2}
    assert len(flow.history[flow.alerts[CASE, "a"].id]) == alerts


def test_a_failure_is_reported_and_repeated_and_a_success_ends_it():
    flow = hostile("a", [Policy(tenant="a", automatic=("block",))])
    (block,) = flow.commands.values()
    flow.answer(block, 500, "no route")
    states = {command.spec.action: command.state for command in flow.alerts[CASE, "a"].commands}
    assert states["block"] == "failed"
    flow.tick(minutes=16)
    again = flow.commands[block.command_id]
    assert again.attempt == 2
    flow.answer(again)
    before = len(flow.issued)
    flow.tick(minutes=600)
    assert len(flow.issued) == before
    assert flow.alerts[CASE, "a"].next_action


def test_proposals_expire_and_escalate():
    flow = hostile("a")
    flow.tick(minutes=73 * 60)
    states = {command.state for command in flow.alerts[CASE, "a"].commands}
    assert states == {"expired"}
    assert "escalation" in {notice.kind for notice in flow.operator.values()}


def test_incident_is_contained_when_all_containing_commands_succeeded():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    for spec in list(flow.issued):
        flow.answer(spec)
    view = flow.alerts[CASE, "a"]
    assert view.status in {"contained", "recovering"}
    assert view.processing.contained_at is not None
    assert view.processing.seconds_to_contain > 0


def test_a_forged_result_changes_nothing_and_is_reported():
    flow = hostile("a")
    before = significance(flow.alerts[CASE, "a"])
    forged = ForgedResult(incident=CASE, id="res-x", tenant="a", at=at(99))
    flow.send([incident_message(CASE, forged)])
    assert significance(flow.alerts[CASE, "a"]) == before
    assert "forged-result" in {notice.kind for notice in flow.operator.values()}


def test_command_ids_have_the_shape_of_a_uuid():
    one = command_id("inc", "a", "block", "x")
    assert one == command_id("inc", "a", "block", "x")
    assert one != command_id("inc", "b", "block", "x")
    assert [len(part) for part in one.split("-")] == [8, 4, 4, 4, 12]
    assert one[14] == "5"
    assert one[19] in "89ab"


def test_the_policy_says_what_may_be_automatic():
    policy = Policy(tenant="a", automatic=("block", "revoke"), advised=("revoke",))
    assert mode_of("block", policy, sure=True) == "automatic"
    assert mode_of("revoke", policy, sure=True) == "advised"
    assert mode_of("rebuild", policy, sure=True) == "proposal"
    assert mode_of("block", policy, sure=False) == "advised"


def test_a_vouched_version_is_preferred_and_a_bad_one_never_chosen():
    def good(digest, minutes, **more):
        return KnownGood(
            incident="i", tenant="a", component=MODEL, digest=digest, seen_at=at(minutes), **more
        )

    old, new, signed = good("1", 1), good("2", 2), good("3", 0, signed=True)
    assert last_known_good(MODEL, [old, new]) == new
    assert last_known_good(MODEL, [old, new, signed]) == signed
    assert last_known_good(MODEL, [old, new], {"2"}) == old
    assert last_known_good("model:other", [old]) is None


@given(st.permutations(range(6)))
def test_a_plan_does_not_depend_on_the_order_of_its_inputs(order):
    grounds = [
        Ground(
            id=f"f{number}",
            kind="malicious_payload",
            severity=Severity.CRITICAL,
            confidence=0.9,
            indicator_key=f"sha256:{number}",
            disposition="block",
            component=MODEL,
        )
        for number in range(6)
    ]
    systems = [
        SystemView(
            tenant="a",
            system=f"s{number}",
            component=MODEL,
            exposure=ExposureLevel.SERVING,
            since=at(number),
            version="1",
        )
        for number in range(6)
    ]
    policy = Policy(tenant="a")
    straight = plan("inc", "a", grounds, systems, [], policy)
    mixed = plan("inc", "a", [grounds[n] for n in order], [systems[n] for n in order], [], policy)
    assert straight == mixed

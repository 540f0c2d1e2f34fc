"""Incidents: one alert a tenant, decisions, commands, recovery, escalation, privacy."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.domain.basis import bare_finding
from agents.triage.containment import (
    command_id,
    last_known_good,
    mode_of,
    plan,
)
from agents.triage.grounds import Ground, ground_of
from agents.triage.incidents.tenant_state import bucket
from agents.triage.incidents.views import significance
from agents.triage.routing import incident_id, incident_message
from schemas.basis import Basis, BasisKind
from schemas.channels import Channel
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.commands import CommandView
from schemas.incidents.updates import Exposure, ForgedResult, KnownGood
from schemas.incidents.views import SystemView
from schemas.policy import Policy
from schemas.severity import Severity
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting

ALL = ("capture-evidence", "quarantine", "block", "rollback", "revoke", "rebuild")
ROOT = f"sha256:{BAD}"
CASE = incident_id(ROOT)


def hostile(tenants="abc", policies=(), **more):
    """Return a run in which a hostile digest was met by each tenant."""
    flow = Flow(**more)
    for policy in policies:
        flow.policy(policy)
    for number, tenant in enumerate(tenants):
        flow.saw(*held(MODEL, tenant, f"gpu-{tenant}", number, version="r1", digest=GOOD))
        flow.saw(
            *held(
                MODEL,
                tenant,
                f"gpu-{tenant}",
                30 + number,
                version="r2",
                digest=BAD,
                exposure="executed",
                identities=(f"secret-ref:{tenant}-token",),
            )
        )
    flow.found(finding("malicious_payload", tenants[0], minutes=60))
    return flow


def decide(flow, kind, minutes=200, **more):
    number = len(flow.sent)
    flow.decide(
        Decision(
            id=f"dec-{number:06}",
            incident=more.pop("incident", CASE),
            actor="analyst@acme.example",
            decision=kind,
            reason="because",
            time=at(minutes),
            **more,
        )
    )


# -- alerts ----------------------------------------------------------------------------------------


def test_a_hostile_digest_at_three_tenants_is_one_incident_and_three_alerts():
    flow = hostile()
    assert list(flow.incidents) == [CASE]
    assert {view.tenant for view in flow.alerts.values()} == {"a", "b", "c"}
    for view in flow.alerts.values():
        assert view.score.band is Severity.CRITICAL
        assert view.other_tenants is None
        assert [system.system for system in view.systems] == [f"gpu-{view.tenant}"]
    assert flow.incidents[CASE].tenant_count == 3
    assert flow.incidents[CASE].pattern == "pattern"


def test_the_same_again_publishes_nothing():
    flow = hostile()
    told = {key: len(views) for key, views in flow.history.items()}
    flow.found(finding("malicious_payload", "a", minutes=60))
    flow.found(finding("malicious_payload", "a", minutes=61, locator="elsewhere in the file"))
    assert {key: len(views) for key, views in flow.history.items()} == told


def test_a_new_system_updates_the_alert():
    flow = hostile("a")
    before = len(flow.history[flow.alerts[CASE, "a"].id])
    flow.saw(*held(MODEL, "a", "gpu-new", 90, version="r2", digest=BAD))
    assert len(flow.history[flow.alerts[CASE, "a"].id]) == before + 1


@pytest.mark.slow
def test_many_systems_make_few_updates():
    flow = hostile("a")
    for number in range(200):
        flow.saw(*held(MODEL, "a", f"node-{number}", 90, version="r2", digest=BAD))
    view = flow.alerts[CASE, "a"]
    created, *updates = flow.history[view.id]
    assert created.activity == "create"
    assert len(updates) < 100
    assert view.system_count >= 128


def test_counts_beyond_the_list_are_told_in_powers_of_two():
    assert bucket(31, 32) == 31
    assert bucket(100, 32) == 64
    assert bucket(128, 32) == 128


@pytest.mark.parametrize("kind", ["dependency_confusion", "blocked_source_used"])
def test_what_only_a_tenants_policy_says_alerts_nobody_else(kind):
    flow = Flow()
    package = "pypi:acme-features"
    for tenant in "ab":
        flow.saw(*held(package, tenant, "ci", version="9.9", digest=BAD, kind="installed"))
    flow.found(finding(kind, "a", package, digest=None, version="9.9", systems=("ci",)))
    assert flow.alerts_of("a")
    assert not flow.alerts_of("b")


# -- privacy ---------------------------------------------------------------------------------------

NAMES = st.text(alphabet="ghijklmnopqrstuvwxyz", min_size=6, max_size=10).map("q7".__add__)


@settings(max_examples=25, deadline=None)
@given(names=st.lists(NAMES, min_size=4, max_size=4, unique=True))
def test_what_a_tenant_reads_does_not_depend_on_who_the_others_are(names):
    ours = of_acme_among_others()
    other = named(names)
    assert {
        key: significance(view) for key, view in other.alerts.items() if key[1] == "acme"
    } == ours
    text = other.texts_for("acme")
    assert not [name for name in names if name in text]


@cache
def of_acme_among_others():
    flow = named(["zulu", "yankee", "xray", "whisky"])
    return {key: significance(view) for key, view in flow.alerts.items() if key[1] == "acme"}


def named(others):
    flow = Flow()
    for number, tenant in enumerate(("acme", *others)):
        flow.saw(
            *held(
                MODEL,
                tenant,
                f"gpu-{tenant}",
                number if tenant == "acme" else 10,
                version="r2",
                digest=BAD,
                publisher=f"publisher:hub/{tenant}",
                identities=(f"secret-ref:{tenant}",),
            )
        )
    flow.saw(
        sighting(
            f"model:@{others[0]}/internal",
            others[0],
            "trainer",
            20,
            version="1",
            made_from=(f"{MODEL}@r2",),
        ),
        sighting(
            "model:hub/public",
            "acme",
            "gpu-acme",
            30,
            version="3",
            made_from=(f"model:@{others[0]}/internal@1",),
        ),
    )
    for tenant in others:
        flow.found(
            finding(
                "malicious_payload",
                tenant,
                minutes=60,
                systems=(f"hub-{tenant}",),
                publisher=f"publisher:hub/{tenant}",
            )
        )
    return flow


@pytest.mark.parametrize(
    ("others", "told"), [(1, None), (2, None), (3, 3), (9, 3), (10, 10), (30, 30)]
)
def test_other_tenants_are_counted_only_at_thresholds(others, told):
    flow = hostile(tuple(f"t{number:02d}" for number in range(others + 1)))
    assert flow.alerts[CASE, "t00"].other_tenants == told


def test_below_three_tenants_the_others_change_nothing():
    alone, two = hostile("a"), hostile("ab")
    assert significance(alone.alerts[CASE, "a"]) == significance(two.alerts[CASE, "a"])


# -- containment -----------------------------------------------------------------------------------


def test_evidence_comes_first_and_rollback_goes_to_the_last_known_good():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    specs = {spec.action: spec for spec in flow.issued}
    assert set(specs) == {"capture-evidence", "quarantine", "rollback", "block", "revoke"}
    evidence = {one.target: one for one in flow.issued if one.action == "capture-evidence"}
    assert set(evidence) == {f"{MODEL}@r2", "gpu-a"}
    first = evidence[f"{MODEL}@r2"].command_id
    assert all(first in one.after for one in flow.issued if one.action != "capture-evidence")
    assert specs["quarantine"].command_id in specs["rollback"].after
    assert specs["rollback"].rollback_digest == GOOD
    assert specs["revoke"].target == "secret-ref:a-token"
    assert specs["block"].target == ROOT
    assert all(spec.dry_run and spec.expires and spec.reason for spec in flow.issued)
    views = [view for view in flow.incidents[CASE].commands if view.state != "advised"]
    assert {view.spec.command_id for view in views} == {one.command_id for one in flow.issued}
    assert all(view.spec.findings for view in views)
    assert all(len(spec.command_id) == 36 for spec in flow.issued)


def test_without_policy_everything_is_a_proposal():
    flow = hostile("a")
    assert not flow.commands
    assert flow.proposals


def test_what_is_only_advised_is_no_record():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL, advised=("revoke",))])
    assert "revoke" not in {
        spec.action for spec in [*flow.commands.values(), *flow.proposals.values()]
    }
    states = {one.spec.action: one.state for one in flow.alerts[CASE, "a"].commands}
    assert states["revoke"] == "advised"


def test_no_known_good_version_is_said():
    flow = Flow()
    flow.policy(Policy(tenant="a", automatic=ALL))
    flow.saw(*held(MODEL, "a", "gpu", version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a"))
    (rollback,) = [one for one in flow.alerts[CASE, "a"].commands if one.spec.action == "rollback"]
    assert rollback.state == "advised"
    assert "no known-good version" in rollback.spec.reason
    assert "rollback" not in {spec.action for spec in flow.issued}


def test_approval_issues_and_rejection_does_not():
    flow = hostile("a")
    quarantine = next(one for one in flow.proposals.values() if one.action == "quarantine")
    block = next(one for one in flow.proposals.values() if one.action == "block")
    decide(flow, DecisionKind.APPROVE, 61, tenant="a", target=quarantine.command_id)
    decide(flow, DecisionKind.REJECT, 61, tenant="a", target=block.command_id)
    assert set(flow.commands) == {quarantine.command_id}
    assert flow.commands[quarantine.command_id].mode == "approved"
    states = {one.spec.action: one.state for one in flow.alerts[CASE, "a"].commands}
    assert states["block"] == "rejected"


def test_another_tenants_decision_does_nothing_here():
    flow = hostile("ab")
    mine = next(one for one in flow.proposals.values() if one.tenant == "a")
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


def test_silence_is_answered_by_repetition_then_escalation():
    flow = hostile("a", [Policy(tenant="a", automatic=("block",))])
    (block,) = flow.commands.values()
    assert block.attempt == 1
    for _ in range(40):
        flow.tick(minutes=30)
    assert flow.commands[block.command_id].attempt == 5
    assert [one.kind for one in flow.operator.values()].count("escalation") == 1


def test_a_failure_is_told_and_repeated_and_a_success_ends_it():
    flow = hostile("a", [Policy(tenant="a", automatic=("block",))])
    (block,) = flow.commands.values()
    flow.answer(block, 500, "no route")
    states = {one.spec.action: one.state for one in flow.alerts[CASE, "a"].commands}
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
    states = {one.state for one in flow.alerts[CASE, "a"].commands}
    assert states == {"expired"}
    assert "escalation" in {one.kind for one in flow.operator.values()}


def test_contained_when_all_that_takes_it_out_of_use_succeeded():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    for spec in list(flow.issued):
        flow.answer(spec)
    view = flow.alerts[CASE, "a"]
    assert view.status in {"contained", "recovering"}
    assert view.processing.contained_at is not None
    assert view.processing.seconds_to_contain > 0


def test_a_forged_result_changes_nothing_and_is_told():
    flow = hostile("a")
    before = significance(flow.alerts[CASE, "a"])
    forged = ForgedResult(incident=CASE, id="res-x", tenant="a", at=at(99))
    flow.send([incident_message(CASE, forged)])
    assert significance(flow.alerts[CASE, "a"]) == before
    assert "forged-result" in {one.kind for one in flow.operator.values()}


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
            exposure="serving",
            since=at(number),
            version="1",
        )
        for number in range(6)
    ]
    policy = Policy(tenant="a")
    straight = plan("inc", "a", grounds, systems, [], policy)
    mixed = plan("inc", "a", [grounds[n] for n in order], [systems[n] for n in order], [], policy)
    assert straight == mixed


# -- decisions -------------------------------------------------------------------------------------


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
    told = [one.activity for one in flow.history[view.id]]
    assert told.count("close") == 1
    assert set(told[told.index("close") + 1 :]) <= {"update"}
    assert {spec.action for spec in flow.issued if spec.undoes} == {
        "restore",
        "unblock",
        "roll-forward",
    }
    assert {ioc.status for ioc in flow.iocs.values()} == {"withdrawn"}


def test_reopening_takes_a_false_positive_back():
    flow = hostile("a")
    decide(flow, DecisionKind.FALSE_POSITIVE, 200, tenant="a")
    decide(flow, DecisionKind.REOPEN, 210, tenant="a")
    assert flow.alerts[CASE, "a"].status == "new"
    assert {ioc.status for ioc in flow.iocs.values()} == {"active"}


def test_the_operator_decides_for_all():
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
    told = len(flow.history[view.id])
    flow.saw(*held(MODEL, "a", "gpu-new", 90, version="r2", digest=BAD))
    assert len(flow.history[view.id]) == told
    flow.tick(minutes=25 * 60)
    assert flow.alerts[CASE, "a"].status != "suppressed"
    assert flow.alerts[CASE, "a"].system_count == 2


# -- recovery --------------------------------------------------------------------------------------


def recover(flow, minutes, digest=GOOD, version="r1"):
    flow.saw(*held(MODEL, "a", "gpu-a", minutes, version=version, digest=digest))


def revoke_all(flow):
    for spec in [*flow.proposals.values()]:
        decide(flow, DecisionKind.APPROVE, 62, tenant="a", target=spec.command_id)
    for spec in list(flow.issued):
        flow.answer(spec)


def test_a_later_clean_version_closes_the_task_and_then_the_incident():
    flow = hostile("a", [Policy(tenant="a", dry_run=False)])
    revoke_all(flow)
    assert flow.alerts[CASE, "a"].status == "contained"
    recover(flow, 400)
    view = flow.alerts[CASE, "a"]
    assert {(task.kind, task.state) for task in view.tasks} == {
        ("replace", "done"),
        ("rotate", "done"),
        ("patch", "done"),
    }
    assert all(task.proof for task in view.tasks)
    assert view.status == "closed"
    assert any(entry.what == "recovered" for entry in view.timeline)


def test_a_recurrence_opens_the_task_again():
    flow = hostile("a")
    revoke_all(flow)
    recover(flow, 400)
    recover(flow, 60 * 24 * 2, digest=BAD, version="r2")
    view = flow.alerts[CASE, "a"]
    assert "recurred" in {task.state for task in view.tasks}
    assert view.status != "closed"


def test_recovery_is_verified_by_the_checks_that_the_policy_requires():
    flow = hostile("a", [Policy(tenant="a", required_checks=("behaviour-v3",))])
    revoke_all(flow)
    recover(flow, 400)
    assert flow.alerts[CASE, "a"].status == "recovering"
    assert "behaviour-v3" in flow.alerts[CASE, "a"].next_action
    decide(flow, DecisionKind.EVALUATION, 500, tenant="a", target="behaviour-v3", passed=False)
    assert flow.alerts[CASE, "a"].status == "recovering"
    decide(flow, DecisionKind.EVALUATION, 600, tenant="a", target="behaviour-v3", passed=True)
    assert flow.alerts[CASE, "a"].status == "closed"


def test_an_earlier_clean_version_proves_nothing():
    flow = hostile("a")
    revoke_all(flow)
    recover(flow, 20, version="r0", digest="0" * 64)
    assert flow.alerts[CASE, "a"].status == "contained"


def test_the_time_of_detection_counts_from_occurrence():
    flow = hostile("a")
    times = flow.alerts[CASE, "a"].processing
    assert times.detected_at is not None
    assert times.seconds_to_detect is not None
    assert at(1) - at(0) == timedelta(minutes=1)


def test_an_ended_incident_is_forgotten_after_400_days_and_an_open_one_is_not():
    ended, still_open = hostile("a"), hostile("a")
    decide(ended, DecisionKind.CLOSE, 200, tenant="a")
    for flow in (ended, still_open):
        flow.tick(minutes=401 * 24 * 60)
    assert CASE not in ended.incidents
    assert not [
        key for rows in ended.incident_rows for key in rows.content() if not key.startswith("nz")
    ]
    assert CASE in still_open.incidents


# -- audit -----------------------------------------------------------------------------------------


def test_each_result_is_audited_once():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    spec = next(one for one in flow.issued if one.action == "quarantine")
    flow.answer(spec, 500, "no such folder")
    flow.answer(spec, 200, "moved")
    flow.answer(spec, 200, "moved")
    audits = [
        msgspec.json.decode(one.value or b"", type=CommandView)
        for one in flow.sent
        if one.channel is Channel.CONTAINMENT_AUDIT
    ]
    assert [(one.spec.command_id, one.state) for one in audits] == [
        (spec.command_id, "failed"),
        (spec.command_id, "done"),
    ]


def test_what_is_taken_back_is_taken_back_in_order():
    """A switch forward waits until what it switches to was restored."""
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    decide(flow, DecisionKind.FALSE_POSITIVE, 61, tenant="a")
    undone = {one.action: one for one in flow.issued if one.undoes}
    assert undone["restore"].command_id in undone["roll-forward"].after
    assert set(undone["roll-forward"].after) <= {one.command_id for one in undone.values()}


def test_an_exposure_is_not_told_before_what_was_found():
    flow = Flow()
    exposure = Exposure(
        incident=CASE,
        root=ROOT,
        tenant="a",
        system="gpu",
        component=MODEL,
        occurred_at=at(1),
        event_id="e1",
    )
    flow.send([incident_message(CASE, exposure)])
    flow.found(finding("malicious_payload", "b"))
    # What was found elsewhere is no reason here: the mark says what is known to everybody.
    assert (CASE, "a") not in flow.alerts
    verified = Basis(kind=BasisKind.VERIFIED)
    found = msgspec.structs.replace(bare_finding(finding("malicious_payload", "b")), basis=verified)
    known = msgspec.structs.replace(exposure, basis=verified, found=found)
    flow.send([incident_message(CASE, known)])
    assert flow.alerts[CASE, "a"].findings


def test_a_publishers_campaign_commands_nothing_but_what_is_its_own():
    flow = Flow()
    flow.policy(Policy(tenant="a", automatic=ALL))
    for number in range(4):
        model = f"model:hub/x/m{number}"
        flow.saw(
            sighting(model, "a", "gpu", number, version="1", kind="pushed"),
            sighting("publisher:hub/x", "a", "gpu", number, name=model, version="1"),
        )
        flow.found(
            finding(
                "malicious_payload",
                "a",
                component=model,
                digest=str(number) * 64,
                version="1",
                minutes=number,
                publisher="publisher:hub/x",
            )
        )
    campaign = flow.alerts[incident_id("publisher:hub/x"), "a"]
    assert {one.spec.action for one in campaign.commands} == {"block"}
    (block,) = campaign.commands
    assert (block.spec.target, block.state) == ("publisher:hub/x", "proposed")

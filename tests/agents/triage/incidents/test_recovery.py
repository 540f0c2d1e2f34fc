"""Recovery tasks: what each system needs, what shows it done, and when an incident may close."""

from __future__ import annotations

import random

import pytest

from schemas.decisions import Decision, DecisionKind
from schemas.incidents.views import AlertView, TaskView
from schemas.policy import Policy
from schemas.severity import Severity
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting

REAL = Policy(tenant="a", dry_run=False)


def met(policy: Policy, component: str = MODEL, **more: str) -> Flow:
    """Return a run in which one system met something hostile."""
    flow = Flow()
    flow.policy(policy)
    flow.saw(*held(component, "a", "gpu", 10, version="r2", digest=BAD, **more))
    flow.found(finding("malicious_payload", "a", component, minutes=11))
    return flow


def replaced(flow: Flow, component: str = MODEL, minutes: float = 400) -> None:
    flow.saw(*held(component, "a", "gpu", minutes, version="r1", digest=GOOD))


def alert(flow: Flow) -> AlertView:
    (view,) = flow.alerts.values()
    return view


def task(flow: Flow, kind: str) -> TaskView:
    (one,) = [task for task in alert(flow).tasks if task.kind == kind]
    return one


def decide(flow: Flow, kind: DecisionKind, minutes: float, **more: object) -> None:
    one = Decision(
        id=f"dec-{len(flow.sent):06}",
        incident=alert(flow).incident,
        actor="ann",
        decision=kind,
        reason="because",
        time=at(minutes),
        tenant="a",
        **more,
    )
    flow.decide(one)


def blocks(flow: Flow) -> list[str]:
    return [asked.command_id for asked in flow.proposals.values() if asked.action == "block"]


def test_the_entry_point_of_each_system_is_a_task_of_its_own():
    flow = met(REAL)
    flow.saw(*held(MODEL, "a", "gpu-2", 12, version="r2", digest=BAD))
    patches = [task for task in alert(flow).tasks if task.kind == "patch"]
    assert [(patch.system, patch.state) for patch in patches] == [
        ("gpu", "open"),
        ("gpu-2", "open"),
    ]
    assert "by its digest from a trusted source" in patches[0].text


def test_open_entry_point_holds_the_incident_while_its_block_is_pending():
    flow = met(REAL)
    replaced(flow)
    assert alert(flow).status == "recovering"
    (block,) = blocks(flow)
    decide(flow, DecisionKind.APPROVE, 401, target=block)
    assert alert(flow).status == "recovering"
    flow.answer(flow.commands[block])
    assert task(flow, "patch").proof == block
    assert alert(flow).status == "closed"


def test_a_rejected_block_lets_the_incident_close_and_the_task_stays_as_advice():
    flow = met(REAL)
    replaced(flow)
    (block,) = blocks(flow)
    decide(flow, DecisionKind.REJECT, 401, target=block)
    assert alert(flow).status == "closed"
    assert task(flow, "patch").state == "open"
    assert alert(flow).next_action.startswith("It may come in again: patch the entry point of gpu")


def test_unanswered_block_does_not_hold_the_incident_forever():
    flow = met(REAL)
    replaced(flow)
    flow.tick(minutes=73 * 60)
    assert alert(flow).status == "closed"


def test_dry_run_closes_no_entry_point():
    flow = met(Policy(tenant="a", automatic=("block",)))
    (block,) = [command for command in flow.issued if command.action == "block"]
    flow.answer(block)
    assert task(flow, "patch").state == "open"
    replaced(flow)
    assert alert(flow).status == "closed"


def test_a_policy_that_requires_it_holds_the_incident_until_it_is_shown():
    flow = met(Policy(tenant="a", required_checks=("entry_point",)))
    replaced(flow)
    assert alert(flow).status == "recovering"
    decide(flow, DecisionKind.EVALUATION, 500, target=task(flow, "patch").id, passed=True)
    assert alert(flow).status == "closed"
    assert task(flow, "patch").state == "done"


def test_source_blocked_by_the_policy_closes_the_entry_point():
    flow = met(Policy(tenant="a", required_checks=("entry_point",)), publisher="publisher:hub/x")
    replaced(flow)
    flow.policy(
        Policy(tenant="a", required_checks=("entry_point",), blocked_sources=("publisher:hub/x",))
    )
    flow.tick(minutes=60)
    assert task(flow, "patch").proof == "policy: blocked_sources has publisher:hub/x"
    assert alert(flow).status == "closed"


def test_install_pinned_by_hash_closes_the_entry_point():
    flow = met(Policy(tenant="a", required_checks=("entry_point",)), "pypi:acme-ml")
    replaced(flow, "pypi:acme-ml")
    assert task(flow, "patch").state == "done"
    assert task(flow, "patch").proof == task(flow, "replace").proof


def test_install_without_a_hash_leaves_the_entry_point_open():
    flow = met(Policy(tenant="a", required_checks=("entry_point",)), "pypi:acme-ml")
    flow.saw(sighting("pypi:acme-ml", "a", "gpu", 400, version="r1"))
    assert task(flow, "replace").state == "done"
    assert task(flow, "patch").state == "open"
    assert alert(flow).status == "recovering"


def test_closing_it_by_decision_is_always_possible():
    flow = met(Policy(tenant="a", required_checks=("entry_point",)))
    decide(flow, DecisionKind.CLOSE, 500)
    assert alert(flow).status == "closed"


def test_finding_below_high_has_no_entry_point_task():
    flow = Flow()
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    mild = finding(
        "metadata_manipulation", "a", severity=Severity.MEDIUM, minutes=11, systems=("gpu",)
    )
    flow.found(mild)
    assert {task.kind for task in alert(flow).tasks} == {"replace"}


def test_derived_components_get_a_retrain_or_rebuild_task():
    flow = met(REAL)
    tuned, service = "model:hub/acme/tuned", "deployment:chat"
    flow.saw(
        sighting(
            tuned,
            "a",
            "trainer",
            20,
            version="1",
            digest="1" * 64,
            kind="made",
            made_from=(f"{MODEL}@r2", f"sha256:{BAD}"),
        ),
        sighting(service, "a", "cluster", 30, kind="served", made_from=(f"{tuned}@1",)),
    )
    kinds = {task.component: task.kind for task in alert(flow).tasks if task.kind != "patch"}
    assert kinds == {MODEL: "replace", tuned: "retrain", service: "rebuild"}
    assert {task.system for task in alert(flow).tasks if task.kind == "patch"} == {"gpu"}


def test_each_required_check_is_a_task():
    flow = met(Policy(tenant="a", required_checks=("behaviour-v3",)))
    assert task(flow, "evaluate").state == "open"
    decide(flow, DecisionKind.EVALUATION, 500, target="behaviour-v3", passed=True)
    assert task(flow, "evaluate").state == "done"


REQUIRED = Policy(tenant="a", required_checks=("behaviour-v3",))


def test_clean_version_that_passed_the_check_completes_its_task():
    flow = met(REQUIRED)
    flow.saw(
        *held(MODEL, "a", "gpu", 400, version="r1", digest=GOOD, passed=("behaviour-v3",)),
    )
    assert task(flow, "evaluate").state == "done"
    assert task(flow, "evaluate").proof == task(flow, "replace").proof
    assert alert(flow).status == "closed"


def test_clean_version_without_the_check_leaves_its_task_open():
    flow = met(REQUIRED)
    replaced(flow)
    assert task(flow, "evaluate").state == "open"
    assert alert(flow).status == "recovering"


def test_a_check_is_reported_after_its_push():
    flow = met(REQUIRED)
    clean = {"version": "r1", "digest": GOOD, "event_id": "push-1"}
    flow.saw(*held(MODEL, "a", "gpu", 400, **clean, not_passed=("behaviour-v3",)))
    assert task(flow, "evaluate").state == "open"
    flow.saw(*held(MODEL, "a", "gpu", 400, **clean, passed=("behaviour-v3",)))
    assert task(flow, "evaluate").proof == "push-1"


def test_restored_version_with_an_earlier_pass_satisfies_the_check():
    flow = Flow()
    flow.policy(REQUIRED)
    clean = {"version": "r1", "digest": GOOD}
    flow.saw(*held(MODEL, "a", "gpu", 5, **clean, passed=("behaviour-v3",)))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a", minutes=11))
    assert task(flow, "evaluate").state == "open"
    flow.saw(*held(MODEL, "a", "gpu", 400, **clean))
    assert task(flow, "evaluate").state == "done"


def test_check_passed_by_the_bad_version_does_not_count():
    flow = Flow()
    flow.policy(REQUIRED)
    bad = held(MODEL, "a", "gpu", 10, version="r2", digest=BAD, passed=("behaviour-v3",))
    flow.saw(*bad)
    flow.found(finding("malicious_payload", "a", minutes=11))
    replaced(flow)
    assert task(flow, "evaluate").state == "open"


def test_replacement_without_the_pass_keeps_the_task_open():
    flow = met(REQUIRED)
    flow.saw(*held(MODEL, "a", "gpu-2", 12, version="r2", digest=BAD))
    flow.saw(*held(MODEL, "a", "gpu", 400, version="r1", digest=GOOD, passed=("behaviour-v3",)))
    other = {"version": "r0", "digest": "c" * 64}
    flow.saw(*held(MODEL, "a", "gpu-2", 401, **other, not_passed=("behaviour-v3",)))
    assert task(flow, "evaluate").state == "open"
    assert alert(flow).status == "recovering"
    flow.saw(*held(MODEL, "a", "gpu-2", 402, version="r1", digest=GOOD))
    assert task(flow, "evaluate").state == "done"
    assert alert(flow).status == "closed"


def test_an_evaluation_that_failed_counts_until_something_later_passes():
    flow = met(REQUIRED)
    flow.saw(*held(MODEL, "a", "gpu", 400, version="r1", digest=GOOD, passed=("behaviour-v3",)))
    decide(flow, DecisionKind.EVALUATION, 500, target="behaviour-v3", passed=False)
    assert task(flow, "evaluate").state == "open"
    later = {"version": "r3", "digest": "c" * 64}
    flow.saw(*held(MODEL, "a", "gpu", 600, **later, passed=("behaviour-v3",)))
    assert task(flow, "evaluate").state == "done"


def test_going_back_to_what_was_pushed_with_a_verified_signature_shows_the_signature():
    flow = Flow()
    flow.policy(Policy(tenant="a", required_checks=("signature",)))
    flow.saw(*held(MODEL, "a", "registry", 5, version="r1", digest=GOOD, signed=True))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a", minutes=11))
    replaced(flow)
    assert task(flow, "evaluate").state == "done"


def test_clean_push_of_another_tenant_completes_no_task():
    flow = met(REQUIRED)
    replaced(flow)
    flow.saw(*held(MODEL, "b", "gpu", 12, version="r2", digest=BAD))
    flow.saw(*held(MODEL, "b", "gpu", 400, version="r1", digest=GOOD, passed=("behaviour-v3",)))
    (mine,) = [view for view in flow.alerts.values() if view.tenant == "a"]
    assert [task.state for task in mine.tasks if task.kind == "evaluate"] == ["open"]


def test_check_passed_at_the_push_counts_for_its_holders():
    """The registry never had the bad version: what replaced it there was checked all the same."""
    clean = {"version": "r1", "digest": GOOD}
    push = held(MODEL, "a", "registry", 300, **clean, kind="pushed", passed=("behaviour-v3",))
    flow = met(REQUIRED)
    flow.saw(*push)
    assert task(flow, "evaluate").state == "open"
    replaced(flow)
    assert task(flow, "evaluate").state == "done"
    # What was pushed before the incident was known is included.
    flow = Flow()
    flow.policy(REQUIRED)
    flow.saw(*push, *held(MODEL, "a", "gpu", 310, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a", minutes=311))
    replaced(flow)
    assert task(flow, "evaluate").state == "done"


def test_a_clean_push_before_the_bad_one_is_no_recurrence():
    flow = Flow()
    flow.policy(REQUIRED)
    passed = ("behaviour-v3",)
    flow.saw(
        *held(MODEL, "a", "hub", 5, version="r1", digest=GOOD, kind="pushed", passed=passed),
        *held(MODEL, "a", "hub", 10, version="r2", digest=BAD, kind="pushed"),
    )
    flow.found(finding("malicious_payload", "a", minutes=11))
    assert task(flow, "replace").state == "open"
    assert task(flow, "evaluate").state == "open"


@pytest.mark.parametrize("seed", range(24))
def test_passed_checks_do_not_depend_on_order(seed):
    clean = {"version": "r1", "digest": GOOD}
    parts = [
        *held(MODEL, "a", "registry", 300, **clean, kind="pushed", passed=("behaviour-v3",)),
        *held(MODEL, "a", "registry", 299, **clean, kind="pushed", not_passed=("behaviour-v3",)),
        *held(MODEL, "a", "gpu", 10, version="r2", digest=BAD),
        *held(MODEL, "a", "gpu", 400, **clean),
        finding("malicious_payload", "b", minutes=11),
        *held(MODEL, "b", "gpu", 9, version="r2", digest=BAD),
    ]
    order = random.Random(seed)
    order.shuffle(parts)
    flow = Flow()
    flow.policy(REQUIRED)
    for part in parts:
        flow.put(part)
        flow.run()
    (mine,) = [view for view in flow.alerts.values() if view.tenant == "a"]
    assert [task.state for task in mine.tasks if task.kind == "evaluate"] == ["done"]

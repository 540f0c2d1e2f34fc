"""Incidents: one alert a tenant, decisions, commands, recovery, escalation, privacy."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.domain.basis import bare_finding
from agents.triage.incidents.hold_batch import CURSOR
from agents.triage.incidents.rows import CLOCK
from agents.triage.incidents.tenant_state import bucket
from agents.triage.incidents.views import significance
from agents.triage.routing import incident_id, incident_message
from agents.triage.store import row_key
from schemas.basis import Basis, BasisKind
from schemas.channels import Channel
from schemas.decisions import DecisionKind
from schemas.incidents.commands import CommandView
from schemas.incidents.updates import Exposure, Prevalence
from schemas.policy import Policy
from schemas.severity import Severity
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.incidents.incident_flow import ALL, CASE, ROOT, decide, hostile
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting
from tests.depth import examples


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


@pytest.mark.parametrize(
    ("tenants", "threshold", "why"),
    [
        ("abc", 3, "seen in 3 tenants"),
        ("abc", 10, "seen in 3 tenants; its indicator was seen in 10 tenants or more"),
        ("a", 3, "its indicator was seen in 3 tenants or more"),
    ],
)
def test_the_pattern_counts_each_tenant_once(tenants, threshold, why):
    flow = hostile(tenants)
    seen = Prevalence(
        incident=CASE,
        root=ROOT,
        indicator=ROOT,
        threshold=threshold,
        rule_id="TW-LEDGER-PREVALENCE",
    )
    flow.send([incident_message(CASE, seen)])
    document = flow.incidents[CASE]
    assert document.pattern_why == why
    assert document.pattern == "pattern"


def test_the_reason_of_a_command_is_in_words():
    shown = hostile("a").alerts[CASE, "a"].commands
    reasons = {view.spec.action: view.spec.reason for view in shown}
    for action in ("quarantine", "block", "revoke"):
        assert reasons[action].startswith("malicious payload (critical, confidence ")


def test_repetition_publishes_nothing():
    flow = hostile()
    reported = {key: len(views) for key, views in flow.history.items()}
    flow.found(finding("malicious_payload", "a", minutes=60))
    flow.found(finding("malicious_payload", "a", minutes=61, locator="elsewhere in the file"))
    assert {key: len(views) for key, views in flow.history.items()} == reported


def test_a_new_system_updates_the_alert():
    flow = hostile("a")
    before = len(flow.history[flow.alerts[CASE, "a"].id])
    flow.saw(*held(MODEL, "a", "gpu-new", 90, version="r2", digest=BAD))
    assert len(flow.history[flow.alerts[CASE, "a"].id]) == before + 1


@pytest.mark.slow
def test_many_systems_make_few_updates():
    flow = hostile("a")
    for number in range(140):
        flow.saw(*held(MODEL, "a", f"node-{number}", 90, version="r2", digest=BAD))
    view = flow.alerts[CASE, "a"]
    created, *updates = flow.history[view.id]
    assert created.activity == "create"
    assert len(updates) < 80
    assert view.system_count >= 128


def test_counts_beyond_the_list_are_powers_of_two():
    assert bucket(31, 32) == 31
    assert bucket(100, 32) == 64
    assert bucket(128, 32) == 128


@pytest.mark.parametrize("kind", ["dependency_confusion", "blocked_source_used"])
def test_policy_finding_alerts_its_tenant_alone(kind):
    flow = Flow()
    package = "pypi:acme-features"
    for tenant in "ab":
        flow.saw(*held(package, tenant, "ci", version="9.9", digest=BAD, kind="installed"))
    flow.found(finding(kind, "a", package, digest=None, version="9.9", systems=("ci",)))
    assert flow.alerts_of("a")
    assert not flow.alerts_of("b")


NAMES = st.text(alphabet="ghijklmnopqrstuvwxyz", min_size=6, max_size=10).map("q7".__add__)


@settings(max_examples=examples(6), deadline=None)
@given(names=st.lists(NAMES, min_size=4, max_size=4, unique=True))
def test_tenant_view_does_not_depend_on_identities_of_others(names):
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
    ("others", "reported"), [(1, None), (2, None), (3, 3), (9, 3), (10, 10), (30, 30)]
)
def test_other_tenants_are_counted_only_at_thresholds(others, reported):
    flow = hostile(tuple(f"t{number:02d}" for number in range(others + 1)))
    assert flow.alerts[CASE, "t00"].other_tenants == reported


def test_below_three_tenants_the_others_change_nothing():
    alone, two = hostile("a"), hostile("ab")
    assert significance(alone.alerts[CASE, "a"]) == significance(two.alerts[CASE, "a"])


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


def test_earlier_clean_version_does_not_complete_recovery():
    flow = hostile("a")
    revoke_all(flow)
    recover(flow, 20, version="r0", digest="0" * 64)
    assert flow.alerts[CASE, "a"].status == "contained"


def test_time_to_detect_counts_from_occurrence():
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
    # A partition keeps one clock and one cursor, whatever was in it.
    kept = {key for rows in ended.incident_rows for key in rows.content()}
    assert kept <= {row_key(CLOCK, "incidents"), row_key(CURSOR)}
    assert CASE in still_open.incidents


def test_each_result_is_audited_once():
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    spec = next(command for command in flow.issued if command.action == "quarantine")
    flow.answer(spec, 500, "no such folder")
    flow.answer(spec, 200, "moved")
    flow.answer(spec, 200, "moved")
    audits = [
        msgspec.json.decode(message.value or b"", type=CommandView)
        for message in flow.sent
        if message.channel is Channel.CONTAINMENT_AUDIT
    ]
    assert [(audit.spec.command_id, audit.state) for audit in audits] == [
        (spec.command_id, "failed"),
        (spec.command_id, "done"),
    ]


def test_releases_run_in_order():
    """A switch forward waits until what it switches to was restored."""
    flow = hostile("a", [Policy(tenant="a", automatic=ALL)])
    decide(flow, DecisionKind.FALSE_POSITIVE, 61, tenant="a")
    undone = {command.action: command for command in flow.issued if command.undoes}
    assert undone["restore"].command_id in undone["roll-forward"].after
    assert set(undone["roll-forward"].after) <= {command.command_id for command in undone.values()}


def test_an_exposure_is_not_published_before_its_finding():
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


def test_publisher_campaign_contains_only_its_own_components():
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
    assert {command.spec.action for command in campaign.commands} == {"block"}
    (block,) = campaign.commands
    assert (block.spec.target, block.state) == ("publisher:hub/x", "proposed")

"""The timeline is in order of time and names what was decided, about what and by whom."""

from __future__ import annotations

from agents.triage.incidents.rows import DECISIONS
from agents.triage.incidents.timeline import bounded, in_order
from agents.triage.routing import incident_id
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.states import Occurrence
from schemas.incidents.views import TimelineEntry
from schemas.policy import Policy
from schemas.severity import ExposureLevel
from streams.reports.incident_graph import incident_graph
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held
from tests.each import each

CASE = incident_id(f"sha256:{BAD}")


def hostile() -> Flow:
    flow = Flow()
    flow.policy(Policy(tenant="a", dry_run=False))
    flow.saw(*held(MODEL, "a", "gpu", 0, version="r1", digest=GOOD))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a", minutes=11))
    return flow


def decide(flow: Flow, kind: DecisionKind, minutes: float, **more: str) -> None:
    flow.decide(
        Decision(
            id=f"dec-{minutes}",
            incident=CASE,
            actor="ann",
            decision=kind,
            reason="because",
            time=at(minutes),
            **more,
        )
    )


def test_timeline_is_in_order_of_time():
    flow = hostile()
    (proposal,) = [asked for asked in flow.proposals.values() if asked.action == "quarantine"]
    decide(flow, DecisionKind.APPROVE, 20, tenant="a", target=proposal.command_id)
    flow.clock_ms += 3_600_000
    for spec in list(flow.issued):
        flow.answer(spec)
    flow.saw(*held(MODEL, "a", "gpu-9", 30 * 24 * 60, version="r2", digest=BAD))
    for document in (flow.alerts[CASE, "a"], flow.incidents[CASE]):
        times = [entry.at for entry in document.timeline]
        assert times == sorted(times)
        assert document.timeline[-1].system == "gpu-9"


def test_entries_of_one_time_are_in_order_of_cause():
    flow = hostile()
    for document in (flow.alerts[CASE, "a"], flow.incidents[CASE]):
        for entries in (document.timeline, bounded(reversed(document.timeline))):
            order = [in_order(entry) for entry in entries]
            assert order == sorted(order)
        commanded = [entry.ref for entry in document.timeline if entry.what == "commanded"]
        listed = [view.spec.command_id for view in document.commands if view.state != "advised"]
        assert len(commanded) > 2
        assert len({entry.at for entry in document.timeline if entry.what == "commanded"}) == 1
        assert commanded == listed


def test_each_occurrence_has_a_place_among_causes():
    moment = at(0)
    shuffled = [TimelineEntry(at=moment, what=what, text=what) for what in reversed(Occurrence)]
    assert [entry.what for entry in bounded(shuffled)] == [
        "exposed",
        "found",
        "decided",
        "withdrawn",
        "commanded",
        "result",
        "recovered",
    ]


def test_a_decision_names_its_target_and_its_actor():
    flow = hostile()
    (proposal,) = [asked for asked in flow.proposals.values() if asked.action == "quarantine"]
    decide(flow, DecisionKind.APPROVE, 20, tenant="a", target=proposal.command_id)
    decide(flow, DecisionKind.ASSIGN, 21, tenant="a", target="bob")
    expected = [f"approve quarantine {MODEL}@r2 by ann: because", "assign to bob by ann: because"]
    for document in (flow.alerts[CASE, "a"], flow.incidents[CASE]):
        assert [entry.text for entry in document.timeline if entry.what == "decided"] == expected


def test_systems_are_counted_once_however_many_components_they_hold():
    flow = hostile()
    for number in range(3):
        component = f"model:hub/acme/tuned-{number}"
        flow.saw(*held(component, "a", "gpu", 12, version="r2", digest=BAD))
    alert, document = flow.alerts[CASE, "a"], flow.incidents[CASE]
    assert len(alert.systems) == 4
    assert alert.system_count == document.system_count == 1
    assert [part.systems for part in document.tenants] == [1]
    assert "One system is affected" in alert.message
    assert len(incident_graph(document).systems) == 1


def test_the_graph_shows_the_farthest_exposure_of_a_system_since_it_is_affected():
    flow = hostile()
    flow.saw(
        *held(
            "model:hub/a/b", "a", "gpu", 5, version="1", digest=BAD, exposure=ExposureLevel.SERVING
        )
    )
    flow.saw(
        *held(
            "model:hub/z/z", "a", "gpu", 50, version="1", digest=BAD, exposure=ExposureLevel.STAGED
        )
    )
    (text,) = incident_graph(flow.incidents[CASE]).systems.values()
    assert text == f"serving since {at(5):%Y-%m-%d %H:%M}"


def test_a_comment_is_in_the_timeline_and_changes_nothing():
    flow = hostile()
    before = flow.alerts[CASE, "a"]
    decide(flow, DecisionKind.COMMENT, 22, tenant="a")
    after = flow.alerts[CASE, "a"]
    (reported,) = [entry for entry in after.timeline if entry.what == "decided"]
    assert reported.text == "comment by ann: because"
    assert (after.status, after.commands, after.tasks) == (
        before.status, before.commands, before.tasks,
    )  # fmt: skip


def test_comments_evict_no_decision():
    flow = hostile()
    decide(flow, DecisionKind.ASSIGN, 20, tenant="a", target="bob")
    for number in range(3 * DECISIONS):
        decide(flow, DecisionKind.COMMENT, 21 + number / 100, tenant="a")
    decide(flow, DecisionKind.FALSE_POSITIVE, 90, tenant="a")
    alert = flow.alerts[CASE, "a"]
    assert (alert.assignee, alert.status) == ("bob", "false-positive")
    assert "decisions" in flow.incidents[CASE].truncated


@each(
    ("tenant", "closed"),
    [
        (tenant, closed)
        for tenant in ("a", None)
        for closed in (DecisionKind.FALSE_POSITIVE, DecisionKind.CLOSE)
    ],
)
def test_decision_is_named_after_reopening(tenant, closed):
    flow = hostile()
    asked = {spec.action: spec for spec in flow.proposals.values()}
    for minutes, kind, action in (
        (20, DecisionKind.APPROVE, "quarantine"),
        (21, DecisionKind.REJECT, "capture-evidence"),
    ):
        decide(flow, kind, minutes, tenant=tenant, target=asked[action].command_id)
    decide(flow, closed, 30, tenant=tenant)
    for minutes in (40, 60):
        decide(flow, DecisionKind.REOPEN, minutes, tenant=tenant)
        named = [
            entry.text.partition(" by ")[0]
            for entry in flow.incidents[CASE].timeline
            if entry.what == "decided"
        ]
        assert f"approve quarantine {asked['quarantine'].target}" in named
        assert f"reject capture evidence on {asked['capture-evidence'].target}" in named
        decide(flow, closed, minutes + 10, tenant=tenant)

"""Two incidents about one version: one command, two reasons, no release while one is in force."""

from __future__ import annotations

import pytest

from agents.triage.holds import intake
from agents.triage.routing import incident_id
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HoldState, ReasonState
from schemas.intel import IntelFact, IntelKind
from schemas.policy import Policy
from schemas.severity import Severity
from streams.releases import releasable, releases
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held

OTHER = "c" * 64
"""Another hostile file of the same version."""
FIRST, SECOND = incident_id(f"sha256:{BAD}"), incident_id(f"sha256:{OTHER}")
AUTOMATIC = Policy(
    tenant="a", automatic=("capture-evidence", "quarantine", "rollback"), dry_run=False
)


def twice(policy: Policy = AUTOMATIC, *, batch: int = 64) -> Flow:
    """Return a run in which two incidents are about one version of a model."""
    flow = Flow(batch=batch)
    flow.policy(policy)
    flow.saw(*held(MODEL, "a", "gpu", 0, version="r1", digest=GOOD))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest="d" * 64))
    flow.found(
        finding("malicious_payload", "a", minutes=11, systems=("gpu",)),
        finding("malicious_payload", "a", minutes=12, digest=OTHER, systems=("gpu",)),
    )
    assert set(flow.incidents) >= {FIRST, SECOND}
    return flow


def decide(flow: Flow, kind: DecisionKind, incident: str, minutes: float = 60, **more: str) -> None:
    flow.decide(
        Decision(
            id=f"dec-{len(flow.sent):06}",
            incident=incident,
            actor="ann",
            decision=kind,
            reason="because",
            time=at(minutes),
            tenant="a",
            **more,
        )
    )


def issued(flow: Flow, *actions: str) -> list[CommandSpec]:
    return [command for command in flow.issued if command.action in actions]


def state(flow: Flow, action: str) -> HoldState:
    (thing,) = [kept for kept in flow.holds["a", MODEL].things if kept.action == action]
    return thing.state


def test_one_version_is_quarantined_by_one_command_whose_id_names_no_incident():
    flow = twice()
    (quarantine,) = issued(flow, "quarantine")
    (rollback,) = issued(flow, "rollback")
    assert rollback.after[-1] == quarantine.command_id
    (thing,) = [kept for kept in flow.holds["a", MODEL].things if kept.action == "quarantine"]
    assert {(reason.incident, reason.state) for reason in thing.reasons} == {
        (FIRST, ReasonState.AUTOMATIC),
        (SECOND, ReasonState.AUTOMATIC),
    }
    flow.answer(quarantine)
    for incident in (FIRST, SECOND):
        states = {
            command.spec.command_id: command.state for command in flow.incidents[incident].commands
        }
        assert states[quarantine.command_id] == "done"


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("order", [(FIRST, SECOND), (SECOND, FIRST)])
def test_false_positive_releases_nothing_held_by_another_incident(order, answered):
    flow = twice()
    for spec in list(flow.issued) if answered else ():
        flow.answer(spec)
    decide(flow, DecisionKind.FALSE_POSITIVE, order[0])
    assert not issued(flow, "restore", "roll-forward")
    decide(flow, DecisionKind.FALSE_POSITIVE, order[1], 70)
    assert len(issued(flow, "restore")) == len(issued(flow, "roll-forward")) == 1
    assert state(flow, "quarantine") is HoldState.RELEASED


def test_a_closed_incident_keeps_what_it_contained_until_a_person_releases_it():
    flow = twice()
    for spec in list(flow.issued):
        flow.answer(spec)
    (quarantine,) = issued(flow, "quarantine")
    decide(flow, DecisionKind.CLOSE, FIRST, 60)
    decide(flow, DecisionKind.FALSE_POSITIVE, SECOND, 61)
    assert not issued(flow, "restore")
    decide(flow, DecisionKind.RELEASE, FIRST, 62, target=quarantine.command_id)
    assert len(issued(flow, "restore")) == 1
    views = {command.spec.command_id: command.state for command in flow.incidents[FIRST].commands}
    assert views[quarantine.command_id] == "reversed"


@pytest.mark.parametrize("closed", [True, False])
def test_containment_outlives_its_findings_until_released(closed):
    flow = Flow()
    flow.policy(AUTOMATIC)
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    fact = IntelFact(
        key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x", "y")
    )
    flow.fact(fact)
    (quarantine,) = issued(flow, "quarantine")
    flow.answer(quarantine)
    if closed:
        decide(flow, DecisionKind.CLOSE, quarantine.incident)
    flow.withdraw(fact.key)
    assert bool(issued(flow, "restore")) is not closed
    if closed:
        decide(
            flow,
            DecisionKind.RELEASE,
            quarantine.incident,
            70,
            target=quarantine.command_id,
        )
        assert [spec.undoes for spec in issued(flow, "restore")] == [quarantine.command_id]


@pytest.mark.parametrize("ended", [DecisionKind.FALSE_POSITIVE, DecisionKind.CLOSE])
def test_hold_with_excess_incidents_needs_a_release(monkeypatch, ended):
    monkeypatch.setattr(intake, "REASONS", 1)
    flow = twice()
    (quarantine,) = issued(flow, "quarantine")
    flow.answer(quarantine)
    for incident in (FIRST, SECOND):
        decide(flow, ended, incident)
    assert not issued(flow, "restore"), "a third one may hold it"
    view = flow.holds["a", MODEL]
    for thing in releasable(view):
        for release in releases(thing):
            decide(flow, DecisionKind.RELEASE, release.incident, 70, target=release.target)
    assert [spec.undoes for spec in issued(flow, "restore")] == [quarantine.command_id]


def test_hold_of_closed_incidents_ends_when_both_are_false_positives():
    flow = twice()
    for spec in list(flow.issued):
        flow.answer(spec)
    for number, incident in enumerate((FIRST, SECOND)):
        decide(flow, DecisionKind.CLOSE, incident, 60 + number)
    decide(flow, DecisionKind.FALSE_POSITIVE, FIRST, 70)
    assert not issued(flow, "restore")
    decide(flow, DecisionKind.FALSE_POSITIVE, SECOND, 71)
    assert len(issued(flow, "restore")) == 1


def test_a_reject_ends_one_reason_and_an_approval_of_the_other_contains():
    flow = twice(Policy(tenant="a", dry_run=False))
    (proposal,) = [asked for asked in flow.proposals.values() if asked.action == "quarantine"]
    decide(flow, DecisionKind.REJECT, FIRST, target=proposal.command_id)
    decide(flow, DecisionKind.APPROVE, SECOND, target=proposal.command_id)
    assert [command.command_id for command in issued(flow, "quarantine")] == [proposal.command_id]
    decide(flow, DecisionKind.FALSE_POSITIVE, SECOND, 70)
    assert len(issued(flow, "restore")) == 1


def test_reissued_command_has_another_id_and_a_later_generation():
    flow = twice()
    (before,) = issued(flow, "quarantine")
    for number, kind in enumerate((DecisionKind.FALSE_POSITIVE, DecisionKind.REOPEN)):
        for incident in (FIRST, SECOND):
            decide(flow, kind, incident, 60 + number)
    first, second = issued(flow, "quarantine")
    assert (first.generation, second.generation) == (0, 1)
    assert first.command_id == before.command_id != second.command_id
    assert state(flow, "quarantine") is HoldState.HELD


def test_ending_dry_runs_reissues_everything():
    flow = twice(Policy(tenant="a", automatic=AUTOMATIC.automatic))
    for spec in list(flow.issued):
        flow.answer(spec)
    dry = list(flow.issued)
    assert all(command.dry_run for command in dry)
    flow.policy(AUTOMATIC)
    flow.tick(minutes=120)
    real = [command for command in flow.issued if not command.dry_run]
    assert {command.action for command in real} == {command.action for command in dry}
    assert not {command.command_id for command in real} & {command.command_id for command in dry}
    (quarantine,) = [command for command in real if command.action == "quarantine"]
    captures = {command.command_id for command in real if command.action == "capture-evidence"}
    assert set(quarantine.after) <= captures


def test_version_under_an_open_medium_finding_is_no_rollback_target():
    flow = Flow()
    flow.policy(AUTOMATIC)
    flow.saw(*held(MODEL, "a", "gpu", 0, version="r1", digest=GOOD))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(
        finding(
            "metadata_manipulation",
            "a",
            digest=GOOD,
            version="r1",
            severity=Severity.MEDIUM,
            minutes=1,
        )
    )
    flow.found(finding("malicious_payload", "a", minutes=11))
    assert not issued(flow, "rollback")


def test_advised_command_can_be_approved():
    flow = twice(Policy(tenant="a", advised=("quarantine",), dry_run=False))
    (advised,) = [
        command.spec
        for command in flow.alerts[FIRST, "a"].commands
        if command.spec.action == "quarantine" and command.state == "advised"
    ]
    assert not issued(flow, "quarantine")
    decide(flow, DecisionKind.APPROVE, FIRST, target=advised.command_id)
    assert [command.command_id for command in issued(flow, "quarantine")] == [advised.command_id]


def test_a_failed_command_is_tried_again_when_a_person_asks():
    flow = twice()
    (quarantine,) = issued(flow, "quarantine")
    flow.answer(quarantine, 500, "no such disk")
    decide(flow, DecisionKind.RETRY, SECOND, target=quarantine.command_id)
    assert [command.attempt for command in issued(flow, "quarantine")] == [1, 2]
    capture = issued(flow, "capture-evidence")[0]
    flow.answer(capture, 500, "no such disk")
    decide(flow, DecisionKind.RETRY, capture.incident, 61, target=capture.command_id)
    attempts = [
        command.attempt for command in flow.issued if command.command_id == capture.command_id
    ]
    assert attempts == [1, 2]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("batch", [1, 64])
def test_evidence_is_asked_for_before_what_contains_and_is_waited_for(dry_run, batch):
    policy = Policy(
        tenant="a",
        automatic=("capture-evidence", "quarantine", "rollback", "block"),
        dry_run=dry_run,
    )
    flow = twice(policy, batch=batch)
    captures: set[str] = set()
    contained = 0
    for spec in flow.issued:
        if spec.action == "capture-evidence":
            captures.add(spec.command_id)
        elif spec.undoes is None:
            contained += 1
            assert captures & set(spec.after), "what contains waits for no evidence"
            earlier = {command.command_id for command in flow.issued[: flow.issued.index(spec)]}
            assert set(spec.after) <= earlier, "it waits for what is asked for later"
    assert contained >= 3


@pytest.mark.parametrize("ended", ["rejected", "asked"])
def test_a_rollback_that_moves_turns_no_other_incidents_answer_into_approval(ended):
    """The first incident's rollback is in force, and its version is found to be bad."""
    flow = twice(Policy(tenant="a", automatic=(), dry_run=False))
    flow.saw(*held(MODEL, "a", "gpu", -10, version="r0", digest="e" * 64))
    (proposal,) = [spec for spec in flow.proposals.values() if spec.action == "rollback"]
    if ended == "rejected":
        decide(flow, DecisionKind.REJECT, SECOND, target=proposal.command_id)
    decide(flow, DecisionKind.APPROVE, FIRST, target=proposal.command_id)
    assert [command.rollback_version for command in issued(flow, "rollback")] == ["r1"]
    flow.found(finding("malicious_payload", "a", digest=GOOD, version="r1", minutes=65))
    again = flow.proposals[max(flow.proposals, key=lambda name: flow.proposals[name].generation)]
    decide(flow, DecisionKind.APPROVE, FIRST, target=again.command_id)
    assert [command.rollback_version for command in issued(flow, "rollback")] == ["r1", "r0"]
    (thing,) = [kept for kept in flow.holds["a", MODEL].things if kept.action == "rollback"]
    states = {reason.incident: reason.state for reason in thing.reasons}
    assert (states[FIRST], states[SECOND]) == (ReasonState.APPROVED, ReasonState(ended))


def test_what_another_incident_requires_approves_no_version_that_a_person_did_not():
    """The first incident's approval was for a version that is bad now: it asks again."""
    flow = twice(Policy(tenant="a", automatic=(), dry_run=False))
    flow.saw(*held(MODEL, "a", "gpu", -10, version="r0", digest="e" * 64))
    (proposal,) = [spec for spec in flow.proposals.values() if spec.action == "rollback"]
    decide(flow, DecisionKind.APPROVE, FIRST, target=proposal.command_id)
    decide(flow, DecisionKind.REJECT, SECOND, target=proposal.command_id)
    flow.policy(AUTOMATIC)
    flow.found(finding("malicious_payload", "a", digest="f" * 64, minutes=64, systems=("gpu",)))
    flow.found(finding("malicious_payload", "a", digest=GOOD, version="r1", minutes=65))
    (thing,) = [kept for kept in flow.holds["a", MODEL].things if kept.action == "rollback"]
    states = {reason.incident: reason.state for reason in thing.reasons}
    assert thing.command is not None
    assert (thing.state, thing.command.rollback_version) == (HoldState.HELD, "r0")
    assert states[FIRST] is ReasonState.ASKED

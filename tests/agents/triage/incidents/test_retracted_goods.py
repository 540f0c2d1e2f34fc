"""Rollback targets that turn out bad: withdrawn, replaced, or warned of."""

from __future__ import annotations

import msgspec
import pytest

from agents.triage.incidents.rows import SYSTEMS, SystemsRow
from agents.triage.routing import incident_id, incident_message
from agents.triage.store import Store, row_key
from schemas.canonical import stable_hash
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.commands import CommandSpec
from schemas.incidents.updates import KnownGood
from schemas.policy import Policy
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held

OLDER = "0" * 64
CASE = incident_id(f"sha256:{BAD}")


def running(*, automatic: bool, older: bool) -> Flow:
    """Return a run with a hostile r2, a clean r1 and, if asked for, a clean r0 before."""
    flow = Flow()
    flow.policy(Policy(tenant="a", automatic=("rollback",) if automatic else (), dry_run=False))
    if older:
        flow.saw(*held(MODEL, "a", "gpu", 0, version="r0", digest=OLDER))
    flow.saw(*held(MODEL, "a", "gpu", 5, version="r1", digest=GOOD))
    flow.saw(*held(MODEL, "a", "gpu", 30, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a", minutes=60))
    return flow


def good(version: str, digest: str, *, active: bool, revision: int) -> KnownGood:
    return KnownGood(
        incident=CASE,
        tenant="a",
        component=MODEL,
        version=version,
        digest=digest,
        seen_at=at(5),
        active=active,
        revision=(revision, 0),
    )


def retract(flow: Flow) -> None:
    """Find the version that was rolled back to hostile as well."""
    flow.found(finding("malicious_payload", "a", digest=GOOD, version="r1", minutes=65))


def is_rollback(spec: CommandSpec) -> bool:
    return spec.incident == CASE and spec.action == "rollback"


def proposed(flow: Flow) -> list[CommandSpec]:
    return [asked for asked in flow.proposals.values() if is_rollback(asked)]


def rollbacks(flow: Flow) -> list[tuple[str | None, str]]:
    return [
        (command.rollback_version, command.mode) for command in flow.issued if is_rollback(command)
    ]


def view_of(flow: Flow):
    return [
        command for command in flow.alerts[CASE, "a"].commands if command.spec.action == "rollback"
    ]


def decide(flow: Flow, kind: DecisionKind, target: str | None = None, incident: str = CASE) -> None:
    flow.decide(
        Decision(
            id=f"dec-{incident}",
            incident=incident,
            actor="ann",
            decision=kind,
            reason="go",
            time=at(70),
            tenant="a",
            target=target,
        )
    )


def test_a_proposal_is_changed_to_the_next_best_under_its_id():
    flow = running(automatic=False, older=True)
    (before,) = proposed(flow)
    retract(flow)
    (after,) = proposed(flow)
    assert (before.rollback_version, after.rollback_version) == ("r1", "r0")
    assert before.command_id == after.command_id


def test_a_proposal_is_withdrawn_where_no_other_is_known_and_approving_it_does_nothing():
    flow = running(automatic=False, older=False)
    (before,) = proposed(flow)
    retract(flow)
    (after,) = proposed(flow)
    assert (after.rollback_digest, after.mode) == (None, "advised")
    assert "no known-good version" in after.reason
    decide(flow, DecisionKind.APPROVE, before.command_id)
    assert before.command_id not in flow.commands
    assert [entry.state for entry in view_of(flow)] == ["advised"]


def test_an_issued_one_is_followed_by_one_to_the_next_best_and_a_warning():
    flow = running(automatic=True, older=True)
    (first,) = [command for command in flow.issued if is_rollback(command)]
    flow.answer(first)
    retract(flow)
    assert rollbacks(flow) == [("r1", "automatic"), ("r0", "automatic")]
    follower = [command for command in flow.issued if is_rollback(command)][-1]
    assert follower.replaces == first.command_id
    assert follower.command_id != first.command_id
    (warning,) = [alert for alert in flow.operator.values() if alert.subject == CASE]
    assert "r1 was found to be bad since; r0 takes its place" in warning.detail
    assert {entry.spec.rollback_version: entry.state for entry in view_of(flow)} == {
        "r1": "superseded",
        "r0": "issued",
    }
    retract(flow)
    assert len(rollbacks(flow)) == 2


def test_version_withdrawn_by_the_ledger_alone_is_no_rollback_target():
    """No finding of this tenant speaks of it: only the ledger's word reaches the hold."""
    flow = running(automatic=True, older=True)
    words = [
        good("r1", GOOD, active=False, revision=1 << 61),
        good("r0", OLDER, active=True, revision=1 << 61),
    ]
    flow.send(incident_message(CASE, word) for word in words)
    assert rollbacks(flow) == [("r1", "automatic"), ("r0", "automatic")]


def test_an_issued_one_is_not_repeated_and_the_warning_says_that_none_is_known():
    flow = running(automatic=True, older=False)
    retract(flow)
    flow.tick(minutes=1)
    (warning,) = [alert for alert in flow.operator.values() if alert.subject == CASE]
    assert "no other good version is known" in warning.detail
    assert "Do not use" in flow.alerts[CASE, "a"].next_action
    flow.tick(minutes=60)
    assert rollbacks(flow) == [("r1", "automatic")]
    assert {entry.state for entry in view_of(flow)} == {"superseded", "advised"}


def test_an_approved_one_is_followed_by_a_proposal():
    flow = running(automatic=False, older=True)
    (before,) = proposed(flow)
    decide(flow, DecisionKind.APPROVE, before.command_id)
    assert rollbacks(flow) == [("r1", "approved")]
    retract(flow)
    waiting = [proposal for proposal in proposed(flow) if proposal.replaces == before.command_id]
    assert [(proposal.rollback_version, proposal.mode) for proposal in waiting] == [
        ("r0", "proposal")
    ]


def test_a_better_version_that_is_cleared_is_moved_to_without_a_warning():
    flow = running(automatic=True, older=True)
    retract(flow)
    decide(flow, DecisionKind.FALSE_POSITIVE, incident=incident_id(f"sha256:{GOOD}"))
    assert rollbacks(flow) == [("r1", "automatic"), ("r0", "automatic"), ("r1", "automatic")]
    assert not [command for command in flow.issued if command.action == "roll-forward"]
    assert {(entry.spec.rollback_version, entry.state) for entry in view_of(flow)} == {
        ("r1", "superseded"),
        ("r0", "superseded"),
        ("r1", "issued"),
    }
    flow.tick(minutes=1)
    assert not [alert for alert in flow.operator.values() if "r0 was found" in alert.detail]


def test_an_approval_counts_again_once_its_version_is_cleared():
    flow = running(automatic=False, older=False)
    (before,) = proposed(flow)
    decide(flow, DecisionKind.APPROVE, before.command_id)
    retract(flow)
    assert rollbacks(flow) == [("r1", "approved")]
    decide(flow, DecisionKind.FALSE_POSITIVE, incident=incident_id(f"sha256:{GOOD}"))
    assert rollbacks(flow) == [("r1", "approved"), ("r1", "approved")]
    assert not [command for command in flow.issued if command.action == "roll-forward"]
    assert {entry.state for entry in view_of(flow)} == {"superseded", "issued"}


def test_a_withdrawn_incident_takes_back_only_the_last_of_a_chain():
    flow = running(automatic=True, older=True)
    retract(flow)
    decide(flow, DecisionKind.FALSE_POSITIVE)
    forward = [command for command in flow.issued if command.action == "roll-forward"]
    assert not forward, "the incident about r1 calls for the rollback as well"
    decide(flow, DecisionKind.FALSE_POSITIVE, incident=incident_id(f"sha256:{GOOD}"))
    forward = [command for command in flow.issued if command.action == "roll-forward"]
    assert [command.rollback_version for command in forward] == ["r0"]


@pytest.mark.parametrize("first", [True, False])
def test_the_later_word_on_a_version_counts_whichever_comes_first(first):
    flow = running(automatic=False, older=False)
    words = [
        good("r1", GOOD, active=False, revision=1 << 61),
        good("r1", GOOD, active=True, revision=(1 << 61) + 1),
    ]
    for word in words if first else reversed(words):
        flow.send([incident_message(CASE, word)])
    (proposal,) = proposed(flow)
    assert proposal.rollback_version == "r1"


def kept_goods(flow: Flow) -> list[KnownGood]:
    key = row_key(SYSTEMS, CASE, "a")
    found = (Store(rows).load(key, SystemsRow) for rows in flow.incident_rows)
    (row,) = [entry for entry in found if entry is not None]
    return list(row.good.values())


@pytest.mark.parametrize("best", ["v-a", "v-b", "v-c", "v-d"])
@pytest.mark.parametrize("first", [True, False])
def test_the_rollback_target_is_kept_among_many_that_no_longer_are(best, first):
    flow = running(automatic=False, older=False)
    many = [
        msgspec.structs.replace(
            good(f"{number:03}" + "x" * 100, f"{number:064x}", active=False, revision=10 + number),
            signed=True,
        )
        for number in range(100)
    ]
    kept = good(best, stable_hash(best), active=True, revision=1 << 50)
    order = [kept, *many] if first else [*many, kept]
    flow.send(incident_message(CASE, step) for step in order)
    (proposal,) = proposed(flow)
    assert proposal.rollback_version in {best, "r1"}
    retract(flow)
    (proposal,) = proposed(flow)
    assert proposal.rollback_version == best


def test_every_component_keeps_its_best_before_any_keeps_its_second():
    flow = running(automatic=False, older=False)
    goods = [
        msgspec.structs.replace(
            good(
                f"{number}", f"{component:032x}{number:032x}", active=number == 7, revision=number
            ),
            component=f"{MODEL}-{component}",
        )
        for component in range(24)
        for number in range(9)
    ]
    flow.send(incident_message(CASE, message) for message in goods)
    assert {kept_good.component for kept_good in kept_goods(flow) if kept_good.active} >= {
        f"{MODEL}-{component}" for component in range(24)
    }

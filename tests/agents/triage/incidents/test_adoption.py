"""Commands that were issued before holds were kept are taken into a hold: none is left behind."""

from __future__ import annotations

import msgspec
import pytest

from agents.triage.containment import command_id
from agents.triage.incidents.hold_batch import DUE, HOLD, THING
from agents.triage.incidents.rows import ACTIONS, ASKED, CLOCK, ActionsRow
from agents.triage.routing import incident_id, incident_message
from agents.triage.store import SEPARATOR
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import HELD, HoldState
from schemas.incidents.states import CommandStatus
from schemas.incidents.updates import ResultUpdate
from schemas.policy import Policy
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held

OTHER = "c" * 64
FIRST, SECOND = incident_id(f"sha256:{BAD}"), incident_id(f"sha256:{OTHER}")


def before_holds(*digests: str, automatic: bool = True) -> tuple[Flow, dict[str, CommandSpec]]:
    """Return a run with the rows as they were before holds, and its quarantines by incident."""
    flow = Flow()
    actions = ("capture-evidence", "quarantine", "rollback") if automatic else ()
    flow.policy(Policy(tenant="a", automatic=actions, dry_run=False))
    flow.saw(*held(MODEL, "a", "gpu", 0, version="r1", digest=GOOD))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest="d" * 64))
    for minute, digest in enumerate(digests, 11):
        flow.found(
            finding("malicious_payload", "a", minutes=minute, digest=digest, systems=("gpu",))
        )
    quarantines = {}
    for rows in flow.incident_rows:
        for key, raw in list(rows.scan("", limit=10_000)):
            kind = key.split(SEPARATOR)[0]
            if kind in {HOLD, THING, DUE, ASKED, CLOCK}:
                rows.delete(key)
            elif kind == ACTIONS:
                row = msgspec.msgpack.decode(raw, type=ActionsRow)
                commands = {}
                for command in row.commands.values():
                    spec = command.spec
                    if spec.action in HELD:
                        name = command_id(spec.incident, "a", spec.action, spec.target)
                        spec = msgspec.structs.replace(spec, command_id=name, hold="")
                        command.spec = spec
                        command.results = {}
                        if spec.action == "quarantine":
                            quarantines[spec.incident] = spec
                    commands[spec.command_id] = command
                row.commands = commands
                rows.put(key, msgspec.msgpack.encode(row))
    flow.issued.clear()
    flow.proposals.clear()
    flow.holds.clear()
    return flow, quarantines


def answer(flow: Flow, spec: CommandSpec, status: int = 200) -> None:
    """Answer as a responder does that knows of no holds."""
    flow.clock_ms += 1000
    result = ResultUpdate(
        incident=spec.incident,
        id=f"res-{spec.command_id}",
        command_id=spec.command_id,
        tenant="a",
        status=status,
        at=at(30),
    )
    flow.send([incident_message(spec.incident, result)])


def decide(flow: Flow, kind: DecisionKind, incident: str, minutes: float = 60, **more: str) -> None:
    flow.decide(
        Decision(
            id=f"dec-{incident}-{minutes}",
            incident=incident,
            actor="ann",
            decision=kind,
            reason="because",
            time=at(minutes),
            tenant="a",
            **more,
        )
    )


def quarantine_of(flow: Flow):
    (thing,) = [kept for kept in flow.holds["a", MODEL].things if kept.action == "quarantine"]
    return thing


def state_of(flow: Flow, spec: CommandSpec) -> CommandStatus:
    (view,) = [
        view
        for view in flow.incidents[spec.incident].commands
        if view.spec.command_id == spec.command_id
    ]
    return view.state


def test_an_answer_reaches_the_hold_and_nothing_is_issued_again():
    flow, quarantines = before_holds(BAD)
    answer(flow, quarantines[FIRST])
    thing = quarantine_of(flow)
    assert (thing.state, thing.status) == (HoldState.HELD, 200)
    assert thing.command.command_id == quarantines[FIRST].command_id
    assert not [spec for spec in flow.issued if spec.action == "quarantine"]
    assert state_of(flow, quarantines[FIRST]) is CommandStatus.DONE


@pytest.mark.parametrize("answered", [True, False])
def test_a_false_positive_takes_back_what_was_issued_before(answered):
    flow, quarantines = before_holds(BAD)
    if answered:
        answer(flow, quarantines[FIRST])
    decide(flow, DecisionKind.FALSE_POSITIVE, FIRST)
    (restore,) = [spec for spec in flow.issued if spec.action == "restore"]
    assert restore.undoes == quarantines[FIRST].command_id
    assert quarantine_of(flow).state is HoldState.RELEASED


def test_adopted_commands_share_a_hold_and_end_with_its_last_reason():
    flow, quarantines = before_holds(BAD, OTHER)
    flow.tick(1)
    assert {reason.incident for reason in quarantine_of(flow).reasons} == {FIRST, SECOND}
    decide(flow, DecisionKind.FALSE_POSITIVE, FIRST, 60)
    assert not [spec for spec in flow.issued if spec.action == "restore"]
    decide(flow, DecisionKind.FALSE_POSITIVE, SECOND, 61)
    undone = {spec.undoes for spec in flow.issued if spec.action == "restore"}
    assert undone == {spec.command_id for spec in quarantines.values()}


def test_a_decision_about_a_proposal_is_found_by_the_id_it_had():
    flow, quarantines = before_holds(BAD, automatic=False)
    flow.tick(5)
    flow.saw(*held(MODEL, "a", "gpu-2", 12, version="r2", digest=BAD))
    decide(flow, DecisionKind.APPROVE, FIRST, target=quarantines[FIRST].command_id)
    (issued,) = [spec for spec in flow.issued if spec.action == "quarantine"]
    assert issued.hold == MODEL
    assert quarantine_of(flow).state is HoldState.HELD


def test_unanswered_command_is_repeated_under_its_id():
    flow, quarantines = before_holds(BAD)
    flow.tick(20)
    flow.tick(20)
    flow.tick(40)
    repeated = [spec for spec in flow.issued if spec.action == "quarantine"]
    assert {spec.command_id for spec in repeated} == {quarantines[FIRST].command_id}
    assert len({spec.attempt for spec in repeated}) == len(repeated) > 0


def test_an_answer_that_came_before_the_upgrade_is_known_to_the_hold():
    flow, quarantines = before_holds(BAD)
    for rows in flow.incident_rows:
        for key, raw in list(rows.scan(ACTIONS, limit=100)):
            row = msgspec.msgpack.decode(raw, type=ActionsRow)
            for command in row.commands.values():
                command.results = {"r": (flow.clock_ms, 200, "moved")}
            rows.put(key, msgspec.msgpack.encode(row))
    flow.saw(*held(MODEL, "a", "gpu-2", 12, version="r2", digest=BAD))
    assert quarantine_of(flow).status == 200
    assert state_of(flow, quarantines[FIRST]) is CommandStatus.DONE
    assert not [spec for spec in flow.issued if spec.action == "quarantine"]

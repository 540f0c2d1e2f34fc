"""Holds: one command for all reasons, and no release while one of them is in force.

The model plays incidents, answers, time and repetitions in random order against the state machine,
with a responder that carries out what it gets.
Over 500 lines, since the model comes with its tests.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.triage.containment import command_id
from agents.triage.holds import intake
from agents.triage.holds.goals import due_goal, goes_to, is_stuck
from agents.triage.holds.intake import REASONS, on_answer, on_reason, on_suspicion
from agents.triage.holds.repetition import next_due, on_time
from agents.triage.holds.rows import Effects, Hold, HoldRow
from agents.triage.holds.settling import settle
from schemas.incidents.commands import UNDO, CommandSpec
from schemas.incidents.holds import Goal, HoldReason, HoldState, ReasonState, Suspicion
from schemas.incidents.states import Action, Mode, TargetType
from schemas.incidents.updates import ResultUpdate
from tests.depth import examples
from tests.each import each

MODEL = "model:hub/acme/sentiment"
INCIDENTS = ("inc-1", "inc-2", "inc-3")
THINGS = (("quarantine", f"{MODEL}@r2"), ("rollback", MODEL))
GOALS = (
    Goal(by_intel=False, signed=True, before=True, seen_ms=2, digest="1" * 64, version="r1"),
    Goal(by_intel=False, signed=False, before=True, seen_ms=1, digest="0" * 64, version="r0"),
)
KNOWN = {"inc-3": GOALS[1:]}
"""The versions to go back to that an incident knows of, if not all."""
HOUR = 3_600_000


def call(incident: str, action: str, target: str, **more: Any) -> CommandSpec:
    return CommandSpec(
        command_id=command_id("", "a", action, target),
        incident=incident,
        tenant="a",
        action=Action(action),
        target=target,
        target_type=TargetType.COMPONENT,
        reason="because",
        undo=UNDO.get(Action(action)),
        mode=more.pop("mode", Mode.AUTOMATIC),
        dry_run=more.pop("dry_run", False),
        hold=MODEL,
        **more,
    )


class Play:
    """A hold, the incidents that speak to it, and a responder."""

    def __init__(self) -> None:
        self.hold = Hold(row=HoldRow(tenant="a", component=MODEL))
        self.now_ms = 1_000_000
        self.revision = 0
        self.commands: list[CommandSpec] = []
        self.said: list[HoldReason] = []
        self.kept: dict[tuple[str, str], str] = {}
        """What closed incidents contain, by thing and incident: only a person may end it."""
        self.contained: dict[str, str] = {}
        """By thing: the command that did it."""
        self.escalations: list[str] = []
        self.escalated: set[str] = set()
        """The things that a person was told of."""
        self.expired: set[str] = set()
        """The things of which a command expired: a person was told, and sees to the rest."""
        self.latest: dict[str, str] = {}
        """By thing: the command that contains, as issued last and not released."""
        self.tried: dict[str, str] = {}
        """By thing: the last dry run."""

    def say(
        self,
        incident: str,
        state: ReasonState,
        thing: tuple[str, str] = THINGS[0],
        *,
        dry_run: bool = False,
        after: tuple[str, ...] = (),
        approved: Goal | None = None,
        goals: tuple[Goal, ...] = GOALS,
        **more: Any,
    ) -> None:
        """Give a reason.

        Args:
            incident: Whose it is.
            state: How far it is.
            thing: Action and target.
            dry_run: Whether it is only tried.
            after: What the command waits for.
            approved: The version that a person approved going back to.
            goals: The versions that the incident knows to go back to.
            more: Further fields.
        """
        self.revision += 1
        spec = call(incident, *thing, dry_run=dry_run, after=after)
        if thing[0] == "rollback" and state is ReasonState.APPROVED and approved is not None:
            spec = msgspec.structs.replace(
                spec, rollback_version=approved.version, rollback_digest=approved.digest
            )
        said = HoldReason(
            incident=incident,
            state=state,
            revision=self.revision,
            spec=spec,
            goals=goals if thing[0] == "rollback" else (),
            **more,
        )
        self.said.append(said)
        place = (f"{thing[0]} {thing[1]}", incident)
        if said.closed and state.stands and not dry_run:
            self.kept[place] = incident
        elif said.by_person or state is not ReasonState.REFUTED:
            self.kept.pop(place, None)
        known = self.hold.things.get(place[0])
        others = known is not None and [
            reason for reason in known.standing() if reason.incident != incident
        ]
        released = said.by_person and state is ReasonState.RELEASED and not others
        if released and known is not None and known.overflowed:
            # Which closed incidents there were beyond those that are kept, the person saw to.
            self.kept = {other: who for other, who in self.kept.items() if other[0] != place[0]}
        self.hear(said)

    def hear(self, said: HoldReason) -> None:
        before = {thing.key: thing.command for thing in self.held()}
        if on_reason(self.hold, said):
            self.follow(settle(self.hold, self.now_ms))
        for key, command in before.items():
            thing = self.hold.things[key]
            assert command is not None
            dry_run = command.dry_run
            if dry_run and thing.calls_for_real:
                assert thing.release is None, "a dry run left nothing to release"
            elif not stands(thing, dry_run=dry_run) and not thing.overflowed:
                # Whatever was answered so far, and if it was answered at all.
                if command.undo is None:
                    assert thing.release is None, "nothing takes it back"
                    continue
                assert thing.release is not None, "the last reason ended, and nothing is released"
                assert thing.release.undoes == command.command_id

    def held(self) -> list[Any]:
        return [thing for thing in self.hold.things.values() if thing.state is HoldState.HELD]

    def suspect(self, incident: str, *digests: str) -> None:
        self.revision += 1
        said = Suspicion(
            incident=incident,
            tenant="a",
            component=MODEL,
            suspected=digests,
            revision=self.revision,
        )
        if on_suspicion(self.hold, said):
            self.follow(settle(self.hold, self.now_ms))

    def follow(self, effects: Effects) -> None:
        for spec, proposal in effects.commands:
            if proposal:
                continue
            thing = self.thing(spec)
            if spec.undoes is not None:
                # A release that was issued before is repeated until it is answered.
                first = spec.attempt == 1
                # What asks again did not call for it when it was released.
                asks = asks_again(thing) and not first
                assert asks or not stands(thing, dry_run=spec.dry_run), "a reason is in force"
                assert not (first and thing.overflowed), "released though reasons overflowed"
                kept = [hold for hold in self.kept if hold[0] == thing.key]
                assert not (first and kept), "released what a closed incident contains"
                if first:
                    real = self.latest.pop(thing.key, None)
                    expected = real or self.tried.pop(thing.key)
                    assert spec.undoes == expected, "it undoes what another command did"
                    assert spec.dry_run == (real is None)
                else:
                    assert spec.command_id == thing.release.command_id
            else:
                # What is not released, since reasons did not fit, is issued again until answered,
                # and moves from a version that is bad.
                in_force = (self.tried if spec.dry_run else self.latest).get(thing.key)
                known = in_force is not None and in_force in {spec.command_id, spec.replaces}
                again = thing.overflowed and known
                assert thing.standing() or again, "contained without a reason"
                assert not any(incident in spec.command_id for incident in INCIDENTS)
                (self.tried if spec.dry_run else self.latest)[thing.key] = spec.command_id
            self.commands.append(spec)
        self.escalations += [why for _, why in effects.escalations]
        self.escalated |= {self.thing(spec).key for spec, _ in effects.escalations}
        self.expired |= {
            self.thing(spec).key for spec, why in effects.escalations if "expired" in why
        }
        again = settle(self.hold, self.now_ms)
        assert again == Effects(), "the same state again does something"

    def thing(self, spec: CommandSpec) -> Any:
        return next(
            thing
            for thing in self.hold.things.values()
            if thing.target == spec.target and thing.action in {spec.action, undone(spec.action)}
        )

    def answer(self, status: int = 200) -> None:
        """Let the responder carry out the commands in force, or fail at them."""
        for thing in list(self.hold.things.values()):
            spec = thing.in_force
            if spec is None or thing.is_done:
                continue
            if status == 200 and not spec.dry_run:
                if spec.undoes is None:
                    self.contained[thing.key] = spec.command_id
                else:
                    self.contained.pop(thing.key, None)
            result = ResultUpdate(
                incident=spec.incident,
                id=f"res-{spec.command_id}-{spec.attempt}-{status}",
                command_id=spec.command_id,
                tenant="a",
                status=status,
                at=datetime.fromtimestamp(self.now_ms / 1000, tz=UTC),
                hold=MODEL,
            )
            if on_answer(self.hold, result) is not None:
                self.follow(settle(self.hold, self.now_ms))
            assert on_answer(self.hold, result) is None, "an answer counts once"

    def pass_time(self, hours: float) -> None:
        self.now_ms += int(hours * HOUR)
        self.follow(on_time(self.hold, self.now_ms))

    def crash(self) -> None:
        """Write the rows and read them again; what was heard last is heard once more."""
        self.hold = msgspec.msgpack.decode(msgspec.msgpack.encode(self.hold), type=Hold)
        for said in self.said[-1:]:
            assert not on_reason(self.hold, said), "a repetition changed something"

    def contains(self) -> dict[str, str | None]:
        """Return the things that the responder contains, each with the version rolled back to."""
        versions = {spec.command_id: spec.rollback_version for spec in self.commands}
        return {key: versions[done] for key, done in self.contained.items()}

    def rest(self) -> None:
        """Answer everything."""
        for _ in range(8):
            self.answer()


def stands(thing: Any, *, dry_run: bool = False) -> bool:
    """Whether a reason stands, though the version approved may be bad; also one for a dry run."""
    return any(
        reason.state.stands and reason.spec.dry_run <= dry_run for reason in thing.reasons.values()
    )


def asks_again(thing: Any) -> bool:
    return any(reason.void for reason in thing.reasons.values())


def undone(action: Action) -> Action:
    return next((done for done, undo in UNDO.items() if undo is action), action)


STEPS = st.one_of(
    st.tuples(
        st.just("say"),
        st.sampled_from(INCIDENTS),
        st.sampled_from(list(ReasonState)),
        st.sampled_from(THINGS),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from([None, *GOALS]),
    ),
    st.tuples(
        st.just("suspect"),
        st.sampled_from(INCIDENTS),
        st.sampled_from([goal.digest for goal in GOALS] + [f"@{goal.version}" for goal in GOALS]),
    ),
    st.tuples(st.just("clear"), st.sampled_from(INCIDENTS)),
    st.tuples(st.just("answer"), st.sampled_from([200, 404, 500])),
    st.tuples(st.just("time"), st.sampled_from([0.3, 1.0, 25.0])),
    st.tuples(st.just("crash")),
)


def perform(play: Play, step: tuple[Any, ...], goals: tuple[Goal, ...] | None = None) -> None:
    """Let a step happen.

    Args:
        play: Where.
        step: What.
        goals: The versions to go back to that all incidents know, if not each its own.
    """
    match step:
        case ("say", incident, state, thing, dry_run, closed, by_person, approved):
            play.say(
                incident,
                state,
                thing,
                dry_run=dry_run,
                closed=closed,
                by_person=by_person,
                approved=approved,
                goals=goals or KNOWN.get(incident, GOALS),
            )
        case ("suspect", incident, name):
            play.suspect(incident, name)
        case ("clear", incident):
            play.suspect(incident)
        case ("answer", status):
            play.answer(status)
        case ("time", hours):
            play.pass_time(hours)
        case ("crash",):
            play.crash()


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(STEPS, max_size=30))
@example(
    [
        ("say", "inc-1", ReasonState.AUTOMATIC, THINGS[0], False, False, False, None),
        ("answer", 200),
        ("say", "inc-1", ReasonState.ASKED, THINGS[0], False, False, False, None),
    ]
)
def test_holds_equal_the_reasons_in_force_in_any_history(steps):
    play = Play()
    for step in steps:
        perform(play, step)
    play.rest()
    assert_contained_as_reasoned(play)
    assert next_due(play.hold) in {None, 0}


def assert_contained_as_reasoned(play: Play) -> None:
    """Assert that of a hold at rest, what is contained is what reasons call for, and no more."""
    for thing in play.hold.things.values():
        standing = bool(thing.standing())
        if thing.action == "rollback" and standing and due_goal(play.hold, thing) is None:
            assert thing.state is HoldState.IDLE
            assert stands(thing) or thing.key not in play.contained or thing.key in play.expired
            continue
        assert (thing.state is HoldState.HELD) == standing
        if standing:
            assert thing.command.dry_run != stands(thing)
            if thing.action == "rollback":
                assert goes_to(thing.command, due_goal(play.hold, thing)), "another version is due"
        if thing.key in play.expired:
            continue
        if stands(thing) and not asks_again(thing):
            assert thing.key in play.contained
        if not stands(thing) and thing.action in UNDO:
            assert thing.key not in play.contained, "it is contained without a reason"


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(STEPS, min_size=8, max_size=30))
@example(
    [
        ("say", "inc-1", ReasonState.AUTOMATIC, THINGS[0], False, False, False, None),
        ("say", "inc-2", ReasonState.ASKED, THINGS[0], False, False, False, None),
        ("say", "inc-1", ReasonState.ASKED, THINGS[0], False, False, False, None),
        ("time", 0.3),
    ]
)
@example(
    [
        ("say", "inc-1", ReasonState.APPROVED, THINGS[1], False, False, False, GOALS[0]),
        ("say", "inc-2", ReasonState.ASKED, THINGS[1], False, False, False, None),
        ("suspect", "inc-1", GOALS[0].digest),
    ]
)
def test_nothing_is_released_with_excess_reasons(steps):
    """With room for one reason; `Play` asserts it of each release."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "REASONS", 1)
        play = Play()
        for step in steps:
            perform(play, step)


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_dry_runs_change_nothing_and_their_end_issues_the_commands_again(steps):
    """What is contained is the same if a dry run calls for nothing at all."""
    with_them, without = Play(), Play()
    for step in steps:
        if step[0] == "time":
            # Nothing expires.
            with_them.pass_time(0.3)
            without.pass_time(0.3)
            continue
        perform(with_them, step, goals=GOALS)
        is_dry_run = step[0] == "say" and step[4] and step[2].calls
        ended = (
            ("say", step[1], ReasonState.REFUTED, *step[3:6], True, None) if is_dry_run else step
        )
        perform(without, ended, goals=GOALS)
    for play in (with_them, without):
        play.rest()
    assert with_them.contains() == without.contains()
    for thing in list(with_them.hold.things.values()):
        for reason in list(thing.reasons.values()):
            if reason.spec.dry_run:
                place = (str(thing.action), thing.target)
                with_them.say(reason.incident, reason.state, place, closed=reason.closed)
    with_them.rest()
    assert not any(
        thing.command is not None and thing.command.dry_run for thing in with_them.held()
    )
    assert_contained_as_reasoned(with_them)


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_there_is_one_containing_command_for_each_generation(steps):
    play = Play()
    for step in steps:
        perform(play, step)
    issued: dict[str, set[tuple[str, int]]] = {}
    for spec in play.commands:
        if spec.undoes is None:
            assert spec.command_id == command_id("", "a", spec.action, spec.target, spec.generation)
            goal = (str(spec.rollback_digest), int(spec.dry_run))
            issued.setdefault(spec.command_id, set()).add(goal)
    assert all(len(goals) == 1 for goals in issued.values())


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_a_rollback_target_is_under_no_suspicion(steps):
    play = Play()
    for step in steps:
        perform(play, step)
        against = {name for many in play.hold.row.suspicions.values() for name in many.names}
        for thing in play.hold.things.values():
            if thing.action == "rollback" and thing.state is HoldState.HELD:
                assert thing.command.rollback_digest not in against
                assert f"@{thing.command.rollback_version}" not in against
                quarantined = play.hold.things.get(
                    f"quarantine {MODEL}@{thing.command.rollback_version}"
                )
                assert quarantined is None or not any(
                    reason.calls for reason in quarantined.reasons.values()
                )


CONTAINING = (
    *THINGS,
    ("block", "domain:evil.example"),
    ("hold-pipeline", "pipeline:train"),
    ("revoke", "identity:ci"),
)


@settings(max_examples=examples(50), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(INCIDENTS),
            st.sampled_from(list(ReasonState)),
            st.sampled_from(CONTAINING),
            st.sampled_from([(), *((goal.digest,) for goal in GOALS)]),
            st.sampled_from([None, *GOALS]),
            st.tuples(st.booleans(), st.booleans(), st.booleans()),
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_reasons_do_not_depend_on_the_order_of_incidents(said, chance):
    """Of one incident the order is kept: its partition is its only writer.

    What is held, what is contained, and which version a rollback goes to, is the same as well.
    """
    ends = []
    for mixed in (False, True):
        play = Play()
        queues = {
            incident: [message for message in said if message[0] == incident]
            for incident in INCIDENTS
        }
        order = [message[0] for message in said]
        if mixed:
            chance.shuffle(order)
        for who in order:
            _, state, thing, suspected, approved, (dry_run, closed, by_person) = queues[who].pop(0)
            play.suspect(who, *suspected)
            play.say(
                who,
                state,
                thing,
                dry_run=dry_run,
                closed=closed,
                by_person=by_person,
                approved=approved,
                goals=KNOWN.get(who, GOALS),
            )
            if chance.random() < 0.3:
                play.answer(chance.choice([200, 500]))
        play.rest()
        assert_contained_as_reasoned(play)
        ends.append(
            {
                key: (
                    {
                        name: (reason.state, reason.void)
                        for name, reason in sorted(thing.reasons.items())
                    },
                    thing.state is HoldState.HELD,
                    thing.state is HoldState.HELD and goal_of(thing),
                    thing.key in play.contained
                    and thing.action in UNDO
                    and not asks_again(thing)
                    and not is_stuck(play.hold, thing),
                )
                for key, thing in sorted(play.hold.things.items())
                if any(reason.calls for reason in thing.reasons.values())
            }
        )
    assert ends[0] == ends[1]


def test_a_rollback_in_force_moves_to_a_better_version_that_is_cleared():
    """Nothing is released on the way, and nobody is alarmed."""
    play = Play()
    play.suspect("inc-1", GOALS[0].digest)
    play.say("inc-2", ReasonState.AUTOMATIC, THINGS[1])
    play.rest()
    play.suspect("inc-1")
    first, second = play.commands
    assert (first.rollback_version, second.rollback_version) == ("r0", "r1")
    assert second.replaces == first.command_id
    assert second.generation > first.generation
    assert not play.escalations


def test_an_approved_rollback_stays_at_the_version_that_was_approved():
    play = Play()
    play.suspect("inc-1", GOALS[0].digest)
    play.say("inc-2", ReasonState.APPROVED, THINGS[1], approved=GOALS[1])
    play.suspect("inc-1")
    (command,) = play.commands
    assert command.rollback_version == "r0"
    play.say("inc-3", ReasonState.AUTOMATIC, THINGS[1])
    assert play.commands[-1].rollback_version == "r1", "an automatic reason goes to the best"


def test_an_approval_of_a_version_found_to_be_bad_asks_again_and_counts_once_it_is_cleared():
    play = Play()
    play.say("inc-2", ReasonState.APPROVED, THINGS[1], approved=GOALS[0])
    play.rest()
    play.suspect("inc-1", GOALS[0].digest)
    thing = play.hold.things[f"rollback {MODEL}"]
    assert thing.state is HoldState.PROPOSED
    assert goal_of(thing) == ("r0", GOALS[1].digest)
    play.suspect("inc-1")
    assert [command.rollback_version for command in play.commands] == ["r1", "r1"]
    assert all(command.undoes is None for command in play.commands), "never back to the original"


def test_a_rollback_with_excess_reasons_leaves_a_version_found_to_be_bad(monkeypatch):
    monkeypatch.setattr(intake, "REASONS", 1)
    play = Play()
    play.say("inc-1", ReasonState.ASKED, THINGS[1])
    play.say("inc-2", ReasonState.AUTOMATIC, THINGS[1])
    play.say("inc-2", ReasonState.ASKED, THINGS[1])
    play.rest()
    play.suspect("inc-3", GOALS[0].digest)
    assert [command.rollback_version for command in play.commands] == ["r1", "r0"]


def goal_of(thing: Any) -> tuple[str | None, str | None]:
    return thing.command.rollback_version, thing.command.rollback_digest


@pytest.mark.parametrize("order", list(itertools.permutations(INCIDENTS)))
def test_a_reissued_command_does_not_depend_on_who_asked_first(order):
    """The reasons are equal by then, so are the incident, the goal and what it waits for."""
    play = Play()
    for incident in order:
        play.say(incident, ReasonState.AUTOMATIC, THINGS[1], after=(f"ev-{incident}",))
    (first,) = play.commands
    assert first.incident == order[0], "what is issued keeps the reason that it was issued for"
    play.suspect("inc-9", GOALS[0].digest)
    last = play.commands[-1]
    assert (last.incident, last.rollback_version) == ("inc-1", "r0")
    assert last.after == ("ev-inc-1",)


@each("thing", CONTAINING)
@each(("dry", "real"), [("inc-1", "inc-2"), ("inc-2", "inc-1")])
def test_a_real_command_never_waits_for_the_evidence_of_a_dry_run(thing, dry, real):
    play = Play()
    play.say(dry, ReasonState.AUTOMATIC, thing, dry_run=True, after=(f"ev-{dry}",))
    play.say(real, ReasonState.AUTOMATIC, thing, after=(f"ev-{real}",))
    last = play.commands[-1]
    assert (last.incident, last.after, last.dry_run) == (real, (f"ev-{real}",), False)


@each("thing", CONTAINING)
@each("end", [ReasonState.REFUTED, ReasonState.ASKED, ReasonState.AUTOMATIC])
def test_a_reason_for_a_dry_run_keeps_nothing_real(thing, end):
    """Whether the last real reason ends, asks, or becomes a dry run as well."""
    play = Play()
    play.say("inc-1", ReasonState.AUTOMATIC, thing)
    play.rest()
    play.say("inc-2", ReasonState.AUTOMATIC, thing, dry_run=True)
    assert len(play.commands) == 1
    play.say("inc-1", end, thing, dry_run=end is ReasonState.AUTOMATIC)
    if play.commands[0].undo is not None:
        assert play.commands[1].undoes == play.commands[0].command_id
    play.rest()
    tried = play.commands[-1].dry_run and play.commands[-1].undoes is None
    assert tried == (end is not ReasonState.ASKED), "what a person may approve comes first"


def test_a_dry_run_after_a_rollback_that_was_given_up_waits_for_its_release():
    """It was given up, since its version was bad and none other was known."""
    play = Play()
    play.say("inc-1", ReasonState.AUTOMATIC, THINGS[1])
    play.rest()
    play.suspect("inc-2", *(goal.digest for goal in GOALS))
    play.say("inc-1", ReasonState.AUTOMATIC, THINGS[1], dry_run=True)
    play.suspect("inc-2", GOALS[0].digest)
    play.rest()
    real, release, tried = play.commands
    assert (release.undoes, release.dry_run) == (real.command_id, False)
    assert (tried.rollback_version, tried.dry_run) == ("r0", True)
    assert not play.contained


@each("thing", CONTAINING)
def test_a_dry_run_waits_until_a_release_is_answered(thing):
    """It would end the repetition of the release, and take nothing back."""
    play = Play()
    play.say("inc-1", ReasonState.AUTOMATIC, thing)
    play.rest()
    play.say("inc-1", ReasonState.REFUTED, thing)
    release = play.commands[-1]
    play.say("inc-2", ReasonState.AUTOMATIC, thing, dry_run=True)
    if release.undoes is not None:
        play.answer(500)
        play.pass_time(0.3)
        assert (play.commands[-1].command_id, play.commands[-1].attempt) == (release.command_id, 2)
        play.answer()
    assert play.commands[-1].dry_run


def test_excess_reasons_move_a_rollback_though_the_ones_that_are_kept_are_dry_runs(monkeypatch):
    monkeypatch.setattr(intake, "REASONS", 1)
    play = Play()
    play.say("inc-1", ReasonState.ASKED, THINGS[1])
    play.say("inc-2", ReasonState.AUTOMATIC, THINGS[1])
    play.rest()
    play.say("inc-2", ReasonState.AUTOMATIC, THINGS[1], dry_run=True)
    play.suspect("inc-3", GOALS[0].digest)
    assert [command.rollback_version for command in play.commands] == ["r1", "r0"]
    assert not play.commands[-1].dry_run


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(STEPS, max_size=20))
def test_uncontained_hold_at_rest_has_failed_and_was_escalated(steps):
    play = Play()
    for step in steps:
        perform(play, step)
    for _ in range(12):
        play.answer(500)
        play.pass_time(30)
    for thing in play.hold.things.values():
        if thing.in_force is not None and not thing.is_done:
            assert thing.expired or thing.escalated
            assert thing.key in play.escalated
        elif thing.standing() and thing.state is HoldState.IDLE:
            assert thing.key in play.escalated, "nothing contains it, and nobody was told"
    assert next_due(play.hold) is None


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(STEPS, max_size=20), st.integers(0, 30))
def test_answers_to_commands_of_older_generations_change_nothing(steps, which):
    play = Play()
    for step in steps:
        perform(play, step)
    in_force = {
        spec.command_id
        for thing in play.hold.things.values()
        for spec in (thing.command, thing.release, thing.given_up)
        if spec is not None
    }
    older = [spec for spec in play.commands if spec.command_id not in in_force]
    if older:
        spec = older[which % len(older)]
        before = msgspec.msgpack.encode(play.hold)
        result = ResultUpdate(
            incident=spec.incident,
            id="res-late",
            command_id=spec.command_id,
            tenant="a",
            status=200,
            at=datetime.fromtimestamp(play.now_ms / 1000, tz=UTC),
            hold=MODEL,
        )
        assert on_answer(play.hold, result) is None
        assert settle(play.hold, play.now_ms) == Effects()
        assert msgspec.msgpack.encode(play.hold) == before


# -- single steps ----------------------------------------------------------------------------------


def test_a_second_incident_adds_a_reason_and_no_command():
    play = Play()
    play.say("inc-1", ReasonState.AUTOMATIC)
    play.say("inc-2", ReasonState.AUTOMATIC)
    assert [command.action for command in play.commands] == ["quarantine"]
    play.say("inc-1", ReasonState.REFUTED, by_person=True)
    assert [command.action for command in play.commands] == ["quarantine"]
    play.say("inc-2", ReasonState.REFUTED, by_person=True)
    assert [command.action for command in play.commands] == ["quarantine", "restore"]


def test_the_end_of_the_last_reason_releases_whatever_was_answered():
    for status in (None, 102, 404, 500):
        play = Play()
        play.say("inc-1", ReasonState.AUTOMATIC)
        if status is not None:
            play.answer(status)
        play.say("inc-1", ReasonState.REFUTED)
        assert [command.action for command in play.commands] == ["quarantine", "restore"]


def test_containment_of_a_closed_incident_stays_until_released():
    play = Play()
    play.say("inc-1", ReasonState.AUTOMATIC)
    play.say("inc-1", ReasonState.AUTOMATIC, closed=True)
    play.say("inc-1", ReasonState.REFUTED)
    assert [command.action for command in play.commands] == ["quarantine"]
    play.say("inc-1", ReasonState.RELEASED, closed=True, by_person=True)
    assert [command.action for command in play.commands] == ["quarantine", "restore"]


def test_a_reject_removes_one_reason():
    play = Play()
    play.say("inc-1", ReasonState.APPROVED)
    play.say("inc-2", ReasonState.APPROVED)
    play.say("inc-1", ReasonState.REJECTED)
    assert [command.action for command in play.commands] == ["quarantine"]


def test_ending_dry_runs_reissues_under_another_id():
    play = Play()
    play.say("inc-1", ReasonState.AUTOMATIC, dry_run=True)
    play.answer()
    play.say("inc-1", ReasonState.AUTOMATIC, dry_run=False)
    first, second = play.commands
    assert (first.dry_run, second.dry_run) == (True, False)
    assert (second.action, second.generation) == ("quarantine", first.generation + 1)
    assert first.command_id != second.command_id


def test_excess_reasons_keep_it_held_until_released():
    play = Play()
    many = [f"inc-{number:02}" for number in range(REASONS + 1)]
    for case in many:
        play.say(case, ReasonState.AUTOMATIC)
    for case in many[:-1]:
        play.say(case, ReasonState.REFUTED)
    assert [command.action for command in play.commands] == ["quarantine"]
    play.say(many[0], ReasonState.RELEASED, by_person=True)
    assert [command.action for command in play.commands] == ["quarantine", "restore"]


@each("first", [ReasonState.REFUTED, ReasonState.RELEASED])
def test_decision_on_one_incident_releases_no_excess_reason(first):
    """The thirteenth incident is open, and the hold knows only that there are more."""
    play = Play()
    many = [f"inc-{number:02}" for number in range(REASONS + 1)]
    for case in many:
        play.say(case, ReasonState.AUTOMATIC)
    play.say(many[0], first, by_person=True)
    for case in many[1:-1]:
        play.say(case, ReasonState.REFUTED)
    assert [command.action for command in play.commands] == ["quarantine"]
    play.say(many[1], ReasonState.RELEASED, by_person=True)
    assert [command.action for command in play.commands] == ["quarantine", "restore"]


def test_evicted_request_keeps_it_held(monkeypatch):
    """It is still open, though the hold no longer knows it."""
    monkeypatch.setattr(intake, "REASONS", 1)
    play = Play()
    play.say("inc-1", ReasonState.ASKED)
    play.say("inc-2", ReasonState.AUTOMATIC)
    play.say("inc-2", ReasonState.REFUTED)
    assert [command.action for command in play.commands] == ["quarantine"]
    play.say("inc-2", ReasonState.RELEASED, by_person=True)
    assert [command.action for command in play.commands] == ["quarantine", "restore"]


def test_excess_suspicions_leave_no_rollback_target(monkeypatch):
    monkeypatch.setattr(intake, "SUSPICIONS", 1)
    play = Play()
    play.suspect("inc-1", "f" * 64)
    play.suspect("inc-2", "e" * 64)
    play.say("inc-1", ReasonState.AUTOMATIC, THINGS[1])
    assert not play.commands


def test_a_switch_forward_waits_until_what_it_switches_to_is_back():
    play = Play()
    for thing in THINGS:
        play.say("inc-1", ReasonState.AUTOMATIC, thing)
    quarantine, rollback = play.commands
    assert rollback.after == (quarantine.command_id,)
    for thing in THINGS:
        play.say("inc-1", ReasonState.REFUTED, thing, by_person=True)
    restore, forward = play.commands[2:]
    assert forward.after == (restore.command_id,)


@pytest.mark.parametrize(
    ("target", "digest"),
    [(f"{MODEL}@r1", None), (f"{MODEL}@also-r1", GOALS[0].digest)],
    ids=["by version", "by digest"],
)
@pytest.mark.parametrize("state", [ReasonState.AUTOMATIC, ReasonState.ASKED])
@pytest.mark.parametrize("quarantined_first", [False, True])
def test_quarantined_version_is_no_rollback_target(target, digest, state, quarantined_first):
    """Nor to what only a proposal would take out of use; no suspicion says so here."""
    play = Play()

    def roll_back() -> None:
        play.say("inc-1", ReasonState.AUTOMATIC, THINGS[1])

    def quarantine() -> None:
        spec = call("inc-2", "quarantine", target, digest=digest)
        play.revision += 1
        play.hear(HoldReason(incident="inc-2", state=state, revision=play.revision, spec=spec))

    for step in (quarantine, roll_back) if quarantined_first else (roll_back, quarantine):
        step()
    rollbacks = [spec for spec in play.commands if spec.action == "rollback"]
    assert rollbacks[-1].rollback_version == "r0"


def test_hold_without_a_version_in_use_states_it():
    play = Play()
    play.say("inc-1", ReasonState.AUTOMATIC, THINGS[1])
    play.suspect("inc-2", GOALS[0].digest)
    assert [command.rollback_version for command in play.commands] == ["r1", "r0"]
    assert play.commands[1].replaces == play.commands[0].command_id
    play.suspect("inc-3", GOALS[1].digest)
    play.pass_time(0.1)
    assert len(play.commands) == 2
    assert "no other good version is known" in play.escalations[-1]


def test_a_person_has_a_failed_command_tried_again():
    play = Play()
    play.say("inc-1", ReasonState.AUTOMATIC)
    for _ in range(12):
        play.answer(500)
        play.pass_time(10)
    before = len(play.commands)
    play.say("inc-1", ReasonState.AUTOMATIC, retries=1)
    assert len(play.commands) == before + 1
    assert play.commands[-1].attempt == play.commands[-2].attempt + 1


@each("name", [GOALS[0].digest, f"@{GOALS[0].version}"])
def test_a_version_is_suspected_by_its_digest_or_its_name(name):
    play = Play()
    play.suspect("inc-1", name)
    play.say("inc-2", ReasonState.AUTOMATIC, THINGS[1])
    assert [command.rollback_version for command in play.commands] == ["r0"]

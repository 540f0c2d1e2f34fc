"""An alert is created once, then updated, and closed once per end."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.ports import Message
from agents.triage.incidents.core import Incidents
from agents.triage.routing import incident_id
from schemas.channels import Channel
from schemas.decisions import Decision, DecisionKind
from schemas.incidents.states import Activity
from schemas.incidents.views import AlertView
from schemas.policy import Policy
from tests.agents.published import Publishing
from tests.agents.triage.flow import Flow, PlainDocuments, at
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held
from tests.depth import examples

CASE = incident_id(f"sha256:{BAD}")
KINDS = (
    DecisionKind.ACKNOWLEDGE,
    DecisionKind.CLOSE,
    DecisionKind.FALSE_POSITIVE,
    DecisionKind.REOPEN,
)


def decide(flow: Flow, kind: DecisionKind, minutes: float, tenant: str | None = None) -> None:
    flow.decide(
        Decision(
            id=f"dec-{kind}-{minutes}-{tenant}",
            incident=CASE,
            actor="ann",
            decision=kind,
            reason="because",
            time=at(minutes),
            tenant=tenant,
        )
    )


def activities(flow: Flow, tenant: str = "a") -> list[Activity]:
    views = flow.history[flow.alerts[CASE, tenant].id]
    return [view.activity for view in views]


def assert_in_order(histories: Iterable[list[AlertView]]) -> None:
    """Check every alert: one Create, first; a Close wherever it ends, and nowhere else."""
    for views in histories:
        assert [view.activity is Activity.CREATE for view in views] == [
            True,
            *([False] * (len(views) - 1)),
        ]
        ended = False
        for view in views:
            if view.activity is Activity.CLOSE:
                assert view.status.ended
                assert not ended, "closed twice without being open in between"
                ended = True
            elif view.activity is Activity.UPDATE:
                assert view.status.ended <= ended, "it ended without a Close"
                ended = view.status.ended


def hostile(**more: object) -> Flow:
    flow = Flow(**more)
    flow.policy(Policy(tenant="a", automatic=("capture-evidence", "quarantine"), dry_run=False))
    flow.saw(*held(MODEL, "a", "gpu", 0, version="r1", digest=GOOD))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a", minutes=11))
    return flow


def test_the_first_record_creates_and_what_follows_updates():
    flow = hostile()
    flow.saw(*held(MODEL, "a", "gpu-2", 20, version="r2", digest=BAD))
    reported = activities(flow)
    assert reported[0] is Activity.CREATE
    assert set(reported[1:]) == {Activity.UPDATE}


def test_a_closed_alert_is_updated_by_what_is_learnt_later():
    flow = hostile()
    decide(flow, DecisionKind.FALSE_POSITIVE, 60)
    for spec in list(flow.issued):
        flow.answer(spec)
    reported = activities(flow)
    assert reported.count(Activity.CLOSE) == 1
    assert reported[-1] is Activity.UPDATE
    assert flow.alerts[CASE, "a"].status.ended


def test_an_alert_that_opens_again_is_updated_and_can_be_closed_again():
    flow = hostile()
    decide(flow, DecisionKind.CLOSE, 60)
    decide(flow, DecisionKind.REOPEN, 61)
    assert activities(flow)[-1] is Activity.UPDATE
    assert not flow.alerts[CASE, "a"].status.ended
    decide(flow, DecisionKind.CLOSE, 62)
    assert activities(flow).count(Activity.CLOSE) == 2
    assert_in_order(flow.history.values())


def test_alert_that_ended_unseen_is_created_and_closed():
    flow = Flow()
    flow.put(finding("malicious_payload", "a", minutes=11))
    early = Decision(
        id="dec-early",
        incident=CASE,
        actor="ann",
        decision=DecisionKind.FALSE_POSITIVE,
        reason="known",
        time=at(60),
    )
    flow._queue.append((Channel.DECISIONS, CASE, early))
    flow.run()
    assert activities(flow)[0] is Activity.CREATE
    assert activities(flow).count(Activity.CLOSE) == 1
    assert_in_order(flow.history.values())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("decide"), st.sampled_from(KINDS), st.sampled_from([None, "a", "b"])),
        st.tuples(st.just("saw"), st.sampled_from("ab"), st.integers(0, 3)),
        st.tuples(st.just("found"), st.sampled_from("ab"), st.integers(0, 2)),
        st.tuples(st.just("answer"), st.sampled_from([200, 500])),
        st.tuples(st.just("tick"), st.sampled_from([5.0, 60.0])),
    ),
    max_size=8,
)


def play(flow: Flow, steps: list[tuple]) -> None:
    for number, step in enumerate(steps):
        minutes = 100 + number
        match step:
            case ("decide", kind, tenant):
                decide(flow, kind, minutes, tenant)
            case ("saw", tenant, system):
                flow.saw(*held(MODEL, tenant, f"gpu-{system}", minutes, version="r2", digest=BAD))
            case ("found", tenant, locator):
                flow.found(
                    finding("malicious_payload", tenant, minutes=minutes, locator=str(locator))
                )
            case ("answer", status):
                for spec in list(flow.issued)[-2:]:
                    flow.answer(spec, status)
            case ("tick", minutes):
                flow.tick(minutes)


@settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, seed=st.integers(0, 999), again=st.sampled_from([0.0, 0.5]))
def test_any_history_creates_once_and_closes_once_for_each_end(steps, seed, again):
    flow = Flow(shuffle=random.Random(seed), again=again, batch=1 + seed % 7)
    flow.policy(Policy(tenant="a", automatic=("capture-evidence", "quarantine"), dry_run=False))
    flow.saw(*held(MODEL, "a", "gpu", 10, version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a", minutes=11))
    play(flow, steps)
    assert_in_order(flow.history.values())


class Dated(PlainDocuments):
    """The views, with the time that their records' ids are made of."""

    def alert(self, view: AlertView, at_ms: int) -> Iterable[Message]:
        for message in super().alert(view, at_ms):
            yield msgspec.structs.replace(message, headers=(("at", str(at_ms).encode()),))


class Crashing(Flow):
    """Delivers what follows from part of a batch, loses its state, and reads it cut otherwise."""

    def __init__(self, chance: random.Random, **more: Any) -> None:
        super().__init__(**more)
        self._chance = chance
        self._incidents = Incidents(self.knowledge, Dated(), 3)
        self.records: dict[str, dict[tuple[Activity, bytes], AlertView]] = {}

    def _take_incidents(self, partition: int, values: list[tuple[str, Any]]) -> None:
        deliveries = self._deliveries(partition, values)
        rows = self.incident_rows[partition]
        cut = self._chance.randrange(len(deliveries) + 1)
        lost = rows.copy()
        for part in (deliveries[:cut], deliveries[cut:]) if self._chance.random() < 0.5 else ():
            self._incidents.process(part, Publishing(self._publish), lost)
            if self._chance.random() < 0.5:
                break
        self._incidents.process(deliveries, Publishing(self._publish), rows)

    def _publish(self, message: Message) -> None:
        super()._publish(message)
        if message.channel is Channel.ALERTS and message.value is not None:
            view = msgspec.json.decode(message.value, type=AlertView)
            identity = (view.activity, dict(message.headers)["at"])
            # As a consumer does that drops what has an id that it knows.
            self.records.setdefault(view.id, {}).setdefault(identity, view)


@settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, seed=st.integers(0, 999))
def test_crash_repeats_no_create_or_close(steps, seed):
    flow = Crashing(random.Random(seed))
    flow.policy(Policy(tenant="a", automatic=("capture-evidence", "quarantine"), dry_run=False))
    flow.put(
        *held(MODEL, "a", "gpu", 10, version="r2", digest=BAD),
        *held(MODEL, "a", "gpu-2", 10, version="r2", digest=BAD),
        finding("malicious_payload", "a", minutes=11),
        finding("malicious_payload", "b", minutes=12),
    )
    flow.run()
    play(flow, steps)
    for records in flow.records.values():
        reported = [activity for activity, _ in records]
        assert reported[0] is Activity.CREATE
        assert reported.count(Activity.CREATE) == 1
        ends = sum(
            decision[1] in {DecisionKind.CLOSE, DecisionKind.FALSE_POSITIVE}
            for decision in steps
            if decision[0] == "decide"
        )
        assert reported.count(Activity.CLOSE) <= ends

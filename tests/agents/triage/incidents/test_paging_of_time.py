"""Time comes to everybody: however many parts and holds wait, a later tick reaches the rest."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.triage.incidents import deadlines, hold_batch
from agents.triage.incidents.deadlines import Deadlines
from agents.triage.incidents.hold_batch import DUE, DueRow
from agents.triage.incidents.rows import WAITING, WaitingRow
from agents.triage.ledger.rows import DAY_MS
from agents.triage.store import Store, row_key
from schemas.policy import default_policy
from tests.agents.triage.flow import Flow
from tests.agents.triage.memory_rows import MemoryRows
from tests.agents.triage.stories import BAD, MODEL, finding, held
from tests.depth import examples

PAGE = 3
LATER = 30 * 24 * 60


def test_each_waiting_part_is_yielded_once_a_round_and_none_before_its_time(monkeypatch):
    monkeypatch.setattr(deadlines, "AT_ONCE", PAGE)
    store = Store(MemoryRows())
    clock = Deadlines(store)
    for number in range(10):
        clock.wait(f"inc-{number}", "a", 100 if number % 2 else 10_000)
    clock.advance(500)
    rounds = [[waiting.incident for _, waiting in Deadlines(store).due()] for _ in range(4)]
    assert [len(turn) for turn in rounds] == [1, 2, 1, 1]
    assert sorted(name for turn in rounds for name in turn) == [f"inc-{n}" for n in (1, 3, 5, 7, 9)]
    again = [waiting.incident for _, waiting in Deadlines(store).due()]
    assert again == rounds[0], "it starts again"


class _Counted(MemoryRows):
    """Rows that count how often they are scanned."""

    scans = 0

    def scan(self, prefix, *, limit, after=""):
        self.scans += 1
        return super().scan(prefix, limit=limit, after=after)


def test_waiting_parts_are_not_read_before_the_first_of_them_is_due():
    rows = _Counted()

    def tick(now):
        clock = Deadlines(store := Store(rows))
        clock.advance(now)
        before = rows.scans
        due = [waiting.incident for _, waiting in clock.due()]
        for incident in due:
            clock.wait(incident, "a", None)
        store.flush()
        return due, rows.scans - before

    def wait(incident, due):
        Deadlines(store := Store(rows)).wait(incident, "a", due)
        store.flush()

    wait("inc-1", 10_000)
    assert tick(500) == ([], 1), "of rows of an earlier version the earliest time is not known"
    assert tick(600) == ([], 0)
    wait("inc-2", 700)
    wait("inc-3", 20_000)
    assert tick(699) == ([], 0)
    assert tick(700) == (["inc-2"], 1)
    assert tick(701) == ([], 1)
    assert tick(9_999) == ([], 0)
    assert tick(10_000) == (["inc-1"], 1)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("wait"), st.integers(0, 8), st.integers(0, 300)),
            st.tuples(st.just("drop"), st.integers(0, 8), st.just(0)),
            st.tuples(st.just("tick"), st.integers(1, 60), st.just(0)),
        ),
        max_size=40,
    )
)
@settings(max_examples=examples(60), deadline=None)
def test_each_part_is_yielded_when_due(steps):
    rows = MemoryRows()
    waiting, now = {}, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deadlines, "AT_ONCE", PAGE)

        def tick(by):
            nonlocal now
            now += by
            clock = Deadlines(store := Store(rows))
            clock.advance(now)
            for _, part in clock.due():
                assert waiting.pop(part.incident) <= now
                clock.wait(part.incident, "a", None)
            store.flush()

        for step, number, more in [*steps, *[("tick", 1, 0)] * 9]:
            if step == "tick":
                tick(number)
                continue
            name = f"inc-{number}"
            due = now + more if step == "wait" else None
            Deadlines(store := Store(rows)).wait(name, "a", due)
            store.flush()
            waiting.pop(name, None)
            if due is not None:
                waiting[name] = due
        assert not [name for name, due in waiting.items() if due <= now - 9]


def test_all_expiring_incidents_of_a_day_are_processed_that_day(monkeypatch):
    """More incidents than one tick looks at: else they would heap up where more open each day."""
    monkeypatch.setattr(deadlines, "AT_ONCE", PAGE)
    store = Store(MemoryRows())
    clock = Deadlines(store)
    for number in range(7):
        clock.look_again(f"inc-{number}", 20)
    clock.look_again("inc-later", 21)
    rounds = []
    for second in range(4):
        clock = Deadlines(store)
        assert clock.advance(20 * DAY_MS + second * 1000)
        rounds.append(list(clock.to_look_at()))
    assert rounds == [
        ["inc-0", "inc-1", "inc-2"],
        ["inc-3", "inc-4", "inc-5"],
        ["inc-6"],
        [],
    ]
    clock = Deadlines(store)
    assert clock.advance(21 * DAY_MS)
    assert list(clock.to_look_at()) == ["inc-later"]


@pytest.mark.parametrize("automatic", [False, True])
def test_waiting_parts_of_one_tenant_delay_no_other(monkeypatch, automatic):
    """All of mallory's rows lie before the victim's, and their time does not come."""
    monkeypatch.setattr(deadlines, "AT_ONCE", PAGE)
    monkeypatch.setattr(hold_batch, "DUE_AT_ONCE", PAGE)
    flow = Flow()
    flow.policy(
        msgspec.structs.replace(
            default_policy("victim"), automatic=("quarantine",) if automatic else (), dry_run=False
        )
    )
    for rows in flow.incident_rows:
        store = Store(rows)
        for number in range(10):
            name = f"model:hub/{number}"
            never = WaitingRow(incident=f"inc-0{number}", tenant="mallory", due_ms=1 << 50)
            store.save(row_key(WAITING, f"inc-0{number}", "mallory"), never)
            late = DueRow(tenant="mallory", component=name, due_ms=1 << 50)
            store.save(row_key(DUE, "mallory", name), late)
        store.flush()
    flow.saw(*held(MODEL, "victim", "gpu", version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "victim"))

    def states():
        return {
            command.state
            for alert in flow.alerts_of("victim")
            for command in alert.commands
            if command.spec.action == "quarantine"
        }

    before = states()
    assert before == {"issued" if automatic else "proposed"}
    for _ in range(12):
        flow.tick(minutes=LATER)
    assert not states() & before

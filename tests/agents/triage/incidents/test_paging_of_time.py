"""Time comes to everybody: however many parts and holds wait, a later tick reaches the rest."""

from __future__ import annotations

import msgspec
import pytest

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


def test_all_that_may_be_forgotten_on_a_day_is_looked_at_on_that_day(monkeypatch):
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
def test_what_one_tenant_has_waiting_keeps_no_other_from_its_time(monkeypatch, automatic):
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

"""Source health: silent sources, incomplete analyses and dead letters are reported once."""

from __future__ import annotations

from agents.triage.bounded_sets import stable_rank
from agents.triage.ledger.source_health import sampled, usual_interval_ms
from agents.triage.routing import (
    source_message,
)
from schemas.channels import Channel
from schemas.events import Event
from schemas.ledger import SourceSeen, Tick
from tests.agents.triage.flow import START, at
from tests.agents.triage.ledger.records import kinds, take
from tests.agents.triage.memory_rows import MemoryRows


def pulse(hour, outcome="ok", event=None):
    event_id = event or f"e{hour}"
    return SourceSeen(
        key="source:a|//ci",
        tenant="a",
        source="//ci",
        event_id=event_id,
        at_ms=int(START.timestamp() * 1000) + hour * 3_600_000,
        outcome=outcome,
    )


def test_a_silent_source_is_reported_once_and_again_when_it_returns():
    rows = MemoryRows()
    start = int(START.timestamp() * 1000)
    take(rows, *(pulse(hour) for hour in range(12)))
    assert kinds(take(rows, Tick(time_ms=start + 13 * 3_600_000))) == []
    assert kinds(take(rows, Tick(time_ms=start + 20 * 3_600_000))) == ["source-silent"]
    assert kinds(take(rows, Tick(time_ms=start + 30 * 3_600_000))) == []
    assert kinds(take(rows, pulse(31))) == ["source-recovered"]


def test_a_rising_share_of_incomplete_analyses_is_reported():
    rows = MemoryRows()
    start = int(START.timestamp() * 1000)
    take(rows, *(pulse(1, event=f"ok{n}") for n in range(10)))
    take(rows, *(pulse(1, "incomplete", event=f"bad{n}") for n in range(10)))
    assert kinds(take(rows, Tick(time_ms=start + 2 * 3_600_000))) == ["incomplete-share"]


def test_dead_letters_of_one_producer_are_reported():
    rows = MemoryRows()
    start = int(START.timestamp() * 1000)
    take(rows, *(pulse(1, "dead-letter", event=f"x{n}") for n in range(25)))
    assert "dead-letters" in kinds(take(rows, Tick(time_ms=start + 2 * 3_600_000)))


def test_young_source_has_no_usual_interval():
    assert usual_interval_ms([1, 2, 3]) is None
    assert usual_interval_ms([1, 2, 3, 4, 5, 6, 7]) == 3_600_000


def test_the_message_of_a_source_names_it():
    event = Event(
        id="e",
        source="//ci",
        type="t",
        subject="s",
        time=at(0),
        tenantid="a",
        data=None,
        received_ms=5,
    )
    message = source_message(event, "incomplete")
    assert message.key == "source:a|//ci"
    assert message.channel is Channel.OBSERVATIONS


def test_the_sampled_sixteenth_is_that_of_the_least_ranks():
    ids = [f"evt-{number}" for number in range(2_000)]
    assert [sampled(id_) for id_ in ids] == [stable_rank(id_)[0] == "0" for id_ in ids]
    assert 80 < sum(map(sampled, ids)) < 170

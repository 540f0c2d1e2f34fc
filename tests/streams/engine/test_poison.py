"""What can't be read goes to the dead letters whole; too much of it stops the worker."""

from __future__ import annotations

from typing import Any

import aiokafka
import pytest

from agents.ports import Record
from schemas.channels import Channel
from streams.kafka.dead_letters import (
    DeadLetter,
    DeadLetterLimit,
    DeadLetterLimitError,
    dead_letter,
    list_dead_letters,
    replay_dead_letters,
    show_dead_letter,
)
from tests.streams.engine.conftest import Bench, wait_for


async def _all(bench: Bench) -> list[DeadLetter]:
    return [letter async for letter in list_dead_letters(bench.settings())]


@pytest.mark.kafka
def test_poison_at_the_first_offset_of_a_new_group_is_kept_whole_and_harms_no_neighbour(
    bench: Bench,
) -> None:
    bench.make_topics()
    topic = bench.topic(Channel.OBSERVATIONS)

    async def poison() -> None:
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=bench.options["kafka"]) as producer:
            headers = [("twice", b"1"), ("twice", b"\xff"), ("content-type", b"text/plain")]
            await producer.send_and_wait(topic, None, b"key", partition=0, headers=headers)
            await producer.send_and_wait(topic, b"\xff\xfe{", None, partition=0, headers=headers)
            for number in range(5):
                await producer.send_and_wait(topic, b'{"id": %d}' % number, partition=0)

    bench.do(poison())
    bench.start("copy")
    bench.wait_outputs(set(range(5)))
    letters = sorted(bench.do(_all(bench)), key=lambda letter: letter.source_offset)
    first, second = letters
    assert (first.reason, first.value, first.original_key) == ("null-value", None, b"key")
    assert first.key == f"{topic}-0-0"
    assert (second.reason, second.value) == ("invalid-json", b"\xff\xfe{")
    assert second.original_headers == (
        ("twice", b"1"),
        ("twice", b"\xff"),
        ("content-type", b"text/plain"),
    )
    assert second.app == "copy"
    assert bench.do(show_dead_letter(bench.settings(), second.key)) == second
    wait_for(lambda: bench.committed("copy") == 7, "poison was acknowledged too")


@pytest.mark.kafka
def test_replay_writes_the_record_back_as_it_was(bench: Bench) -> None:
    bench.make_topics()
    bench.send(("k", b"not json"))
    bench.start("copy")
    wait_for(lambda: len(bench.do(_all(bench))) == 1, "it was refused")
    assert bench.do(replay_dead_letters(bench.settings(), reason="null-value")) == 0
    assert bench.do(replay_dead_letters(bench.settings())) == 1
    records = bench.read(bench.topic(Channel.OBSERVATIONS))
    assert [(record.key, record.value) for record in records] == [(b"k", b"not json")] * 2


@pytest.mark.kafka
def test_a_topic_of_nothing_but_poison_stops_the_worker_with_nothing_acknowledged(
    bench: Bench,
) -> None:
    bench.make_topics()
    bench.send(*[("k", b"poison")] * 60)
    worker = bench.start("copy", dead_letter_consecutive=50)
    assert worker.exit_code() == 2
    assert "unreadable records in a row" in worker.log()
    assert "dead-letters list" in worker.log()
    assert bench.committed("copy") == 0
    assert bench.do(_all(bench)) == []


@pytest.mark.kafka
def test_a_bound_topic_refuses_another_tenants_claim(bench: Bench) -> None:
    bound = {f"{bench.prefix}.acme": {"channel": "observations", "tenant": "acme"}}
    bench.make_topics(bound_topics=bound)
    bench.do(bench._send(f"{bench.prefix}.acme", (("k", {"id": 1, "tenant": "evil"}),)))
    bench.do(bench._send(f"{bench.prefix}.acme", (("k", {"id": 2, "tenant": "acme"}),)))
    bench.start("copy", bound_topics=bound, tenant_topics=True)
    bench.wait_outputs({2})
    assert [letter.reason for letter in bench.do(_all(bench))] == ["tenant-mismatch"]
    wait_for(lambda: bench.read("tenant.acme.iocs"), "the tenant's own topic got it too")


@pytest.mark.kafka
def test_an_output_over_the_limit_is_reported_and_does_not_stop_the_flow(bench: Bench) -> None:
    bench.make_topics(max_event_bytes=2000)
    bench.send(("k", {"id": 1, "size": 3000}), ("k", {"id": 2}))
    bench.start("collect", max_event_bytes=2000)
    bench.wait_outputs({2})
    (letter,) = bench.do(_all(bench))
    assert letter.reason == "output-too-large"
    assert letter.source_offset == 0


def test_the_ratio_counts_a_window_and_the_run_counts_neighbours() -> None:
    limit = DeadLetterLimit(ratio=0.5, window=10, consecutive=100)
    for _ in range(20):
        limit.count([True, False, False], "t-0")
    with pytest.raises(DeadLetterLimitError, match="unreadable"):
        limit.count([True] * 8, "t-0")
    run = DeadLetterLimit(ratio=1.0, window=1000, consecutive=3)
    run.count([True, True, False, True, True], "t-0")
    with pytest.raises(DeadLetterLimitError, match="3 unreadable records in a row at t-0"):
        run.count([True], "t-0")


@pytest.mark.parametrize("error", ["plain", "ünï", "x" * 10_000, "\udcff"])
def test_a_dead_letter_is_bounded_and_says_what_was_cut(error: str) -> None:
    record = Record(
        topic="t", partition=1, offset=2, timestamp_ms=0, key=None, value=b"x" * 100, headers=()
    )
    letter: Any = dead_letter(record, reason="too-large", error=error, app="checks", limit=10)
    headers = dict(letter.headers)
    assert letter.value == b"x" * 10
    assert headers["truncated_from"] == b"100"
    assert letter.key == b"t-1-2"
    assert len(headers["error"]) <= 4000

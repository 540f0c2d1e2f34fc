"""Unreadable records become dead letters and delay nobody."""

from __future__ import annotations

from typing import Any

import aiokafka
import orjson
import pytest

from agents.ports import Record
from schemas.channels import Channel
from streams.engine.unreadable import Unreadable, UnreadableRuns
from streams.kafka.dead_letters import (
    DeadLetter,
    DeadLetterLimit,
    dead_letter,
    list_dead_letters,
    replay_dead_letters,
    show_dead_letter,
)
from tests.streams.engine.conftest import Bench
from tests.waiting import wait_for


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
def test_a_bound_topic_refuses_another_tenants_claim(bench: Bench) -> None:
    bound = {f"{bench.prefix}.acme": {"channel": "package-install", "tenant": "acme"}}
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
        assert limit.count([1, 0, 0]) is None
    assert limit.count([1] * 8) == "9 of the last 11 records unreadable"
    run = DeadLetterLimit(ratio=1.0, window=1000, consecutive=3)
    assert run.count([1, 1, 0, 1, 1]) is None
    assert run.count([1]) == "3 unreadable records in a row"


def test_a_limit_is_reported_once_until_a_window_went_well() -> None:
    limit = DeadLetterLimit(ratio=0.5, window=10, consecutive=5)
    assert limit.count([1] * 5) is not None
    assert limit.count([1] * 5) is None
    assert limit.count([0] * 4) is None
    assert limit.count([0] * 20) is None
    assert limit.count([0, 4, 1]) is not None


def test_a_run_within_a_chunk_counts_though_the_chunk_ends_well() -> None:
    limit = DeadLetterLimit(ratio=1.0, window=1000, consecutive=3)
    assert limit.count([1, 1, 1, 0]) == "3 unreadable records in a row"


def _unreadable(offset: int, value: bytes = b"x", **fields: Any) -> Unreadable:
    record = Record(
        topic="t", partition=1, offset=offset, timestamp_ms=0, key=b"k", value=value, headers=()
    )
    given = {"reason": "invalid-json", "error": "odd", "first": offset}
    return Unreadable(record=record, **(given | fields))


def _keys(letters: Any) -> list[str]:
    return [letter.key.decode() for letter in letters]


def test_few_are_kept_whole_and_a_run_is_one_letter_when_it_ends() -> None:
    runs = UnreadableRuns("checks", whole=2, limit=1000)
    assert _keys(runs.take([None, _unreadable(1), _unreadable(2)])) == ["t-1-1", "t-1-2"]
    assert runs.take([_unreadable(3), _unreadable(4)]) == []
    assert runs.open is not None
    assert runs.take([_unreadable(5, reason="too-deep")]) == []
    (letter,) = runs.take([None, None])
    headers = dict(letter.headers)
    assert letter.key == b"t-1-3..5"
    assert (headers["source_offset"], headers["source_last_offset"]) == (b"3", b"5")
    assert headers["records"] == b"3"
    assert orjson.loads(headers["reasons"]) == {"invalid-json": 2, "too-deep": 1}
    assert headers["reason"] == b"unreadable-run"
    assert (headers["error"], letter.value) == (b"invalid-json: odd", b"x")
    assert runs.open is None
    assert _keys(runs.take([_unreadable(8)])) == ["t-1-8"]


def test_a_run_within_a_chunk_takes_the_first_ones_with_it() -> None:
    runs = UnreadableRuns("checks", whole=2, limit=1000)
    assert _keys(runs.take([*map(_unreadable, range(4)), None, _unreadable(5)])) == [
        "t-1-0..3",
        "t-1-5",
    ]


def test_a_refused_batch_is_a_range_even_alone() -> None:
    runs = UnreadableRuns("checks", whole=100, limit=1000)
    batch = _unreadable(
        9, b"", first=3, records=7, whole=False, reason="batch-too-large", error="600 MB"
    )
    (letter,) = runs.take([batch])
    headers = dict(letter.headers)
    assert (letter.key, headers["records"], headers["reason"]) == (
        b"t-1-3..9", b"7", b"batch-too-large",
    )  # fmt: skip


@pytest.mark.parametrize("limit", [4096, 4 * 1024 * 1024])
def test_a_letter_fits_its_topic_whatever_the_record_carries(limit: int) -> None:
    """Headers and key beyond any measure; the text of control characters grows in JSON."""
    size = limit + 64 * 1024
    for value, key, headers in (
        (b"x" * size, b"", []),
        (b"", b"\xff" * size, []),
        (b"", b"", [(str(number), b"\0" * 90) for number in range(size // 100)]),
        (b"", b"", [("h", b"\xff" * size)]),
    ):
        record = Record(
            topic="t" * 249, partition=1, offset=2, timestamp_ms=0, key=key, value=value,
            headers=tuple(headers),
        )  # fmt: skip
        letter = dead_letter(record, reason="r", error="\U0001f600" * 3000, app="a", limit=limit)
        total = len(letter.value or b"") + len(letter.key)
        total += sum(len(name) + len(value) + 10 for name, value in letter.headers)
        assert total < limit * 5 // 4 + 64 * 1024
        assert "truncated_from" in dict(letter.headers)


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

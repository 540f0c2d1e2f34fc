"""Too many outputs or unreadable records stop nobody and lose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiokafka
import orjson
import pytest

from schemas.channels import Channel
from streams.kafka.dead_letters import DeadLetter, list_dead_letters, replay_dead_letters
from tests.streams.engine.conftest import Bench
from tests.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

MANY = 6_000
"""Messages of an event: four are more than is taken at once."""


def _letters(bench: Bench) -> list[DeadLetter]:
    async def collect() -> list[DeadLetter]:
        return [letter async for letter in list_dead_letters(bench.settings())]

    return sorted(bench.do(collect()), key=lambda letter: letter.source_offset)


def _alerts(bench: Bench, kind: str) -> list[dict[str, Any]]:
    found = [orjson.loads(r.value) for r in bench.read(bench.topic(Channel.OPERATOR_ALERTS))]
    return [record for record in found if record["kind"] == kind]


def _send_batch(bench: Bench, topic: str, values: list[bytes], compression: str = "gzip") -> None:
    async def send() -> None:
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=bench.options["kafka"], compression_type=compression, linger_ms=500,
            max_batch_size=1 << 30, max_request_size=1 << 30,
        ) as producer:  # fmt: skip
            for future in [await producer.send(topic, v, b"k", partition=0) for v in values]:
                await future

    bench.do(send())


def _ends(bench: Bench, topic: str) -> int:
    async def ends() -> int:
        async with aiokafka.AIOKafkaConsumer(bootstrap_servers=bench.options["kafka"]) as client:
            tps = [aiokafka.TopicPartition(topic, number) for number in range(2)]
            return sum((await client.end_offsets(tps)).values())

    return int(bench.do(ends()))


def _memory(pid: int) -> int:
    """Return the most memory a process has had, MiB."""
    with Path(f"/proc/{pid}/status").open() as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def test_a_chunk_that_publishes_too_much_is_taken_in_parts_each_record_once(bench: Bench) -> None:
    bench.make_topics()
    bench.send(*[("k", {"id": n, "fan": MANY}, 0) for n in range(12)], ("k", {"id": 12}, 0))
    worker = bench.start("fan")
    bench.wait_outputs(set(range(13)))
    wait_for(lambda: bench.committed("fan") >= 13, "all was committed")
    assert worker.logged("chunk-split")
    assert not worker.ended()
    assert sorted(bench.outputs()) == list(range(13))
    assert bench.rows("fan") == {f"taken-{n}": 1 for n in range(13)}
    assert _ends(bench, bench.topic(Channel.ASSESSMENTS)) == 12 * MANY
    assert _letters(bench) == []


def test_a_record_whose_outputs_cant_be_delivered_is_a_dead_letter_and_others_go_on(
    bench: Bench,
) -> None:
    bench.make_topics()
    bench.send(
        ("k", {"id": 0}, 0), ("k", {"id": 1, "fan": 250_000}, 0),
        ("k", {"id": 2, "fan": 300, "size": 1_000_000}, 0), ("k", {"id": 3}, 0),
    )  # fmt: skip
    worker = bench.start("fan")
    bench.wait_outputs({0, 3})
    wait_for(lambda: bench.committed("fan") >= 4, "all was committed")
    assert not worker.ended()
    assert [(letter.source_offset, letter.reason) for letter in _letters(bench)] == [
        (1, "too-many-outputs"), (2, "too-many-outputs"),
    ]  # fmt: skip
    assert bench.rows("fan") == {"taken-0": 1, "taken-3": 1}
    assert _ends(bench, bench.topic(Channel.ASSESSMENTS)) == 0


@pytest.mark.fault
def test_a_worker_killed_within_a_split_chunk_loses_nothing(bench: Bench) -> None:
    """SIGKILL after the split, and again when a part of the chunk is committed."""
    bench.make_topics()
    bench.send(*[("k", {"id": n, "fan": MANY}, 0) for n in range(80)])
    worker = bench.start("fan")
    wait_for(lambda: worker.logged("chunk-split"), "a chunk was split")
    worker.kill()
    worker = bench.start("fan")
    wait_for(lambda: 0 < bench.committed("fan") < 80, "a part was committed")
    worker.kill()
    assert 0 < bench.committed("fan") < 80
    bench.start("fan")
    bench.wait_outputs(set(range(80)))
    wait_for(lambda: bench.committed("fan") >= 80, "all was committed")
    assert set(bench.rows("fan")) == {f"taken-{n}" for n in range(80)}
    assert _ends(bench, bench.topic(Channel.ASSESSMENTS)) >= 80 * MANY
    assert _letters(bench) == []


def _bound(bench: Bench) -> dict[str, Any]:
    names = {"acme": f"{bench.prefix}.acme", "globex": f"{bench.prefix}.globex"}
    return {
        "bound_topics": {
            name: {"channel": "package-install", "tenant": tenant} for tenant, name in names.items()
        }
    }


def test_a_bound_topic_of_rubbish_is_paused_and_reported_and_others_go_on(bench: Bench) -> None:
    options = _bound(bench)
    bench.make_topics(**options)
    _send_batch(bench, f"{bench.prefix}.acme", [b"x"] * 1500)
    worker = bench.start("copy", **options)
    (alert,) = wait_for(lambda: _alerts(bench, "topic-paused"), "the operator was alerted")
    assert (alert["tenant"], alert["subject"]) == ("acme", f"{bench.prefix}.acme")
    assert "1000 unreadable records in a row" in alert["detail"]
    bench.do(bench._send(f"{bench.prefix}.globex", (("k", {"id": 1, "tenant": "globex"}, 0),)))
    bench.send(("k", {"id": 2}, 0))
    bench.wait_outputs({1, 2})
    (letter,) = _letters(bench)
    assert (letter.source_offset, letter.source_last_offset, letter.records) == (0, 999, 1000)
    assert (letter.reason, letter.reasons) == ("unreadable-run", {"invalid-json": 1000})
    assert letter.value == b"x"
    assert "tidewatch_paused_topics" in worker.get("/metrics")[1]
    assert not worker.ended()
    assert len(_alerts(bench, "topic-paused")) == 1


def test_a_paused_topic_is_read_on_when_its_time_is_over_in_the_order_of_its_records(
    bench: Bench,
) -> None:
    options = _bound(bench) | {"dead_letter_pause_seconds": 5, "dead_letter_consecutive": 50}
    topic = f"{bench.prefix}.acme"
    bench.make_topics(**options)
    good = [orjson.dumps({"id": number, "tenant": "acme"}) for number in range(300)]
    _send_batch(bench, topic, [*[b"x"] * 50, *good])
    worker = bench.start("copy", chunk_records=50, **options)
    wait_for(lambda: worker.logged("topic-paused"), "it was paused")
    bench.send(("k", {"id": "other"}, 0))
    assert bench.wait_outputs({"other"}) == ["other"]
    wait_for(lambda: worker.logged("topic-resumed"), "it was read again")
    bench.wait_outputs(set(range(300)))
    copies = [r for r in bench.read(bench.topic(Channel.IOCS)) if r.key != b"other"]
    by_partition: dict[int, list[int]] = {}
    for record in copies:
        by_partition.setdefault(record.partition, []).append(int(record.key))
    assert all(ids == sorted(ids) for ids in by_partition.values())
    assert len(copies) == 300


def test_a_restarted_worker_reads_a_paused_topic_after_the_refused_records(
    bench: Bench,
) -> None:
    options = _bound(bench) | {"dead_letter_consecutive": 50}
    topic = f"{bench.prefix}.acme"
    bench.make_topics(**options)
    _send_batch(bench, topic, [*[b"x"] * 50])
    worker = bench.start("copy", **options)
    wait_for(lambda: worker.logged("topic-paused"), "it was paused")
    _send_batch(bench, topic, [orjson.dumps({"id": 1, "tenant": "acme"})])
    worker.terminate()
    assert worker.exit_code() == 0
    bench.start("copy", **options)
    bench.wait_outputs({1})
    assert sum(letter.records for letter in _letters(bench)) == 50


def test_a_shared_topic_of_rubbish_is_reported_and_read_on_with_one_letter(bench: Bench) -> None:
    bench.make_topics()
    _send_batch(bench, bench.topic(Channel.OBSERVATIONS), [b"x"] * 7000)
    worker = bench.start("copy")
    (alert,) = wait_for(lambda: _alerts(bench, "topic-unreadable"), "the operator was alerted")
    assert "tenant" not in alert
    wait_for(lambda: bench.committed("copy") >= 7000, "all of it was acknowledged")
    (letter,) = _letters(bench)
    assert (letter.source_offset, letter.source_last_offset, letter.records) == (0, 6999, 7000)
    bench.send(("k", {"id": 1}, 0))
    bench.wait_outputs({1})
    assert not worker.ended()


def test_the_records_of_a_run_are_read_from_their_topic_when_it_is_replayed(bench: Bench) -> None:
    bench.make_topics()
    topic = bench.topic(Channel.OBSERVATIONS)
    values = [b"x%d" % number for number in range(30)]
    _send_batch(bench, topic, [orjson.dumps({"id": 0}), *values, orjson.dumps({"id": 1})])
    worker = bench.start("copy", dead_letter_whole=5)
    bench.wait_outputs({0, 1})
    (letter,) = _letters(bench)
    worker.terminate()
    worker.exit_code()
    key = f"{topic}-0-1..30"
    assert letter.key == key
    settings = bench.settings()
    assert bench.do(replay_dead_letters(settings, keys=frozenset({"another"}))) == 0
    assert bench.do(replay_dead_letters(settings, keys=frozenset({key}))) == 30
    written = bench.read(topic)
    assert sorted(r.value for r in written) == sorted(
        [*values, *values, orjson.dumps({"id": 0}), orjson.dumps({"id": 1})]
    )


@pytest.mark.fault
def test_a_run_that_is_not_reported_yet_is_read_again_after_a_kill(bench: Bench) -> None:
    bench.make_topics()
    topic = bench.topic(Channel.OBSERVATIONS)
    _send_batch(bench, topic, [orjson.dumps({"id": 0}), *[b"x"] * 700])
    worker = bench.start("copy", dead_letter_whole=10)
    bench.wait_outputs({0})
    worker.kill()
    before = {(letter.source_offset, letter.source_last_offset) for letter in _letters(bench)}
    assert before in (set(), {(1, 700)})
    bench.start("copy", dead_letter_whole=10)
    wait_for(lambda: bench.committed("copy") >= 701, "all was acknowledged")
    assert {(letter.source_offset, letter.source_last_offset) for letter in _letters(bench)} == {
        (1, 700)
    }


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_batch_that_expands_beyond_measure_is_one_dead_letter(
    bench: Bench, compression: str
) -> None:
    bench.make_topics()
    worker = bench.start("copy")
    worker.ready()
    bench.send(("k", {"id": 1}, 0))
    bench.wait_outputs({1})
    before = _memory(worker.process.pid)
    _send_batch(
        bench,
        bench.topic(Channel.OBSERVATIONS),
        [b"{" + b" " * 1_000_000 + b"}"] * 200,
        compression,
    )
    bench.send(("k", {"id": 2}, 0))
    bench.wait_outputs({1, 2})
    (letter,) = _letters(bench)
    assert (letter.source_offset, letter.source_last_offset, letter.records) == (1, 200, 200)
    assert letter.reason == "batch-too-large"
    wait_for(lambda: bench.committed("copy") >= 202, "it was acknowledged")
    assert _memory(worker.process.pid) < before + 100


def test_many_batches_that_expand_are_read_as_there_is_room(bench: Bench) -> None:
    """Each within the limit, all of them far beyond it: 100 MB of records in some 100 kB."""
    bench.make_topics()
    value = orjson.dumps({"id": 1, "fill": " " * 1_000_000})
    for _ in range(20):
        _send_batch(bench, bench.topic(Channel.OBSERVATIONS), [value] * 5)
    bench.send(("k", {"id": 2}, 0))
    worker = bench.start("copy")
    bench.wait_outputs({2})
    wait_for(lambda: bench.committed("copy") >= 101, "all was acknowledged")
    assert bench.outputs().count(1) == 100
    assert _memory(worker.process.pid) < 500


def test_notes_of_an_abandoned_chunk_are_undone(bench: Bench) -> None:
    """The chunk hangs; a second worker joins, so it is abandoned; the first one gets it again."""
    options = {"drain_seconds": 0.5, "partitions": 1}
    bench.make_topics(**options)
    bench.send(*[("k", {"id": n, "hang": n == 9}) for n in range(10)])
    first = bench.start("once", instance="a", **options)
    first.ready()
    bench.start("once", instance="b", state_dir=str(bench.folder / "b"), **options)
    wait_for(lambda: first.logged("chunk-abandoned"), "the chunk was abandoned")
    wait_for(lambda: len(first.logged("assigned")) > 1, "the first worker got it again")
    assert first.logged("assigned")[-1]["partitions"] == [f"{bench.topic(Channel.OBSERVATIONS)}-0"]
    bench.wait_outputs(set(range(10)))


def test_a_record_that_an_agent_refuses_is_reported_for_its_source(bench: Bench) -> None:
    bench.make_topics()
    names = {"tenantid": "acme", "source": "//ci"}
    bench.send(("k", {"id": 1, **names}, 0), ("k", {"id": 2, "refuse": True, **names}, 0))
    bench.start("refuse")
    wait_for(lambda: _letters(bench), "it was refused")
    notices = wait_for(
        lambda: [
            reported
            for reported in (
                orjson.loads(r.value) for r in bench.read(bench.topic(Channel.OBSERVATIONS))
            )
            if reported.get("outcome") == "dead-letter"
        ],
        "its source was reported",
    )
    assert [(reported["tenant"], reported["source"]) for reported in notices] == [("acme", "//ci")]

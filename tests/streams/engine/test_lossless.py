"""Nothing is lost, whatever ends a worker and whenever."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from schemas.channels import Channel
from tests.streams.engine.conftest import Bench
from tests.streams.engine.nursery import Nursery
from tests.waiting import wait_for

pytestmark = pytest.mark.kafka


def events(start: int, stop: int) -> list[tuple[str, dict[str, Any]]]:
    return [(f"k{number % 20}", {"id": number}) for number in range(start, stop)]


def expected_rows(count: int) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for number in range(count):
        rows.setdefault(f"k{number % 20}", []).append(number)
    return rows


@pytest.mark.fault
def test_killed_workers_lose_no_output_and_no_state(bench: Bench) -> None:
    """SIGKILL three times while events arrive; outputs and rows are those of no kill at all."""
    bench.make_topics()
    worker = bench.start("collect")
    worker.ready()
    for part in range(4):
        bench.send(*events(part * 1000, part * 1000 + 1000))
        if part < 3:
            worker.kill()
            worker = bench.start("collect")
    bench.wait_outputs(set(range(4000)))
    wait_for(lambda: bench.rows() == expected_rows(4000), "the rows were complete")
    worker.terminate()
    assert worker.exit_code() == 0
    assert bench.committed("collect") == 4000


@pytest.mark.fault
def test_a_lost_or_corrupt_local_store_is_rebuilt_from_the_changelog(bench: Bench) -> None:
    worker = bench.start("collect")
    worker.ready()
    bench.send(*events(0, 500))
    bench.wait_outputs(set(range(500)))
    wait_for(lambda: bench.committed("collect") == 500, "all was committed")
    worker.kill()
    stores = bench.folder / "state" / "state"
    folder = next(stores.rglob("collect/0"))
    shutil.rmtree(folder)
    corrupt = next(stores.rglob("collect/1")) / "CURRENT"
    corrupt.write_bytes(b"nonsense")
    worker = bench.start("collect")
    worker.ready()
    bench.send(*events(500, 1000))
    bench.wait_outputs(set(range(1000)))
    wait_for(lambda: bench.rows() == expected_rows(1000), "old and new ids are in the rows")
    assert worker.logged("recovered")
    assert [entry["reason"] for entry in worker.logged("store-rebuilt")] == ["corrupt"]


def test_an_output_that_is_not_delivered_means_nothing_is_acknowledged(bench: Bench) -> None:
    """The broker refuses outputs: exit 70, no offset committed, no changelog written."""
    bench.make_topics()
    topic = bench.topic(Channel.IOCS)

    async def limit(size: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bench.options["kafka"])
        await admin.start()
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})
        [response] = await admin.alter_configs([resource])
        await admin.close()
        assert response.resources[0][0] == 0

    def takes(size: int) -> bool:
        """Return whether the broker takes a record of that size; it acts on a setting later."""
        try:
            bench.send(
                *(("probe", {"id": "probe", "fill": "x" * size}, number) for number in range(2)),
                channel=Channel.IOCS,
            )
        except MessageSizeTooLargeError:
            return False
        return True

    bench.do(limit(1000))
    wait_for(lambda: not takes(1000), "the broker refused a record of 1,000 bytes")
    bench.send(("k", {"id": 1, "size": 500_000, "fill": ""}))
    bench.send(*events(2, 10))
    worker = bench.start("collect")
    assert worker.exit_code() == 70
    assert worker.logged("delivery-failed")
    assert bench.committed("collect") == 0
    assert bench.rows() == {}
    bench.do(limit(2_000_000))
    wait_for(lambda: takes(1_000_000), "the broker took a record of 1,000,000 bytes")
    bench.start("collect")
    bench.wait_outputs({1, *range(2, 10)})


def test_an_unexpected_error_ends_the_worker_without_acknowledging(bench: Bench) -> None:
    bench.make_topics()
    bench.send(*events(0, 5))
    worker = bench.start("fail")
    assert worker.exit_code() == 70
    crash = worker.logged("agent-failed")[0]
    assert "ZeroDivisionError" in crash["exception"]
    assert crash["offsets"][0] == 0
    assert bench.committed("fail") == 0


@pytest.mark.fault
def test_a_restarted_worker_takes_its_partitions_back_before_its_session_ends(
    bench: Bench,
) -> None:
    """Static membership: the session is longer than the test would wait."""
    worker = bench.start("copy", session_seconds=180)
    worker.ready()
    worker.kill()
    bench.send(*events(0, 10))
    bench.start("copy", session_seconds=180)
    bench.wait_outputs(set(range(10)))


def test_late_writes_of_a_predecessor_do_not_survive(bench: Bench) -> None:
    """A cut-off worker writes to the changelog: the owner writes its own rows again."""
    worker = bench.start("collect")
    worker.ready()
    bench.send(("a", {"id": 1}, 0), ("b", {"id": 2}, 0))
    bench.wait_outputs({1, 2})
    wait_for(lambda: bench.rows() == {"a": [1], "b": [2]}, "the rows were written")
    changelog = f"{bench.prefix}-collect-collect-changelog"
    bench.do(bench._send(changelog, (("a", b"[99]", 0),)))
    bench.send(("b", {"id": 3}, 0))
    bench.wait_outputs({3})
    wait_for(lambda: bench.rows() == {"a": [1], "b": [2, 3]}, "the foreign row was undone")
    assert worker.logged("foreign-changelog-writes")


def test_two_workers_share_partitions_and_hand_them_over(bench: Bench) -> None:
    first = bench.start("collect", instance="a")
    first.ready()
    bench.send(*events(0, 200))
    second = bench.start("collect", instance="b", state_dir=str(bench.folder / "other"))
    second.ready()
    bench.send(*events(200, 400))
    bench.wait_outputs(set(range(400)))
    wait_for(lambda: bench.rows() == expected_rows(400), "both kept the rows whole")
    assert {len(entry["partitions"]) for entry in second.logged("assigned")} == {1}


def test_channels_of_one_binding_share_rows_and_references_are_read_first(bench: Bench) -> None:
    bench.make_topics()
    bench.send(("x", {"id": "fact"}), channel=Channel.INTEL)
    worker = bench.start("join")
    worker.ready()
    bench.wait_outputs({"fact/1/True"})
    bench.send(("x", {"id": "seen"}))
    bench.wait_outputs({"seen/2/True"})


@pytest.mark.fault
def test_a_broker_restart_loses_nothing(
    own_kafka: Callable[..., Any], tmp_path: Path, nursery: Nursery
) -> None:
    """The broker goes and comes back while events are under way."""
    broker = own_kafka()
    bench = Bench(broker.bootstrap, tmp_path, nursery)
    worker = bench.start("collect")
    try:
        worker.ready()
        bench.send(*events(0, 1000))
        broker.stop()
        broker.start()
        assert broker.bootstrap == bench.options["kafka"]
        bench.send(*events(1000, 2000))
        if worker.ended():
            assert worker.exit_code() == 70
            worker = bench.start("collect")
        bench.wait_outputs(set(range(2000)))
        wait_for(lambda: bench.rows() == expected_rows(2000), "the rows were complete")
    finally:
        worker.kill()

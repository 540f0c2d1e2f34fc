"""Stopping, hanging, supervision and logs of workers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from schemas.channels import Channel
from tests.streams.engine.conftest import Bench
from tests.waiting import wait_for

pytestmark = pytest.mark.kafka


def test_sigterm_abandons_a_stuck_agent_in_bounded_time_and_loses_nothing(bench: Bench) -> None:
    worker = bench.start("hang", drain_seconds=1)
    worker.ready()
    bench.send(("k", {"id": 1, "hang": True}))
    wait_for(lambda: 'records{app="hang"' in worker.get("/metrics")[1], "it was read")
    worker.terminate()
    assert worker.exit_code() == 0
    assert worker.logged("chunk-abandoned")
    assert bench.committed("hang") == 0
    bench.start("copy")
    bench.wait_outputs({1})


def test_sigterm_finishes_what_is_under_way_and_commits_it(bench: Bench) -> None:
    worker = bench.start("collect")
    worker.ready()
    bench.send(*[(f"k{number}", {"id": number}) for number in range(3000)])
    wait_for(bench.outputs, "work began")
    worker.terminate()
    assert worker.exit_code() == 0
    assert len(set(bench.outputs())) >= bench.committed("collect") > 0


@pytest.mark.fault
@pytest.mark.parametrize(("app", "event"), [("hang", {"hang": True}), ("block", {"block": 60})])
def test_the_watchdog_ends_a_worker_that_makes_no_progress(
    bench: Bench, app: str, event: dict[str, object]
) -> None:
    """Whether the agent waits for ever or holds the event loop itself."""
    worker = bench.start(app, watchdog_seconds=3)
    worker.ready()
    bench.send(("k", {"id": 1, **event}))
    wait_for(lambda: worker.get("/healthz")[0] == 503, "it was unhealthy first")
    assert worker.exit_code() == 70
    assert worker.logged("watchdog")


def test_slow_work_longer_than_the_session_causes_no_rebalance_and_loses_no_place(
    bench: Bench,
) -> None:
    """The session is 6 s (the broker's least); the work takes longer, twice."""
    worker = bench.start("long", session_seconds=6)
    worker.ready()
    bench.send(("k", {"id": 1, "work": 7}, 0), ("k", {"id": 2}, 0), ("k", {"id": 3}, 1))
    outputs = bench.wait_outputs({1, 2, 3})
    assert sorted(outputs) == [1, 2, 3]
    assert 'tidewatch_rebalances_total{app="long"} 1.0' in worker.get("/metrics")[1]
    wait_for(lambda: bench.committed("long") == 3, "the place was kept")


def test_ticks_are_written_to_each_partition(bench: Bench) -> None:
    bench.start("collect", tick_seconds=0.3)
    bench.wait_outputs({"tick-0", "tick-1"})
    assert all(record.key == b"tick" for record in bench.read(bench.topic(Channel.OBSERVATIONS)))


def test_health_pages_say_how_it_is_and_fausts_own_are_off(bench: Bench) -> None:
    worker = bench.start("copy")
    worker.ready()
    wait_for(lambda: worker.get("/readyz")[0] == 200, "it was ready")
    assert worker.get("/healthz") == (200, "ok\n")
    assert worker.get("/table/")[0] == 404
    assert worker.get("/router/")[0] == 404
    assert "tidewatch_committed_lag_records" in worker.get("/metrics")[1]


def _free_ports() -> int:
    """Return a port that is free, as is the one behind it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


@pytest.mark.fault
def test_the_first_of_several_apps_answers_for_all(bench: Bench) -> None:
    bench.make_topics()
    worker = bench.start("copy,collect", http_port=_free_ports())
    wait_for(lambda: worker.reading() == {"copy", "collect"}, "both children read")
    wait_for(lambda: worker.get("/readyz", "copy")[0] == 200, "both were ready")
    assert worker.get("/healthz", "copy") == (200, "ok\n")
    (second,) = [
        line["pid"] for line in worker.logged("child-started") if line["child"] == "collect"
    ]
    os.kill(second, signal.SIGSTOP)
    wait_for(
        lambda: worker.get("/healthz", "copy")[0] == 503, "it said that the second does not answer"
    )
    assert "no answer" in worker.get("/healthz", "copy")[1]
    os.kill(second, signal.SIGCONT)
    wait_for(lambda: worker.get("/healthz", "copy")[0] == 200, "it was well again")


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.fault
def test_several_apps_are_supervised_restarted_and_die_with_their_parent(bench: Bench) -> None:
    bench.make_topics()
    worker = bench.start("copy,collect")
    wait_for(lambda: worker.reading() == {"copy", "collect"}, "both children read")
    first = _children(worker.process.pid)
    os.kill(first[0], signal.SIGKILL)
    wait_for(lambda: len(worker.logged("assigned")) >= 3, "the killed child was restarted")
    bench.send(("k", {"id": 1}))
    bench.wait_outputs({1})
    children = _children(worker.process.pid)
    worker.kill()
    wait_for(lambda: not any(_alive(child) for child in children), "no orphan was left")


def test_a_supervisor_asked_to_stop_stops_all(bench: Bench) -> None:
    worker = bench.start("copy,collect")
    wait_for(lambda: worker.reading() == {"copy", "collect"}, "both children read")
    children = _children(worker.process.pid)
    worker.terminate()
    assert worker.exit_code() == 0
    assert not any(_alive(child) for child in children)


def test_a_mistake_of_one_child_stops_all_with_its_message(bench: Bench) -> None:
    worker = bench.start("copy,nosuch")
    assert worker.exit_code() == 2
    assert "no application is called nosuch" in worker.log()


def test_missing_topics_with_creation_off_are_an_error_with_a_remedy(bench: Bench) -> None:
    worker = bench.start("copy", create_topics=False)
    assert worker.exit_code() == 2
    assert "missing topics" in worker.log()
    assert "TIDEWATCH_CREATE_TOPICS" in worker.log()


def test_joined_topics_of_different_partition_counts_are_an_error(bench: Bench) -> None:
    bench.make_topics()
    topic = bench.topic(Channel.INTEL)
    from aiokafka.admin import AIOKafkaAdminClient, NewPartitions  # noqa: PLC0415

    async def widened(by: dict[str, Any]) -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=bench.options["kafka"])
        await admin.start()
        if by:
            await admin.create_partitions(by)
        (reported,) = await admin.describe_topics([topic])
        await admin.close()
        return len(reported["partitions"])

    bench.do(widened({topic: NewPartitions(5)}))
    # the controller has them now, and the broker lists them soon after
    wait_for(lambda: bench.do(widened({})) == 5, "the broker lists all partitions")
    worker = bench.start("join")
    assert worker.exit_code() == 2
    assert "different partition counts" in worker.log()


def test_an_unreachable_broker_is_an_error_with_a_remedy(bench: Bench) -> None:
    worker = bench.start("copy", kafka="127.0.0.1:1", broker_wait_seconds=1)
    assert worker.exit_code() == 2
    assert "no Kafka broker answers" in worker.log()
    assert "Traceback" not in worker.log()


def test_a_port_that_is_taken_is_an_error_with_a_remedy(bench: Bench) -> None:
    first = bench.start("copy")
    first.ready()
    port = int(first.logged("health-listening")[0]["url"].split(":")[2].split("/")[0])
    second = bench.start("collect", http_port=port)
    assert second.exit_code() == 2
    assert "TIDEWATCH_HTTP_PORT" in second.log()


def test_two_workers_of_one_name_do_not_fight_over_their_membership(bench: Bench) -> None:
    first = bench.start("copy")
    first.ready()
    second = bench.start("copy")
    assert second.exit_code() == 2
    assert "TIDEWATCH_INSTANCE" in second.log()
    assert not first.ended()


@pytest.mark.fault
def test_a_full_disk_is_an_error_with_a_remedy_and_loses_nothing(bench: Bench) -> None:
    """State on a disk of 3 MB; with more room the same worker goes on where it was."""
    disk = bench.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        worker = bench.start("collect", state_dir=str(disk))
        worker.ready()
        count = 5000
        bench.send(*[(f"{number:0>1000}", {"id": number}) for number in range(count)])
        assert worker.exit_code() == 2, worker.log()
        assert "the disk is full" in worker.log()
        assert bench.committed("collect") < count
        remount = ["mount", "-o", "remount,size=100m", str(disk)]
        subprocess.run(remount, check=True)
        worker = bench.start("collect", state_dir=str(disk))
        bench.wait_outputs(set(range(count)))
        wait_for(lambda: len(bench.rows()) == count, "the rows were complete")
        worker.terminate()
        assert worker.exit_code() == 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)

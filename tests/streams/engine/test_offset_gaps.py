"""Records that were gone before they were read: read on from the oldest, and never silently."""

from __future__ import annotations

import signal
from typing import Any

import aiokafka
import orjson
import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas.channels import Channel
from tests.streams.engine.conftest import Bench, Worker
from tests.waiting import wait_for

pytestmark = pytest.mark.kafka


def events(start: int, stop: int) -> list[tuple[str, dict[str, Any], int]]:
    """Return events, all of partition 0."""
    return [(f"k{number}", {"id": number}, 0) for number in range(start, stop)]


async def _delete_before(bench: Bench, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bench.options["kafka"])
    await admin.start()
    try:
        tp = aiokafka.TopicPartition(bench.topic(Channel.OBSERVATIONS), 0)
        await admin.delete_records({tp: RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


async def _delete_topic(bench: Bench) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bench.options["kafka"])
    await admin.start()
    try:
        await admin.delete_topics([bench.topic(Channel.OBSERVATIONS)])
    finally:
        await admin.close()


def alerts(bench: Bench) -> dict[str, dict[str, Any]]:
    """Return the operator alerts, by id."""
    records = bench.read(bench.topic(Channel.OPERATOR_ALERTS))
    found = (orjson.loads(record.value) for record in records)
    return {entry["id"]: entry for entry in found if entry["kind"] == "records-gone"}


def reported(bench: Bench) -> dict[str, Any]:
    """Return the only operator alert."""
    wait_for(lambda: alerts(bench), "the operator was alerted")
    (one,) = alerts(bench).values()
    return one


def read_hundred(bench: Bench, app: str = "copy") -> Worker:
    worker = bench.start(app)
    worker.ready()
    bench.send(*events(0, 100))
    bench.wait_outputs(set(range(100)))
    wait_for(lambda: bench.committed(app) == 100, "all was committed")
    return worker


@pytest.mark.parametrize("app", ["copy", "collect"])
def test_records_lost_to_retention_are_reported_with_their_count(bench: Bench, app: str) -> None:
    worker = read_hundred(bench, app)
    worker.terminate()
    assert worker.exit_code() == 0
    assert not alerts(bench)
    bench.send(*events(100, 150))
    bench.do(_delete_before(bench, 130))
    worker = bench.start(app)
    got = bench.wait_outputs(set(range(130, 150)))
    assert not set(got) & set(range(100, 130))
    alert = reported(bench)
    assert alert["subject"] == f"{bench.topic(Channel.OBSERVATIONS)}-0"
    assert alert["figures"] == {"reached": 100, "begins": 130, "records": 30}
    assert "30 records" in alert["detail"]
    (entry,) = worker.logged("records-gone")
    assert (entry["level"], entry["reached"], entry["begins"]) == ("error", 100, 130)
    assert f'tidewatch_gaps_total{{app="{app}"}} 1.0' in worker.get("/metrics")[1]
    wait_for(lambda: bench.committed(app) == 150, "reading goes on behind the gap")


def test_the_loss_is_reported_even_if_nothing_is_left_to_read(bench: Bench) -> None:
    worker = read_hundred(bench)
    worker.terminate()
    assert worker.exit_code() == 0
    bench.send(*events(100, 150))
    bench.do(_delete_before(bench, 150))
    worker = bench.start("copy")
    first = reported(bench)
    worker.kill()  # nothing was committed behind the gap: the next worker meets it again
    worker = bench.start("copy")
    wait_for(lambda: worker.logged("records-gone"), "the second worker met the gap")
    bench.send(*events(150, 160))
    bench.wait_outputs(set(range(150, 160)))
    assert reported(bench) == first


def test_records_deleted_under_a_stopped_worker_are_reported(bench: Bench) -> None:
    worker = read_hundred(bench)
    processes = [psutil.Process(worker.process.pid), *psutil.Process(worker.process.pid).children()]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    bench.send(*events(100, 102))
    bench.do(_delete_before(bench, 102))
    bench.send(*events(102, 110))
    bench.do(_delete_before(bench, 105))
    for process in processes:
        process.send_signal(signal.SIGCONT)
    outputs = bench.wait_outputs(set(range(105, 110)))
    # a fetch that waited at the broker may have been answered before the records went
    gone = set(range(100, 105)) - set(outputs)
    figures = [alert["figures"] for alert in alerts(bench).values()]
    assert gone == {
        number
        for figure in figures
        for number in range(int(figure["reached"]), int(figure["begins"]))
    }


def test_a_new_group_reports_that_the_beginning_is_gone(bench: Bench) -> None:
    bench.make_topics()
    bench.send(*events(0, 50))
    bench.do(_delete_before(bench, 20))
    bench.start("copy")
    bench.wait_outputs(set(range(20, 50)))
    alert = reported(bench)
    assert alert["figures"] == {"begins": 20}
    assert "no stored progress" in alert["detail"]


def test_a_recreated_topic_is_read_from_its_beginning(bench: Bench) -> None:
    worker = read_hundred(bench)
    worker.terminate()
    assert worker.exit_code() == 0
    bench.do(_delete_topic(bench))
    wait_for(lambda: not bench.read(bench.topic(Channel.OBSERVATIONS)), "it was deleted")
    bench.make_topics()
    bench.send(*events(1000, 1010))
    bench.start("copy")
    bench.wait_outputs(set(range(1000, 1010)))


def test_a_worker_that_reads_all_there_is_reports_no_gap(bench: Bench) -> None:
    worker = read_hundred(bench)
    assert not worker.logged("records-gone")
    assert 'tidewatch_gaps_total{app="copy"} 0.0' in worker.get("/metrics")[1]
    assert not alerts(bench)

"""Brokers come and go: workers wait for them, say so now and then, and lose nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.channels import Channel
from streams.broker import EmbeddedBroker
from streams.broker.ports import free_ports
from tests.streams.engine.cluster import Cluster
from tests.streams.engine.conftest import Bench, Worker
from tests.streams.engine.nursery import Nursery
from tests.waiting import wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SECONDS = 120.0
NAMED_SECONDS = 15.0
"""How long the cluster goes on naming a broker that was killed: a client may choose it."""
WINDOW = 4.0
LEAVING = (2, 3)
"""The brokers that come and go, one after the other."""
EVENTS = 40


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, session_ms=int(NAMED_SECONDS * 1000)) as started:
        yield started


@pytest.fixture
def cluster(three: Cluster) -> Cluster:
    """The cluster, whole: what an earlier test ended is started again."""
    three.complete()
    return three


@pytest.fixture
def on_three(cluster: Cluster, tmp_path: Path, nursery: Nursery) -> Iterator[Bench]:
    made = Bench(cluster.bootstrap, tmp_path, nursery)
    made.options |= {"replication": 3, "log_repeat_seconds": WINDOW}
    yield made
    for worker in made.workers:
        if not worker.ended():
            worker.kill()


def ready(worker: Worker) -> None:
    wait_for(
        lambda: worker.logged("assigned") or worker.ended(), "partitions were assigned", SECONDS
    )
    assert not worker.ended(), worker.log()[-3000:]


def lines(worker: Worker) -> list[dict[str, Any]]:
    return [json.loads(text) for text in worker.log().splitlines() if text.startswith("{")]


def check_bounded(worker: Worker) -> None:
    """No broker's error came again within the window, and no traceback came at all."""
    assert "Traceback" not in worker.log()
    last: dict[str, float] = {}
    warned = [line for line in lines(worker) if line["level"] in {"warning", "error", "critical"}]
    for line in warned:
        at = datetime.fromisoformat(line["timestamp"]).timestamp()
        kind = f"{line.get('app')} {line['event']}"
        # the line's own time is taken a moment after it was let through
        assert at - last.get(kind, 0.0) > WINDOW - 0.5, (kind, warned)
        last[kind] = at


@pytest.mark.fault
def test_brokers_that_come_and_go_are_logged_once_a_minute(
    cluster: Cluster, on_three: Bench
) -> None:
    on_three.make_topics()
    worker = on_three.start("collect")
    ready(worker)
    began = len(lines(worker))
    for number, node in enumerate(LEAVING):
        cluster.stop(node)
        on_three.send(*[(f"k{event}", {"id": f"{number}-{event}"}) for event in range(EVENTS)])
        wait_for(on_three.outputs, "some came through", SECONDS)
        cluster.start(node)
    wanted = {f"{number}-{event}" for number in range(len(LEAVING)) for event in range(EVENTS)}
    on_three.wait_outputs(wanted)
    assert not worker.ended()
    check_bounded(worker)
    reported = lines(worker)[began:]
    assert any(line["level"] == "error" for line in reported), "nothing went wrong"


@pytest.mark.fault
def test_a_worker_starts_while_a_broker_is_down(cluster: Cluster, on_three: Bench) -> None:
    on_three.make_topics()
    on_three.send(*[(f"k{number}", {"id": number}) for number in range(EVENTS)])
    cluster.kill(2)
    # each chooses brokers at random, so that some choose the one that is down
    workers = [
        on_three.start("collect", instance=str(number), group_prefix=f"g{number}")
        for number in range(3)
    ]
    for worker in workers:
        ready(worker)
        check_bounded(worker)
    on_three.wait_outputs(set(range(EVENTS)))


@pytest.mark.fault
def test_a_worker_waits_for_its_broker_and_stops_when_asked(
    tmp_path: Path, nursery: Nursery
) -> None:
    (port,) = free_ports(1)
    broker = EmbeddedBroker(tmp_path / "kafka", port=port)
    bench = Bench(f"127.0.0.1:{port}", tmp_path, nursery)
    waits = bench.start("collect", broker_wait_seconds=SECONDS, instance="a")
    ends = bench.start("collect", broker_wait_seconds=SECONDS, instance="b")
    gives_up = bench.start("collect", broker_wait_seconds=1, instance="c")
    try:
        for worker in (waits, ends):
            wait_for(lambda one=worker: one.logged("broker-awaited"), "it waits", SECONDS)
        # its probes show that it is alive, and not ready
        assert waits.get("/healthz")[0] == 200
        assert waits.get("/readyz")[0] == 503
        ends.terminate()
        assert ends.exit_code() == 0
        wait_for(gives_up.ended, "it gives up", SECONDS)
        assert gives_up.exit_code() == 2
        assert "check TIDEWATCH_KAFKA" in gives_up.log()
        for worker in (waits, ends, gives_up):
            assert "Traceback" not in worker.log()
        broker.start()
        ready(waits)
        bench.send(("k", {"id": 1}), channel=Channel.OBSERVATIONS)
        bench.wait_outputs({1})
    finally:
        for worker in bench.workers:
            if not worker.ended():
                worker.kill()
        broker.stop()

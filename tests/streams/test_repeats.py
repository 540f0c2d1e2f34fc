"""What is logged of a broker that is away is bounded, and counts what was left out."""

from __future__ import annotations

import json
import logging

import pytest
import structlog
from aiokafka.errors import NodeNotReadyError, NotCoordinatorForGroupError

from streams import repeats
from streams.logs import configure_logs
from streams.repeats import Repeats
from streams.settings import load_settings


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(repeats, "time", clock)
    return clock


def line(text, *args, name="aiokafka.client", level=logging.ERROR, error=None):
    exc_info = (type(error), error, None) if error else None
    return logging.LogRecord(name, level, __file__, 1, text, args, exc_info)


NODE = "Unable connect to node with id %s: %s"
REFUSED = ConnectionRefusedError(111, "refused")


def test_a_broker_is_logged_once_in_a_while_and_the_rest_is_counted(clock):
    once = Repeats(60)
    assert once.filter(line(NODE, 2, REFUSED))
    for _ in range(500):
        # whatever was wanted of it, it is away
        assert not once.filter(line(NODE, 2, REFUSED))
        assert not once.filter(line("Failed fetch messages from %s: %s", 2, NodeNotReadyError()))
    clock.now += 60
    reported = line(NODE, 2, REFUSED)
    assert once.filter(reported)
    assert reported.suppressed == 1000
    clock.now += 60
    reported = line(NODE, 2, REFUSED)
    assert once.filter(reported)
    assert not hasattr(reported, "suppressed")


@pytest.mark.usefixtures("clock")
def test_other_brokers_and_other_errors_are_logged_as_well():
    once = Repeats(60)
    address = 'Unable connect to "%s:%s": %s'
    for record in (
        line(NODE, 1, REFUSED),
        line(NODE, 2, REFUSED),
        line(address, "one", 9092, REFUSED),
        line(address, "two", 9092, REFUSED),
        line("Got error: %s", NotCoordinatorForGroupError()),
        line("Unable to update metadata from %s", [1, 2]),
        line("Future exception was never retrieved", name="asyncio", error=NodeNotReadyError()),
    ):
        assert once.filter(record), record.getMessage()
        assert not once.filter(record), record.getMessage()


@pytest.mark.parametrize(
    "record",
    [
        line("a fault of ours", name="asyncio", error=ValueError("x")),
        line("a fault of ours", name="mode.services", error=KeyError("x")),
        line("a fault of ours", name="streams.app", error=REFUSED),
        line("all is well", level=logging.INFO),
        line({"event": "chunk-abandoned"}, name="streams.runtime"),
    ],
)
def test_nothing_else_is_left_out(record):
    once = Repeats(60)
    assert all(once.filter(record) for _ in range(3))


def test_memory_is_bounded():
    once = Repeats(60)
    for node in range(repeats.MAX_KEYS * 2):
        assert once.filter(line(NODE, node, REFUSED))
    assert len(once._seen) == repeats.MAX_KEYS


def test_worker_logs_go_through_it(clock, capfd):
    configure_logs(load_settings(log_format="json", log_repeat_seconds=5))
    try:
        for seconds in (0, 1, 1, 5):
            clock.now += seconds
            logging.getLogger("aiokafka").error(NODE, 2, REFUSED)
            structlog.get_logger().warning("broker-silent", error="x")
    finally:
        logging.getLogger().handlers.clear()
    lines = [json.loads(text) for text in capfd.readouterr().err.splitlines()]
    assert [(line["event"][:6], line.get("suppressed")) for line in lines] == [
        ("Unable", None),
        ("broker", None),
        ("Unable", 2),
        ("broker", 2),
    ]

"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest
import structlog

from streams.broker import EmbeddedBroker

# the same examples on every run, and no limit on their time, which depends on the machine's load
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile(
    "fuzz", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "2000"))
)
hypothesis.settings.load_profile("repeatable")

OwnKafka = Callable[..., EmbeddedBroker]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a broker, and let one process run those tests while another runs the rest.

    Two brokers and their workers at a time are more than a small machine carries; and tests of one
    module share what it has set up.
    """
    for item in items:
        if {"kafka", "own_kafka"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
        if item.get_closest_marker("xdist_group") is None:
            alone = item.get_closest_marker("kafka") or item.get_closest_marker("fault")
            module = item.nodeid.partition("::")[0]
            item.add_marker(pytest.mark.xdist_group("processes" if alone else module))


@pytest.fixture(autouse=True)
def logs_of_one_test() -> Iterator[None]:
    """Undo what a command under test set up for its logs: they went to that test's own screen."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one real broker for the whole session; name your own topics and groups."""
    with EmbeddedBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[OwnKafka]:
    """Start brokers of the test's own, to be restarted and killed: `own_kafka(properties={})`."""
    started: list[EmbeddedBroker] = []

    def start(properties: Mapping[str, str] | None = None) -> EmbeddedBroker:
        broker = EmbeddedBroker(tmp_path / f"kafka-{len(started)}", properties=properties)
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.stop()

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
    """Mark what uses a broker, group what one process runs, and put the longest first.

    What a module sets up once is for the tests of that module, so one process runs those that use
    it. Of the others each long one goes to whichever process is free. The order is that of the
    times that tests are given: no process is left with a long one at the end.
    """
    longest: dict[str, float] = {}
    groups: dict[pytest.Item, str] = {}
    for number, item in enumerate(items):
        if {"kafka", "own_kafka"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
        named = item.get_closest_marker("xdist_group")
        if named is not None:
            group = str(named.args[0])
        elif is_long(item) and not shares_a_fixture(item):
            group = str(number)
        else:
            group = item.nodeid.partition("::")[0]
        if named is None:
            item.add_marker(pytest.mark.xdist_group(group))
        groups[item] = group
        longest[group] = max(longest.get(group, 0.0), seconds_given(item))
    items.sort(key=lambda item: -longest[groups[item]])


def is_long(item: pytest.Item) -> bool:
    """Tell whether a test is not among the quick ones."""
    return any(item.get_closest_marker(name) for name in ("kafka", "fault", "slow"))


def shares_a_fixture(item: pytest.Item) -> bool:
    """Tell whether a test uses what is set up once for its module."""
    known = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return any(one.scope == "module" for found in known.values() for one in found)


def seconds_given(item: pytest.Item) -> float:
    """Return how long a test may take; 0 for the quick ones."""
    marker = item.get_closest_marker("timeout")
    given = float(marker.args[0]) if marker is not None else 1.0
    return given if is_long(item) else 0.0


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

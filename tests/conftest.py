"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import sys
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from streams.broker import EmbeddedBroker
from tests.command_here import logs_of_others_kept
from tests.scheduling import ROOT, Scheduling, longest_first, others_first
from tests.shared_kafka import SharedKafka, address_of

# the same examples on every run, and no limit on their time, which depends on the machine's load
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile(
    "fuzz", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "2000"))
)
hypothesis.settings.load_profile("repeatable")

_constants_of_sources = providers._get_local_constants


def _constants() -> Constants:
    """Return the constants of the product that examples may be, for `make fuzz` alone.

    Hypothesis parses all modules that are loaded by then: seconds of each process in a fresh clone,
    and other examples for each order of the tests.
    """
    repeatable = hypothesis.settings.get_current_profile_name() == "repeatable"
    return Constants() if repeatable else _constants_of_sources()


providers._get_local_constants = _constants

# jsonschema, if it is there, imports it for formats of IRIs, and it makes 38 grammars as it is
# imported: seconds of each process. A test that meets this format checks URIs, which are stricter.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

OwnKafka = Callable[..., EmbeddedBroker]
SHARED = pytest.StashKey[SharedKafka]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a broker, and begin with what takes long."""
    for item in items:
        if {"kafka", "own_kafka"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
    longest_first(items)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Let no garbage collector look at what is imported and collected: it stays to the end."""
    config = session.config
    own = getattr(config, "workerinput", None)
    if own is not None and [Path(name).name for name in config.args] == config.getini("testpaths"):
        files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py"))
        number = int(own["workerid"].removeprefix("gw"))
        config.args[:] = others_first(files, number % own["workercount"], own["workercount"])
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Distribute tests by `tests/scheduling.py` where they are distributed by modules."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process that will run tests where it asks for the broker."""
    if SHARED not in node.config.stash:
        node.config.stash[SHARED] = SharedKafka()
    node.workerinput["kafka"] = node.config.stash[SHARED].where


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the broker that the processes shared."""
    shared = config.stash.get(SHARED, None)
    if shared is not None:
        del config.stash[SHARED]
        shared.close()


@pytest.fixture(autouse=True)
def logs_of_one_test() -> Iterator[None]:
    """Undo what a command under test set up for its logs: they went to that test's own screen."""
    with logs_of_others_kept():
        yield


@pytest.fixture(scope="session")
def kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of one real broker for all tests; name your own topics and groups."""
    reported = getattr(request.config, "workerinput", {})
    if "kafka" in reported:
        yield address_of(reported["kafka"])
        return
    with EmbeddedBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap


@pytest.fixture
def prefix() -> str:
    """What the names of a test's own topics and groups begin with; cases of one test differ."""
    return f"t{uuid.uuid4().hex[:12]}"


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

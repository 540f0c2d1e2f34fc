"""One replay of the demonstration, an index of it, and a console over it, for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.channels import Channel
from streams.console.index import Index
from tests.streams.console.played import Played, indexed, letter, notice
from tests.streams.console.site import Site, site

BOUND = {"acme.registry-push": "acme"}
"""A topic that the operator bound to a tenant."""


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The demonstration's records; it takes some seconds, and all tests here read it."""
    made = Played(tmp_path_factory.mktemp("played"))
    for topic in ("acme.registry-push", "globex.registry-push"):
        made.records.append(
            (Channel.DEAD_LETTER, letter(topic, b"<script>alert(1)</script>\x1b[2J"))
        )
    for tenant in ("acme", "globex"):
        message = notice("source-silent", tenant)
        made.add(message.channel, message.key, message.value, message.headers)
    message = notice("over-correlating", "globex")
    made.add(message.channel, message.key, message.value, message.headers)
    return made


@pytest.fixture(scope="session")
def index(played: Played, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index of the demonstration, which no test changes."""
    made = indexed(tmp_path_factory.mktemp("index"), played.records, BOUND)
    yield made
    made.close()


@pytest.fixture(scope="module")
def console(index: Index) -> Iterator[Site]:
    """A console over it."""
    with site(index) as made:
        yield made

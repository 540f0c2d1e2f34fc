"""Any interleaving of partitions, with repetitions as after kills, puts out the same."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.channels import Channel
from tests.agents.triage.interleaving import Chain, Checked, check, knowing
from tests.e2e.chain import Results, results_of
from tests.e2e.mixed_events import events, intel, policies, write_models

EVENTS = 2_000
BAD = 5
"""Times as many pushes and bad packages as in the mix."""
SEEDS = range(8)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Checked]]:
    root = tmp_path_factory.mktemp("models")
    write_models(root)
    knowledge = knowing(policies(root), intel())
    return knowledge, check(events(EVENTS, root, bad=BAD), knowledge)


def run(known: tuple[Any, list[Checked]], seed: int | None) -> Results:
    chain = Chain(known[0], seed)
    for key, fact in intel():
        chain.put(Channel.INTEL, key, fact)
    chain.feed(known[1])
    chain.run()
    return results_of(chain.read)


@pytest.fixture(scope="module")
def calm(known: tuple[Any, list[Checked]]) -> Results:
    return run(known, None)


def test_the_mix_meets_what_it_is_meant_to_meet(calm):
    assert len(calm.findings) > 100
    assert len(calm.commands) > 50
    assert any(one["root"].startswith("publisher:") for one in calm.incidents.values())
    assert any(one["root"].startswith("sha256:") for one in calm.incidents.values())
    assert any(one["root"].startswith("pypi:litellm") for one in calm.incidents.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_any_interleaving_puts_out_the_same(known, calm, seed):
    got = run(known, seed)
    for name in ("findings", "commands", "events", "indicators"):
        assert getattr(got, name) == getattr(calm, name), name
    for name in ("assessments", "alerts", "incidents"):
        one, other = getattr(calm, name), getattr(got, name)
        assert one.keys() == other.keys(), name
        differing = [key for key in one if one[key] != other[key]]
        assert not differing, (name, one[differing[0]], other[differing[0]])

"""Any interleaving of partitions, with repetitions as after kills, puts out the same."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agents.triage.ledger.batch import POPULAR_HOLDERS
from schemas.channels import Channel
from schemas.decisions import COMPUTED, Decision, DecisionKind
from schemas.severity import Severity
from tests.agents.triage.interleaving import Chain, Checked, check, knowing
from tests.depth import examples
from tests.e2e.chain import Results, results_of
from tests.e2e.mixed_events import START, events, intel, policies, write_models

pytestmark = pytest.mark.slow

EVENTS = 2_000
BAD = 5
"""Times as many pushes and bad packages as in the mix."""
SEEDS = st.integers(1, 2**32)


def interleavings(usual: int) -> settings:
    """Return the settings by which so many interleavings are tried, each of some seconds."""
    return settings(
        max_examples=examples(usual),
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Checked]]:
    root = tmp_path_factory.mktemp("models")
    write_models(root)
    knowledge = knowing(policies(root), intel())
    return knowledge, check(events(EVENTS, root, bad=BAD), knowledge)


def run(
    known: tuple[Any, list[Checked]],
    seed: int | None,
    *,
    decisions: Iterable[Decision] = (),
    early: bool = False,
    late: Iterable[tuple[str, bytes | None]] = (),
    popular_holders: int = POPULAR_HOLDERS,
) -> Results:
    """Run it: decisions follow when all is quiet, then `late` intel, or that at once if `early`."""
    chain = Chain(known[0], seed, popular_holders=popular_holders)
    for key, fact in (*intel(), *(late if early else ())):
        chain.put(Channel.INTEL, key, fact)
    chain.feed(known[1])
    chain.run()
    for decision in decisions:
        chain.put(Channel.DECISIONS, decision.incident, msgspec.json.encode(decision))
    chain.run()
    for key, fact in () if early else late:
        chain.put(Channel.INTEL, key, fact)
    chain.run()
    return results_of(chain.read)


def same(got: Results, calm: Results) -> None:
    for name in ("findings", "commands", "events", "indicators"):
        assert getattr(got, name) == getattr(calm, name), name
    for name in ("assessments", "alerts", "incidents"):
        one, other = getattr(calm, name), getattr(got, name)
        assert one.keys() == other.keys(), name
        differing = [key for key in one if one[key] != other[key]]
        assert not differing, (name, one[differing[0]], other[differing[0]])


@pytest.fixture(scope="module")
def calm(known: tuple[Any, list[Checked]]) -> Results:
    return run(known, None)


def test_mix_covers_the_intended_cases(calm):
    assert len(calm.findings) > 100
    assert len(calm.commands) > 50
    assert any(incident["root"].startswith("publisher:") for incident in calm.incidents.values())
    assert any(incident["root"].startswith("sha256:") for incident in calm.incidents.values())
    assert any(incident["root"].startswith("pypi:litellm") for incident in calm.incidents.values())


def test_one_interleaving_gives_the_same_output(known, calm):
    same(run(known, 0), calm)


@interleavings(2)
@given(seed=SEEDS)
def test_any_interleaving_gives_the_same_output(known, calm, seed):
    same(run(known, seed), calm)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Checked]]:
    """Return a mix in which more organisations hold a malicious file than are contained at once."""
    root = tmp_path_factory.mktemp("crowded")
    write_models(root)
    knowledge = knowing(policies(root), intel())
    return knowledge, check(events(1_300, root, bad=7), knowledge)


def but_for_modes(results: Results) -> Results:
    """Return results without how their commands were decided, and what is read of that."""
    incidents = {
        uid: {
            **document,
            "next_action": None,
            "commands": [
                {**command, "state": None, "spec": {**command["spec"], "mode": None}}
                for command in document["commands"]
            ],
            "timeline": sorted(
                (
                    {**entry, "text": None} if entry["what"] == "commanded" else entry
                    for entry in document["timeline"]
                ),
                key=repr,
            ),
        }
        for uid, document in results.incidents.items()
    }
    alerts = {
        uid: {
            **alert,
            "remediation": None,
            "unmapped": {
                **alert["unmapped"],
                "next_action": None,
                "commands": [
                    {**command, "mode": None, "state": None}
                    for command in alert["unmapped"]["commands"]
                ],
            },
        }
        for uid, alert in results.alerts.items()
    }
    return msgspec.structs.replace(results, incidents=incidents, alerts=alerts)


def proposed_in(results: Results) -> set[tuple[str, str]]:
    """Return the commands that a person decides, by incident."""
    return {
        (uid, command["spec"]["command_id"])
        for uid, document in results.incidents.items()
        for command in document["commands"]
        if command["spec"]["mode"] == "proposal"
    }


@pytest.fixture(scope="module")
def crowded_calm(crowded) -> tuple[Results, Results]:
    """Return the calm run, with the default number of holders and with one out of reach."""
    return run(crowded, None), run(crowded, None, popular_holders=1_000)


@interleavings(1)
@given(seed=SEEDS)
def test_time_of_popularity_decides_the_command_mode_alone(crowded, crowded_calm, seed):
    """What was issued before they held it stays: that one step follows the order of arrival."""
    calm, unlimited = crowded_calm
    mixed = run(crowded, seed)
    same(but_for_modes(mixed), but_for_modes(calm))
    # Without the number of holders both runs say the same to the letter.
    same(run(crowded, seed, popular_holders=1_000), unlimited)
    assert proposed_in(unlimited) < proposed_in(calm)
    assert proposed_in(unlimited) <= proposed_in(mixed)


def decided(calm: Results) -> list[Decision]:
    """Return decisions of tenants and of the operator about every incident, of every kind."""
    made = []
    for number, (incident, document) in enumerate(sorted(calm.incidents.items())):
        tenant = min(part["tenant"] for part in document["tenants"])
        proposed = [
            command["spec"] for command in document["commands"] if command["state"] == "proposed"
        ]
        kinds = (
            DecisionKind.FALSE_POSITIVE,
            DecisionKind.CLOSE,
            DecisionKind.ACKNOWLEDGE,
            DecisionKind.SUPPRESS,
        )
        chosen: list[tuple[DecisionKind, str | None, str | None]] = [
            (
                DecisionKind.REJECT if index % 2 else DecisionKind.APPROVE,
                spec["tenant"],
                spec["command_id"],
            )
            for index, spec in enumerate(proposed[:8])
        ]
        chosen.append((kinds[number % 4], tenant, None))
        if number % 2:
            chosen.append((DecisionKind.FALSE_POSITIVE, None, None))
        # after what may have closed or suppressed it: what is not published then must stay so
        chosen.append((DecisionKind.SEVERITY, tenant, list(Severity)[number % len(Severity)]))
        if number % 3 == 0:
            chosen.append((DecisionKind.REOPEN, None, None))
        if number % 5 == 0:
            chosen.append((DecisionKind.SEVERITY, None, "low" if number % 2 else COMPUTED))
        made += [
            Decision(
                id=f"{incident}-{index}",
                incident=incident,
                actor="someone",
                decision=kind,
                reason="to see",
                time=START + timedelta(hours=2, minutes=index),
                tenant=whose,
                target=target,
                expires=START + timedelta(days=9) if kind is DecisionKind.SUPPRESS else None,
            )
            for index, (kind, whose, target) in enumerate(chosen)
        ]
    return made


WITHDRAWN: list[tuple[str, bytes | None]] = [("pypi:litellm", None)]


@pytest.fixture(scope="module", params=[[], WITHDRAWN], ids=["decisions", "and withdrawals"])
def decided_calm(request, known, calm) -> tuple[list[Decision], Any, Results]:
    """Return decisions, the facts that are withdrawn after them, and what the calm run gives."""
    decisions = decided(calm)
    return decisions, request.param, run(known, None, decisions=decisions, late=request.param)


@interleavings(1)
@given(seed=SEEDS)
def test_decisions_and_withdrawals_give_the_same_output(known, calm, decided_calm, seed):
    decisions, late, expected = decided_calm
    assert expected.commands > calm.commands
    same(run(known, seed, decisions=decisions, late=late), expected)


def in_force(results: Results) -> tuple[set[str], dict[str, Any]]:
    """Return the commands that hold and the alerts that stand."""
    commands = [command for doc in results.incidents.values() for command in doc["commands"]]
    holding = {
        command["spec"]["command_id"]
        for command in commands
        if "undoes" not in command["spec"]
        and command["state"] not in {"reversed", "rejected", "advised"}
    }
    standing = {
        uid: alert["finding_info"]
        for uid, alert in results.alerts.items()
        if alert["unmapped"]["status"] != "withdrawn"
    }
    return holding, standing


@pytest.fixture(scope="module")
def withdrawn_later(known) -> tuple[set[str], dict[str, Any]]:
    return in_force(run(known, None, late=WITHDRAWN))


@interleavings(1)
@given(seed=SEEDS)
def test_a_fact_withdrawn_while_events_come_in_leaves_in_force_what_one_withdrawn_later_does(
    known, withdrawn_later, seed
):
    assert all(withdrawn_later)
    assert in_force(run(known, seed, early=True, late=WITHDRAWN)) == withdrawn_later

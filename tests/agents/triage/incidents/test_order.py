"""State and documents do not depend on the order or number of arrivals."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from agents.domain.rules import When
from agents.triage.bounded_sets import Tally, keep_smallest, stable_rank
from agents.triage.correlation import combination
from agents.triage.incidents.views import significance
from schemas.findings import Finding
from schemas.incidents.commands import CommandSpec
from schemas.intel import IntelFact, IntelKind
from schemas.observations import Sighting
from schemas.policy import Policy
from schemas.severity import ExposureLevel
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting
from tests.depth import examples

DATA = "dataset:acme/reviews"


def story() -> list[Sighting | Finding | IntelFact]:
    """Return inputs that meet all of the ledger: drift, taint, intelligence, prevalence."""
    inputs: list[Sighting | Finding | IntelFact] = []
    for number, tenant in enumerate(("a", "b", "c", "d")):
        inputs += held(MODEL, tenant, "gpu", number, version="r1", digest=GOOD, kind="used")
        inputs += held(
            MODEL,
            tenant,
            f"gpu-{number % 2}",
            60 + number,
            version="r2",
            digest=BAD,
            kind="used",
            exposure=ExposureLevel.SERVING,
            identities=(f"secret-ref:{tenant}",),
        )
    inputs += [
        sighting(DATA, "a", "lake", 1, version="v7", digest="d" * 64, kind="used"),
        sighting(DATA, "a", "lake", 90, version="v7", digest="e" * 64, kind="used"),
        sighting(
            "model:hub/acme/tuned",
            "b",
            "trainer",
            100,
            version="1",
            digest="1" * 64,
            kind="made",
            made_from=(f"{MODEL}@r2", f"sha256:{BAD}"),
        ),
        sighting(
            "deployment:fraud",
            "b",
            "cluster",
            120,
            kind="served",
            exposure=ExposureLevel.SERVING,
            made_from=("model:hub/acme/tuned@1",),
        ),
        sighting("pypi:litellm", "c", "ci", 5, version="1.82.7", digest="9" * 64, kind="installed"),
        sighting("pypi:litellm", "d", "ci", 6, version="1.82.7", kind="installed"),
        sighting("pypi:litellm", "d", "ci2", 7, version="1.82.6", kind="installed"),
        IntelFact(
            key="pypi:litellm",
            kind=IntelKind.COMPROMISED,
            versions=("1.82.7",),
            sources=("OSV:MAL-1", "other"),
            popular=True,
        ),
        finding(
            "malicious_payload", "a", minutes=61, systems=("hub",), publisher="publisher:hub/x"
        ),
        finding(
            "malicious_payload",
            "c",
            component="model:hub/x/other",
            digest="f" * 64,
            minutes=62,
            publisher="publisher:hub/x",
        ),
        finding("dangerous_serialization", "a", minutes=61, confidence=0.6, locator="2"),
        finding("unpinned_dependency", "b", component="pypi:torch", digest=None, version=None),
        sighting(
            MODEL, "a", "hub", 3, version="p1", digest="3" * 64, kind="pushed", publisher_id="org-1"
        ),
        sighting(
            MODEL,
            "a",
            "hub",
            58,
            version="p2",
            digest="4" * 64,
            kind="pushed",
            publisher_id="org-2",
        ),
    ]
    return inputs


def content(spec: CommandSpec) -> CommandSpec:
    """Return what of a command does not depend on when it was issued.

    It names the first incident that called for it and the digest that was known by then, waits for
    the captures that were called for by then, and expires so long after.
    """
    return structs.replace(
        spec,
        expires=None,
        after=(),
        attempt=1,
        incident="" if spec.hold else spec.incident,
        digest=None,
    )


def outcome(flow: Flow) -> dict[str, object]:
    """Return what two runs must agree in."""
    return {
        "alerts": {key: significance(view) for key, view in flow.alerts.items()},
        "incidents": {key: significance(incident) for key, incident in flow.incidents.items()},
        "commands": {key: content(spec) for key, spec in flow.commands.items()},
        "proposals": {key: content(spec) for key, spec in flow.proposals.items()},
        "holds": {
            (*key, thing.action, thing.target): thing.reasons
            for key, hold in flow.holds.items()
            for thing in hold.things
        },
        "iocs": sorted(flow.iocs),
        "assessments": sorted(flow.assessments),
        "operator": sorted(flow.operator),
    }


def run(*, seed: int | None = None, again: float = 0.0, batch: int = 64) -> Flow:
    shuffle = None if seed is None else random.Random(seed)
    flow = Flow(shuffle=shuffle, again=again, batch=batch)
    flow.policy(Policy(tenant="a", automatic=("capture-evidence", "quarantine")))
    inputs = story()
    if shuffle is None:
        for record in inputs:
            flow.put(record)
            flow.run()
    else:
        shuffle.shuffle(inputs)
        flow.put(*inputs)
        flow.run()
    return flow


CALM = outcome(run())


def test_story_covers_the_intended_cases():
    flow = run()
    assert len(flow.incidents) >= 4
    assert {view.tenant for view in flow.alerts.values()} == {"a", "b", "c", "d"}
    assert flow.commands
    assert flow.proposals
    tainted = [system for view in flow.alerts_of("b") for system in view.systems if system.path]
    assert {system.component for system in tainted} == {"model:hub/acme/tuned", "deployment:fraud"}


@pytest.mark.slow
@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    again=st.sampled_from([0.0, 0.3, 1.0]),
    batch=st.sampled_from([1, 3, 64]),
)
def test_any_order_and_repetition_gives_the_same_documents(seed, again, batch):
    assert outcome(run(seed=seed, again=again, batch=batch)) == CALM


@given(st.lists(st.text(max_size=8), max_size=60), st.integers(1, 8))
def test_a_full_tally_does_not_depend_on_order(names, cap):
    forward, backward = Tally(), Tally()
    for name in names:
        forward.add(name, cap)
    for name in reversed(names + names):
        backward.add(name, cap)
    assert forward.smallest == backward.smallest
    assert forward.count() == backward.count()
    if len(set(names)) <= cap:
        assert forward.count() == len(set(names))
    else:
        assert forward.full


def test_the_estimate_of_a_full_tally_is_near_the_truth():
    tally = Tally()
    for number in range(20_000):
        tally.add(f"tenant-{number}", 256)
    assert 16_000 < tally.count() < 24_000


@given(st.permutations([stable_rank(str(number)) for number in range(20)]))
def test_a_full_set_keeps_the_smallest(places):
    kept: dict[str, int] = {}
    for position in places:
        kept[position] = 1
        keep_smallest(kept, 7)
    assert sorted(kept) == sorted(places)[:7]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**9),
            st.sampled_from("abc"),
            st.text(max_size=3),
            st.just("system"),
            st.just("source"),
        ),
        max_size=12,
    ).flatmap(lambda many: st.tuples(st.just(many), st.permutations(many)))
)
def test_combinations_do_not_depend_on_order(both):
    forward, shuffled = both
    for ordered in (False, True):
        when = When(kind="combination", signals=("a", "b|c"), ordered=ordered, hours=48)
        assert combination(when, forward) == combination(when, shuffled)


def test_a_version_becomes_a_rollback_target_whenever_it_is_known_good():
    vouched = IntelFact(key=MODEL, kind=IntelKind.KNOWN_GOOD, versions=("r1",), digests=(GOOD,))
    inputs = [
        *held(MODEL, "a", "gpu", 0, version="r1", digest=GOOD),
        *held(MODEL, "a", "gpu", 5, version="r3", digest="3" * 64),
        *held(MODEL, "a", "gpu", 9, version="r2", digest=BAD),
        finding("malicious_payload", "a", minutes=10),
    ]
    reported = []
    for order in ([vouched, *inputs], [*inputs, vouched], [*reversed(inputs), vouched]):
        flow = Flow()
        for record in order:
            flow.put(record)
            flow.run()
        (rollback,) = [
            proposal for proposal in flow.proposals.values() if proposal.action == "rollback"
        ]
        reported.append((rollback.command_id, rollback.rollback_version, outcome(flow)["alerts"]))
    assert reported[0] == reported[1] == reported[2]
    assert reported[0][1] == "r1"


def test_no_component_loses_its_last_good_version_to_others():
    models = [f"{MODEL}-{number}" for number in range(12)]
    inputs = [
        sighting
        for number, model in enumerate(models)
        for version in range(6)
        for sighting in held(
            model, "a", "gpu", version, version=f"r{version}", digest=f"{number:02}{version}" * 21
        )
    ]
    bad = [
        sighting
        for model in models
        for sighting in held(model, "a", "gpu", 9, version="x", digest=BAD)
    ]
    found = [finding("malicious_payload", "a", model, version="x", minutes=9) for model in models]
    outcomes = []
    for order in ([*inputs, *bad, *found], [*found, *bad, *reversed(inputs)]):
        flow = Flow()
        flow.put(*order)
        flow.run()
        rollbacks = {
            proposal.target for proposal in flow.proposals.values() if proposal.action == "rollback"
        }
        assert rollbacks == set(models)
        outcomes.append(outcome(flow))
    assert outcomes[0] == outcomes[1]

"""A verified binding carries facts on a digest to who names the revision that has it."""

from __future__ import annotations

import random

import msgspec
import pytest

from schemas.basis import BasisKind
from schemas.intel import IntelFact, IntelKind
from schemas.policy import default_policy
from schemas.severity import Severity
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import BAD, GOOD, finding, sighting

NAME = "model:huggingface/bigorg/base"
COMMIT, OTHER = "c" * 40, "d" * 40
ON_DIGEST = IntelFact(
    key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x", "y")
)


def binding(tenant="lab", *, name=NAME, version=COMMIT, digest=BAD, bound=True, **more):
    """Return the sightings of a push of one file whose revision is bound to its digest."""
    more = {"version": version, "digest": digest, "kind": "pushed", "verified": True, **more}
    return (
        sighting(name, tenant, "hub", **more),
        sighting(f"sha256:{digest}", tenant, "hub", name=name, bound=bound, **more),
    )


def named(tenant, system="gpu", minutes=5, **more):
    return sighting(NAME, tenant, system, minutes, **{"version": COMMIT, "kind": "used", **more})


def flow_of(*tenants):
    flow = Flow()
    for tenant in tenants:
        policy = msgspec.structs.replace(
            default_policy(tenant), automatic=("quarantine",), dry_run=False
        )
        flow.policy(policy)
    return flow


@pytest.mark.parametrize("late", [False, True])
def test_intelligence_on_a_digest_reaches_who_names_the_revision(late):
    flow = flow_of("b")
    if late:
        flow.fact(ON_DIGEST)
    flow.saw(*binding(), named("b"), named("c", version=OTHER), named("d", version="v1"))
    if not late:
        flow.fact(ON_DIGEST)
    (alert,) = flow.alerts_of("b")
    assert alert.score.band.rank >= Severity.HIGH.rank
    assert {one.known_by for one in alert.findings} == {"intelligence (x, y)"}
    assert [one.action for one in flow.issued if one.tenant == "b"] == ["quarantine"]
    assert not flow.alerts_of("c")
    assert not flow.alerts_of("d")


def test_the_end_of_a_fact_ends_what_followed_from_it():
    flow = flow_of()
    flow.saw(*binding(), named("b"))
    flow.fact(ON_DIGEST)
    flow.withdraw(ON_DIGEST.key)
    assert [view.status for view in flow.alerts_of("b")] == ["withdrawn"]


@pytest.mark.parametrize(
    "more",
    [
        {"bound": False},
        {"version": "v1.0"},
        {"version": "main"},
        {"version": COMMIT[:39]},
        {"name": "model:@lab/bigorg/base"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_is_no_binding_speaks_of_no_name(more):
    flow = flow_of()
    flow.saw(*binding(**more), named("b", version=more.get("version", COMMIT)))
    flow.fact(ON_DIGEST)
    assert flow.alerts_of("lab")
    assert not flow.alerts_of("b")


def test_a_claim_about_a_bound_digest_stays_its_tenants_own():
    flow = flow_of("a", "b")
    flow.saw(*binding(), named("b"), named("a"))
    flow.found(
        finding("package_hash_mismatch", "a", NAME, version=COMMIT),
        finding("malicious_payload", "a", NAME, version=COMMIT, basis=None),
    )
    assert flow.alerts_of("a")
    assert not flow.alerts_of("b")
    assert not flow.alerts_of("lab")


def test_other_bytes_under_the_name_are_exempt_if_tidewatch_read_them():
    flow = flow_of("b", "c")
    flow.saw(
        *binding(),
        named("b", digest=GOOD, verified=True),
        named("c", digest=GOOD),
        named("d", digest=GOOD, verified=True),
        named("d", "gpu-2"),
    )
    flow.fact(ON_DIGEST)
    assert not flow.alerts_of("b"), "it has provably something else"
    assert flow.alerts_of("c"), "that a commit has another digest is a claim, and no shield"
    assert [one.system for view in flow.alerts_of("d") for one in view.systems] == ["gpu-2"]


def test_what_is_made_from_a_bound_revision_is_reached_in_full():
    flow = flow_of("b")
    tuned = sighting(
        "model:@b/tuned", "b", "ci", 6, version="1", kind="made", made_from=(f"{NAME}@{COMMIT}",)
    )
    flow.saw(*binding(), tuned)
    flow.found(finding("malicious_payload", "lab", NAME, version=COMMIT))
    (alert,) = flow.alerts_of("b")
    assert {one.component for one in alert.systems} == {"model:@b/tuned"}
    assert alert.score.band.rank >= Severity.HIGH.rank


def test_no_claim_of_a_binding_comes_from_who_made_the_mark():
    """The binding's own tenant may be anybody: it is not what the fact rests on."""
    flow = flow_of()
    flow.saw(*binding("mallory"), named("b"))
    flow.found(finding("malicious_payload", "lab", NAME, version=COMMIT))
    (alert,) = flow.alerts_of("b")
    assert {one.basis.kind for one in alert.findings} == {BasisKind.VERIFIED}
    assert "mallory" not in msgspec.json.encode(alert).decode()


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_arrival_does_not_decide(seed):
    inputs = [
        *binding(),
        *binding("other"),
        named("b"),
        named("c", digest=GOOD, verified=True),
        finding("malicious_payload", "lab", NAME, version=COMMIT, minutes=4),
    ]
    random.Random(seed).shuffle(inputs)
    flow = flow_of("b")
    flow.put(*inputs)
    flow.run()
    assert [one.action for one in flow.issued if one.tenant == "b"] == ["quarantine"]
    assert not flow.alerts_of("c")


def test_a_sighting_that_is_bound_only_later_is_told():
    flow = flow_of()
    flow.saw(*binding(bound=False), named("b"))
    flow.found(finding("malicious_payload", "lab", NAME, version=COMMIT))
    assert not flow.alerts_of("b")
    flow.saw(*binding())
    assert flow.alerts_of("b")

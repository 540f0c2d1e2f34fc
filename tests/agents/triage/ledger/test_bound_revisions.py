"""Verified bindings carry facts on a digest to holders that name its revision."""

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
OTHER_DIGEST = "e" * 64
ON_DIGEST = IntelFact(
    key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x", "y")
)


def binding(tenant="lab", *, name=NAME, version=COMMIT, digest=BAD, bound=True, **more):
    """Return the sightings of a push of one file whose revision is bound to its digest."""
    more = {"version": version, "digest": digest, "kind": "pushed", "verified": True, **more}
    return (
        sighting(name, tenant, "hub", bound=bound, **more),
        sighting(f"sha256:{digest}", tenant, "hub", name=name, bound=bound, **more),
    )


LISTED = IntelFact(
    key=NAME, kind=IntelKind.MALICIOUS, versions=(COMMIT,), digests=(BAD,), sources=("x", "y")
)
"""Names a revision for the sake of a digest that it does not have."""


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
    assert {finding.known_by for finding in alert.findings} == {"intelligence (x, y)"}
    assert [command.action for command in flow.issued if command.tenant == "b"] == ["quarantine"]
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
def test_invalid_binding_affects_no_name(more):
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
    assert [system.system for view in flow.alerts_of("d") for system in view.systems] == ["gpu-2"]


def test_derivative_of_a_bound_revision_is_reached_in_full():
    flow = flow_of("b")
    tuned = sighting(
        "model:@b/tuned", "b", "ci", 6, version="1", kind="made", made_from=(f"{NAME}@{COMMIT}",)
    )
    flow.saw(*binding(), tuned)
    flow.found(finding("malicious_payload", "lab", NAME, version=COMMIT))
    (alert,) = flow.alerts_of("b")
    assert {system.component for system in alert.systems} == {"model:@b/tuned"}
    assert alert.score.band.rank >= Severity.HIGH.rank


def test_binding_claim_is_independent_of_the_marking_tenant():
    """The binding's own tenant may be anybody: it is not what the fact rests on."""
    flow = flow_of()
    flow.saw(*binding("mallory"), named("b"))
    flow.found(finding("malicious_payload", "lab", NAME, version=COMMIT))
    (alert,) = flow.alerts_of("b")
    assert {finding.basis.kind for finding in alert.findings} == {BasisKind.VERIFIED}
    assert "mallory" not in msgspec.json.encode(alert).decode()


@pytest.mark.parametrize("seed", range(4))
def test_order_of_arrival_does_not_matter(seed):
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
    assert [command.action for command in flow.issued if command.tenant == "b"] == ["quarantine"]
    assert not flow.alerts_of("c")


def test_a_sighting_that_is_bound_only_later_is_reported():
    flow = flow_of()
    flow.saw(*binding(bound=False), named("b"))
    flow.found(finding("malicious_payload", "lab", NAME, version=COMMIT))
    assert not flow.alerts_of("b")
    flow.saw(*binding())
    assert flow.alerts_of("b")


# -- facts that list versions ----------------------------------------------------------------------


def standing(flow, tenant):
    return [view for view in flow.alerts_of(tenant) if view.status != "withdrawn"]


def tuned(tenant):
    return sighting(
        f"model:@{tenant}/tuned", tenant, "ci", 6, version="1", kind="made",
        made_from=(f"{NAME}@{COMMIT}",),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_a_bound_revision_is_exempt_from_a_fact_that_means_another_digest(seed):
    """A holder that names it holds what everybody gets; a tenant's claim beside it is no shield."""
    inputs = [
        *binding(digest=GOOD),
        named("b"),
        tuned("b"),
        named("c", digest=GOOD),
        named("d", digest=OTHER_DIGEST),
        named("e", digest=BAD),
        named("f", version=OTHER),
        LISTED,
    ]
    if seed:
        random.Random(seed).shuffle(inputs)
    flow = flow_of(*"bcdef")
    for message in inputs:
        flow.put(message)
        flow.run()
    for tenant in ("b", "c", "f"):
        assert not standing(flow, tenant), tenant
        assert not [command for command in flow.issued if command.tenant == tenant and not seed], (
            tenant
        )
    (claimed,) = standing(flow, "d")
    assert {finding.severity for finding in claimed.findings} == {Severity.MEDIUM}
    (theirs,) = standing(flow, "e")
    assert theirs.score.band.rank >= Severity.HIGH.rank


def test_binding_to_other_bytes_releases_containment():
    flow = flow_of("b")
    flow.saw(named("b"))
    flow.fact(LISTED)
    assert [command.action for command in flow.issued] == ["quarantine"]
    flow.saw(*binding(digest=GOOD))
    assert [command.action for command in flow.issued] == ["quarantine", "restore"]
    # A later record of the fact that means the version whatever its digest counts again.
    flow.fact(msgspec.structs.replace(LISTED, digests=()))
    assert standing(flow, "b")


def test_a_revision_that_is_bound_to_what_the_fact_means_is_not_exempt():
    flow = flow_of("b")
    flow.fact(LISTED)
    flow.saw(*binding(), named("b"))
    (alert,) = standing(flow, "b")
    assert alert.score.band.rank >= Severity.HIGH.rank


def test_a_revision_with_several_digests_is_exempt_if_the_fact_means_none_of_them():
    """The hub gave other bytes at another time: each of them may be what a tenant holds."""
    flow = flow_of("b", "c")
    flow.saw(*binding(digest=GOOD), *binding(digest=BAD), named("b"))
    flow.fact(LISTED)
    assert standing(flow, "b")
    flow = flow_of("b")
    flow.saw(*binding(digest=GOOD), *binding(digest=OTHER_DIGEST), named("b"))
    flow.fact(LISTED)
    assert not standing(flow, "b")


@pytest.mark.parametrize("more", [{"bound": False}, {"name": "model:@lab/bigorg/base"}])
def test_invalid_binding_exempts_nobody(more):
    flow = flow_of("b")
    flow.saw(*binding(digest=GOOD, **more), named("b"))
    flow.fact(LISTED)
    assert standing(flow, "b")


@pytest.mark.parametrize("late", [False, True])
def test_later_scan_exempts_as_well(late):
    """A push says its digest first, and the scan establishes it."""
    flow = flow_of("b")
    claimed = named("b", version="v4", digest=GOOD)
    fact = msgspec.structs.replace(LISTED, versions=("v4",))
    for message in (claimed, fact) if late else (fact, claimed):
        flow.put(message)
        flow.run()
    (alert,) = standing(flow, "b")
    assert {finding.severity for finding in alert.findings} == {Severity.MEDIUM}
    flow.saw(msgspec.structs.replace(claimed, verified=True))
    assert not standing(flow, "b")

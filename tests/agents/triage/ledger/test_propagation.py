"""Taint follows lineage from hostile components, and no further."""

from __future__ import annotations

import random

import msgspec
import pytest

from schemas.intel import IntelFact, IntelKind
from schemas.policy import default_policy
from schemas.severity import ExposureLevel, Severity
from streams.engine.outbox import MAX_OUTBOX
from tests.agents.triage.flow import Flow
from tests.agents.triage.ledger.records import pushed, take
from tests.agents.triage.memory_rows import MemoryRows
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting

DATA = "dataset:vendor/reviews"


AUTOMATIC = ("capture-evidence", "quarantine", "rollback", "block", "revoke", "hold-pipeline")


def lineage():
    """Return a dataset of `a`, what `a` made of it, and what `b` made of that and serves."""
    base, tuned = "1" * 64, "2" * 64
    return (
        sighting(DATA, "a", "lake", 0, version="v7", digest=BAD, kind="used"),
        *held(
            "model:hub/base",
            "a",
            "trainer",
            10,
            version="1",
            digest=base,
            kind="made",
            made_from=(f"{DATA}@v7",),
            appended=(10, "runs", 0, 1),
        ),
        *held(
            "model:hub/tuned",
            "b",
            "trainer",
            20,
            version="2",
            digest=tuned,
            kind="made",
            made_from=("model:hub/base@1", f"sha256:{base}"),
            appended=(20, "runs", 0, 2),
        ),
        sighting(
            "deployment:chat",
            "b",
            "cluster",
            30,
            kind="served",
            exposure=ExposureLevel.SERVING,
            criticality=1.0,
            made_from=("model:hub/tuned@2", f"sha256:{tuned}"),
        ),
        sighting("model:hub/base", "c", "gpu", 15, version="0", kind="used"),
    )


POISON = IntelFact(
    key=DATA, kind=IntelKind.COMPROMISED, versions=("v7",), sources=("vendor", "cert")
)


def test_poisoned_dataset_taints_two_models_and_a_deployment():
    flow = Flow()
    flow.saw(*lineage())
    flow.fact(POISON)
    (incident,) = flow.incidents.values()
    reached = {(system.tenant, system.component): system.path for system in incident.systems}
    assert reached == {
        ("a", DATA): (),
        ("a", "model:hub/base"): (DATA,),
        ("b", "model:hub/tuned"): (DATA, "elsewhere"),
        ("b", "deployment:chat"): (DATA, "elsewhere", "model:hub/tuned"),
    }
    assert flow.alerts_of("c") == []
    (mine,) = flow.alerts_of("a")
    assert mine.score.band in {Severity.HIGH, Severity.CRITICAL}
    assert {task.kind for task in mine.tasks} >= {"retrain"}


def test_a_published_lineage_advises_the_tenants_further_down():
    flow = Flow()
    for tenant in "abc":
        policy = default_policy(tenant)
        flow.policy(msgspec.structs.replace(policy, automatic=AUTOMATIC, dry_run=False))
    flow.saw(*lineage())
    flow.fact(POISON)
    (ours,) = flow.alerts_of("b")
    assert ours.score.band is Severity.MEDIUM
    assert [(finding.advice, finding.severity) for finding in ours.findings] == [
        (True, Severity.MEDIUM)
    ]
    assert "other organisations" in ours.findings[0].known_by
    assert ours.root == DATA
    assert ours.tasks == ()
    assert [(command.spec.action, command.state) for command in ours.commands] == [
        ("investigate", "proposed")
    ]
    assert not [command for command in flow.issued if command.tenant == "b"]


def test_derivative_of_another_version_is_not_tainted():
    flow = Flow()
    flow.saw(
        sighting(DATA, "a", "lake", 0, version="v7", digest=BAD),
        sighting("model:x", "b", "gpu", 1, version="1", made_from=(f"{DATA}@v6",)),
    )
    flow.fact(POISON)
    assert {view.tenant for view in flow.alerts.values()} == {"a"}


def test_repeated_builds_are_still_traced():
    flow = Flow()
    builds = [
        sighting(
            "model:acme/nightly",
            "a",
            "trainer",
            day * 24 * 60,
            version=f"n{day}",
            digest=f"{day:064x}",
            kind="made",
            made_from=tuple(f"dataset:acme/d{number}@v{day}" for number in range(10)),
        )
        for day in range(60)
    ]
    flow.saw(*builds)
    for number in range(10):
        key = f"dataset:acme/d{number}"
        flow.saw(sighting(key, "a", "lake", 59 * 24 * 60, version="v59", kind="used"))
        flow.fact(
            IntelFact(key=key, kind=IntelKind.COMPROMISED, versions=("v59",), sources=("vendor",))
        )
    reached = [
        view.root
        for view in flow.alerts_of("a")
        if "model:acme/nightly" in {system.component for system in view.systems}
    ]
    assert len(reached) == 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_of_many_versions_the_latest_are_kept_whatever_arrives_first(seed):
    builds = [pushed(number) for number in range(60)]
    random.Random(seed).shuffle(builds)
    flow = Flow()
    flow.saw(*builds)
    latest = IntelFact(
        key=MODEL,
        kind=IntelKind.MALICIOUS,
        versions=tuple(f"r{number}" for number in range(60)),
        sources=("vendor",),
    )
    flow.fact(latest)
    found = {finding.version for view in flow.alerts_of("a") for finding in view.findings}
    assert found == {f"r{number}" for number in range(28, 60)}


@pytest.mark.slow
def test_records_published_per_chunk_are_bounded():
    rows = MemoryRows()
    chunk = [
        sighting(
            f"model:acme/m{number}",
            "a",
            "gpu",
            made_from=tuple(f"dataset:acme/{number}-{part}@1" for part in range(600)),
        )
        for number in range(500)
    ]
    assert len(take(rows, *chunk)) < MAX_OUTBOX * 0.75


def test_a_withdrawal_follows_the_taint():
    flow = Flow()
    flow.saw(*lineage())
    flow.fact(POISON)
    flow.withdraw(DATA)
    assert {view.status for view in flow.alerts.values()} == {"withdrawn"}


def test_tampered_copy_does_not_taint_other_copies():
    flow = Flow()
    flow.saw(
        *held(MODEL, "a", "gpu", version="r2", digest=BAD),
        *held(MODEL, "b", "gpu", version="r2", digest=GOOD),
        *held(MODEL, "c", "gpu", version="r2", digest=BAD),
    )
    flow.found(finding("hash_mismatch", "a"))
    # That the digest is wrong is what a's own lock says: c, which has the same file, need not care.
    assert {view.tenant for view in flow.alerts.values()} == {"a"}


def test_an_input_whose_digest_is_known_to_differ_does_not_taint():
    flow = Flow()
    flow.saw(
        *held(DATA, "a", "lake", 0, version="v7", digest=BAD),
        sighting("model:x", "b", "gpu", 1, version="1", made_from=(f"{DATA}@sha256:{GOOD}",)),
        sighting("model:y", "c", "gpu", 1, version="1", made_from=(f"{DATA}@sha256:{BAD}",)),
    )
    flow.fact(msgspec.structs.replace(POISON, versions=(), digests=(BAD,)))
    assert {view.tenant for view in flow.alerts.values()} == {"a", "c"}


def test_claimed_digest_of_a_listed_version_affects_its_tenant_alone():
    flow = Flow()
    flow.saw(
        *held(DATA, "a", "lake", 0, version="v7", digest=BAD),
        *held(DATA, "b", "lake", 0, version="v6", digest=BAD),
        sighting("model:y", "c", "gpu", 1, version="1", made_from=(f"{DATA}@sha256:{BAD}",)),
    )
    flow.fact(POISON)
    assert {view.tenant for view in flow.alerts.values()} == {"a"}


def test_cycles_and_long_chains_terminate():
    flow = Flow()
    chain = [
        sighting(f"model:m{n}", "a", "gpu", n, version="1", made_from=(f"model:m{n - 1}@1",))
        for n in range(1, 30)
    ]
    flow.saw(sighting("model:m0", "a", "gpu", 0, version="1", made_from=("model:m29@1",)), *chain)
    flow.found(finding("malicious_payload", "a", component="model:m0", version="1", digest=None))
    (alert,) = flow.alerts.values()
    assert max(len(system.path) for system in alert.systems) == 8
    assert any(notice.kind == "bound-reached" for notice in flow.operator.values())

"""The trust model: what one tenant says, and what is done because of it at another.

Over 500 lines, since the cases of the trust model share its tenants and messages.
"""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from agents.domain.basis import bare_finding, claimed
from agents.domain.organisations import Register
from agents.triage.incidents import incident_rows
from agents.triage.ledger.advice import OF_INTRODUCER, OF_RECEIVER
from agents.triage.ledger.batch import POPULAR_HOLDERS
from schemas.basis import Basis, BasisKind
from schemas.components import digest_of_files
from schemas.decisions import Decision, DecisionKind
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import Derived, FindingSeen, Taint
from schemas.observations import Sighting
from schemas.policy import default_policy
from schemas.severity import ExposureLevel, Severity
from tests.agents.triage.flow import Flow, at, ledger_message
from tests.agents.triage.stories import BAD, GOOD, MODEL, finding, held, sighting

AUTOMATIC = (
    "capture-evidence",
    "quarantine",
    "rollback",
    "block",
    "revoke",
    "hold-pipeline",
    "rebuild",
)
VERIFIED = Basis(kind=BasisKind.VERIFIED)
DATA = "dataset:hub/corpus"
WHEEL = "pypi:torch"


def flow_of(*tenants, **more):
    """Return a run whose tenants let everything be contained at once."""
    flow = Flow(**more)
    for tenant in tenants:
        policy = default_policy(tenant)
        flow.policy(msgspec.structs.replace(policy, automatic=AUTOMATIC, dry_run=False))
    return flow


def issued(flow, tenant):
    return sorted({command.action for command in flow.issued if command.tenant == tenant})


def hostile_by_name(tenant, component=MODEL, version="r2", **more):
    return finding("malicious_payload", tenant, component, digest=None, version=version, **more)


def decide(flow, kind, incident, tenant=None):
    flow.decide(
        Decision(
            id=f"dec-{len(flow.sent)}",
            incident=incident,
            actor="analyst@victim.example",
            decision=kind,
            reason="because",
            time=at(500),
            tenant=tenant,
        )
    )


# -- what a tenant claims stays with it ------------------------------------------------------------


def test_a_false_lock_beside_a_genuine_digest_concerns_its_tenant_alone():
    flow = flow_of("a", "b")
    for tenant in "ab":
        flow.saw(*held(WHEEL, tenant, "train-1", version="2.9.0", digest=GOOD))
    flow.found(
        finding("package_hash_mismatch", "a", WHEEL, digest=GOOD, version="2.9.0"),
        finding("package_hash_mismatch", "a", WHEEL, digest=None, version="2.9.0", rule_id="TW-X"),
    )
    assert flow.alerts_of("a")
    assert not flow.alerts_of("b")
    assert not issued(flow, "b")


def test_a_hostile_file_under_a_public_name_says_nothing_of_others_copies():
    flow = flow_of("a", "b")
    flow.saw(
        *held(MODEL, "a", "gpu", version="r2", digest=BAD),
        *held(MODEL, "b", "gpu", version="r2", digest=GOOD),
    )
    flow.found(finding("malicious_payload", "a"), hostile_by_name("a", locator="name"))
    assert flow.alerts_of("a")
    assert not flow.alerts_of("b")


def test_other_tenants_can_not_remove_a_rollback_target():
    flow = flow_of("a", "b")
    flow.saw(
        *held(MODEL, "b", "gpu", 0, version="r1", digest=GOOD),
        *held(MODEL, "b", "gpu", 10, version="r2", digest=BAD, exposure=ExposureLevel.EXECUTED),
    )
    flow.found(hostile_by_name("a", version="r1", minutes=1))
    flow.found(finding("malicious_payload", "a", minutes=20))
    (rollback,) = [
        command for command in flow.issued if (command.tenant, command.action) == ("b", "rollback")
    ]
    assert (rollback.rollback_version, rollback.rollback_digest) == ("r1", GOOD)


def test_one_tenants_findings_make_no_campaign_at_another():
    flow = flow_of("a", "b")
    publisher = "publisher:hub/acme"
    for number in range(4):
        flow.found(
            hostile_by_name("a", f"model:hub/acme/m{number}", publisher=publisher, minutes=number)
        )
    flow.found(hostile_by_name("b", "model:hub/acme/own", publisher=publisher))
    assert [view.root for view in flow.alerts_of("a") if view.root == publisher] == [publisher]
    assert not [view for view in flow.alerts_of("b") if view.root == publisher]


@pytest.mark.slow
def test_many_claims_take_no_room_of_facts():
    flow = flow_of("a", "b")
    flow.saw(*held(MODEL, "b", "gpu", version="r7", digest=GOOD))
    for number in range(40):
        flow.found(hostile_by_name("a", version="r7", minutes=number, locator=str(number)))
        flow.found(
            finding(
                "malicious_payload",
                "a",
                digest=f"{number:064x}",
                version="r7",
                basis=None,
                locator=f"{number}d",
            )
        )
    assert not flow.alerts_of("b")
    flow.fact(IntelFact(key=MODEL, kind=IntelKind.MALICIOUS, versions=("r7",), sources=("x", "y")))
    (alert,) = flow.alerts_of("b")
    assert alert.findings[0].known_by == "intelligence (x, y)"


def test_the_first_tenants_dismissal_ends_its_own_part_only():
    flow = flow_of("a", "b")
    flow.saw(*held(MODEL, "a", "gpu", version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "a"))
    (alert,) = flow.alerts_of("a")
    decide(flow, DecisionKind.FALSE_POSITIVE, alert.incident, tenant="a")
    assert flow.alerts_of("a")[0].status == "false-positive"
    flow.saw(*held(MODEL, "b", "gpu", 600, version="r2", digest=BAD))
    (theirs,) = flow.alerts_of("b")
    assert theirs.status != "false-positive"
    decide(flow, DecisionKind.FALSE_POSITIVE, alert.incident)
    flow.saw(*held(MODEL, "c", "gpu", 700, version="r2", digest=BAD))
    assert not [view for view in flow.alerts_of("c") if view.status != "false-positive"]


@pytest.mark.parametrize("held_first", [False, True])
def test_suppression_of_one_tenant_hides_nothing_from_others(held_first):
    flow = flow_of("a", "b")
    holders = [
        sighting
        for tenant in "ab"
        for sighting in held(MODEL, tenant, "gpu", version="r2", digest=BAD)
    ]
    if held_first:
        flow.saw(*holders)
    flow.withheld(finding("malicious_payload", "a"))
    if not held_first:
        flow.saw(*holders)
    assert not flow.alerts_of("a")
    assert not issued(flow, "a")
    (alert,) = flow.alerts_of("b")
    assert alert.score.band.rank >= Severity.HIGH.rank
    assert "quarantine" in issued(flow, "b")


def test_a_suppression_ends_with_the_next_finding_that_is_not_suppressed():
    flow = flow_of("a")
    flow.saw(*held(MODEL, "a", "gpu", version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "lab", "model:hub/lab"))
    assert flow.alerts_of("a")[0].status == "new"
    flow.withheld(finding("malicious_payload", "a", minutes=1))
    assert flow.alerts_of("a")[0].status == "withdrawn"
    flow.found(finding("malicious_payload", "a", minutes=0, locator="late"))
    flow.found(finding("malicious_payload", "a", minutes=2))
    (alert,) = flow.alerts_of("a")
    assert alert.status not in {"withdrawn", "suppressed"}


def test_suppressed_claim_is_withheld_from_everybody():
    flow = flow_of("a", "b")
    flow.saw(*held(MODEL, "b", "gpu", version="r2", digest=BAD))
    flow.withheld(finding("package_hash_mismatch", "a"), hostile_by_name("a"))
    assert not flow.alerts
    assert not flow.incidents


def test_a_dismissal_of_what_a_scan_found_ends_and_leaves_the_bytes_marked():
    flow = flow_of("a", "lab")
    flow.saw(*held(MODEL, "a", "gpu", version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "lab", "model:hub/lab"))
    (alert,) = flow.alerts_of("a")
    decide(flow, DecisionKind.FALSE_POSITIVE, alert.incident, tenant="a")
    (alert,) = flow.alerts_of("a")
    assert alert.status == "false-positive"
    assert [system.system for system in alert.systems] == ["gpu"]
    decide(flow, DecisionKind.REOPEN, alert.incident, tenant="a")
    (alert,) = flow.alerts_of("a")
    assert alert.status not in {"false-positive", "withdrawn"}
    flow.saw(*held(MODEL, "c", "gpu", 600, version="r2", digest=BAD))
    assert flow.alerts_of("c")


@pytest.mark.parametrize("by_operator", [False, True])
def test_decision_reaches_rows_under_every_name(monkeypatch, by_operator):
    monkeypatch.setattr(incident_rows, "KEYS", 4)
    flow = flow_of("mallory", "v")
    flow.saw(*held(MODEL, "v", "gpu", version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "lab", "model:hub/lab"))
    for number in range(12):
        flow.put(*held(f"model:hub/m{number}", "mallory", "x", version="1", digest=BAD))
    flow.run()
    (alert,) = flow.alerts_of("v")
    decide(flow, DecisionKind.FALSE_POSITIVE, alert.incident, tenant=None if by_operator else "v")
    # What is built from it since is the decision's, too.
    flow.saw(
        sighting("model:@v/b", "v", "ci", 600, version="1", made_from=(f"{MODEL}@r2",)),
        *held("model:hub/late", "late", "gpu", 700, version="1", digest=BAD),
    )
    (alert,) = flow.alerts_of("v")
    assert alert.status in {"false-positive", "withdrawn"}
    assert "model:@v/b" not in {system.component for system in alert.systems}
    reported = [view for view in flow.alerts_of("late") if view.status == "new"]
    assert bool(reported) is not by_operator


def test_invented_tenants_take_no_registered_ones_place_in_an_incident(monkeypatch):
    monkeypatch.setattr(incident_rows, "TENANTS", 8)
    register = Register({"v": "victim", "lab": "lab"})
    flow = flow_of("v", register=register)
    flow.found(finding("malicious_payload", "lab", "model:hub/lab"))
    flow.saw(*held(MODEL, "v", "gpu", version="r2", digest=BAD))
    for number in range(30):
        flow.put(*held(MODEL, f"invented-{number}", "gpu", version="r2", digest=BAD))
    flow.run()
    flow.saw(*held(MODEL, "v", "gpu-2", 9, version="r2", digest=BAD))
    (alert,) = flow.alerts_of("v")
    assert {system.system for system in alert.systems} == {"gpu", "gpu-2"}


def test_own_signature_vouches_for_no_other_tenant():
    """Neither a tenant's own key nor any identity that Sigstore knows vouches for others' names."""
    flow = flow_of("mallory", "v")
    signed = {"version": "r1", "digest": GOOD, "kind": "pushed", "signed": True}
    flow.saw(
        *held(MODEL, "v", "gpu", 0, version="r2", digest=BAD, exposure=ExposureLevel.EXECUTED),
        *held(MODEL, "v", "gpu-2", 5, version="r1", digest=GOOD),
        *held(MODEL, "mallory", "hub", -9, publisher="publisher:github/mallory/x", **signed),
    )
    flow.found(finding("malicious_payload", "lab", "model:hub/lab", minutes=10))
    assert "quarantine" in issued(flow, "v")
    assert "rollback" not in issued(flow, "v")
    assert not [view for view in flow.alerts_of("v") if view.root.startswith("publisher:")]
    flow.saw(*held(MODEL, "v", "registry", 6, **signed))
    assert [command.rollback_digest for command in flow.issued if command.action == "rollback"] == [
        GOOD
    ]


def test_rollback_uses_only_versions_of_the_tenant():
    flow = flow_of("other", "v")
    flow.saw(
        *held(MODEL, "other", "gpu", 0, version="r1", digest=GOOD, signed=True, kind="pushed"),
        *held(MODEL, "v", "gpu", 5, version="r2", digest=BAD, exposure=ExposureLevel.EXECUTED),
    )
    flow.fact(IntelFact(key=MODEL, kind=IntelKind.KNOWN_GOOD, versions=("r1",), sources=("x", "y")))
    flow.found(finding("malicious_payload", "v", minutes=10))
    assert "quarantine" in issued(flow, "v")
    assert "rollback" not in issued(flow, "v")


# -- bytes, roles and trees ------------------------------------------------------------------------


def test_scan_finding_reaches_every_holder_of_the_bytes():
    flow = flow_of("a", "b")
    flow.saw(*held("model:hub/lookalike", "b", "gpu", version="1", digest=BAD))
    flow.found(finding("malicious_payload", "a"))
    (alert,) = flow.alerts_of("b")
    assert alert.score.band.rank >= Severity.HIGH.rank
    assert [found.known_by for found in alert.findings] == ["Tidewatch's scan of the same bytes"]
    assert "quarantine" in issued(flow, "b")


def part(tenant, tree, digest, filename, **more):
    """Return the sightings of a file of a tree, as a push reports them."""
    name = f"model:hub/{tenant}"
    whole = tree.partition(":")[2]
    return (
        sighting(name, tenant, "hub", version="1", digest=whole, **more),
        sighting(tree, tenant, "hub", version="1", digest=whole, name=name, **more),
        sighting(
            f"sha256:{digest}",
            tenant,
            "hub",
            version="1",
            digest=digest,
            name=name,
            filename=filename,
            tree=tree,
            **more,
        ),
    )


TREE = f"tree:{digest_of_files({'weights.bin': BAD, 'config.json': GOOD})}"


@pytest.mark.parametrize("late", [False, True])
def test_file_finding_reaches_holders_of_the_tree_alone(late):
    whole = TREE.partition(":")[2]
    flow = flow_of("a", "b", "c")
    holders = [
        sighting("model:hub/copy", "b", "gpu", version="9", digest=whole),
        sighting(TREE, "b", "gpu", version="9", digest=whole, name="model:hub/copy"),
        # A run does not say whether the digest of its input is a file's or a tree's.
        sighting("model:hub/other", "c", "gpu", version="9", digest=whole, kind="used"),
        sighting(f"sha256:{whole}", "c", "gpu", digest=whole, name="model:hub/other", kind="used"),
    ]
    flow.saw(*part("a", TREE, BAD, "weights.bin"))
    if not late:
        flow.saw(*holders)
    flow.found(finding("malicious_payload", "a", "model:hub/a", version="1"))
    if late:
        flow.saw(*holders)
    for tenant in "bc":
        (alert,) = flow.alerts_of(tenant)
        assert alert.score.band.rank >= Severity.HIGH.rank
        assert "quarantine" in issued(flow, tenant)
        assert {task.kind for task in alert.tasks} >= {"replace"}


def test_a_file_whose_content_is_a_listing_is_not_the_tree():
    whole = TREE.partition(":")[2]
    flow = flow_of("a", "b")
    flow.saw(
        sighting("model:hub/copy", "b", "gpu", version="9", digest=whole),
        sighting(TREE, "b", "gpu", version="9", digest=whole, name="model:hub/copy"),
    )
    flow.found(finding("malicious_payload", "a", digest=whole))
    assert flow.alerts_of("a")
    assert not flow.alerts_of("b")


def test_text_is_hostile_in_the_role_it_was_read_in():
    flow = flow_of("a", "b", "c", "d")
    role = Basis(kind=BasisKind.VERIFIED, role=".jinja")
    more = {"digest": BAD, "version": "1"}
    flow.saw(
        *held("model:hub/b", "b", "gpu", filename="notes.md", **more),
        *held("model:hub/c", "c", "gpu", filename="chat/other.jinja", **more),
        *held("model:hub/d", "d", "gpu", **more),
    )
    flow.found(finding("template_injection", "a", basis=role))
    assert {view.tenant for view in flow.alerts.values()} == {"a", "c"}


def test_model_role_finding_does_not_reach_installs_of_the_wheel():
    flow = flow_of("mallory", "b", "c")
    built = sighting(
        "model:@b/tuned", "b", "ci", version="1", kind="made", made_from=(f"sha256:{BAD}@package",)
    )
    flow.saw(
        *held(WHEEL, "b", "ci", version="2.9.0", digest=BAD, filename="torch-2.9.0.whl"),
        *held("image:hub/python", "b", "node", version="3", digest=BAD),
        built,
        *held("model:hub/c", "c", "gpu", version="1", digest=BAD, filename="torch-2.9.0.whl"),
    )
    flow.found(finding("embedded_executable", "mallory", "model:hub/mallory"))
    assert {view.tenant for view in flow.alerts.values()} == {"mallory", "c"}
    flow.fact(
        IntelFact(key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x",))
    )
    (alert,) = flow.alerts_of("b")
    reached = {(system.component, system.system) for system in alert.systems}
    assert reached >= {(WHEEL, "ci"), ("image:hub/python", "node"), ("model:@b/tuned", "ci")}


# -- intelligence ----------------------------------------------------------------------------------


def test_facts_on_digests_do_not_spread_by_version():
    fact = IntelFact(
        key=DATA, kind=IntelKind.COMPROMISED, versions=("v4",), digests=(BAD,), sources=("x", "y")
    )
    flow = flow_of("a", "b", "c", "d")
    flow.saw(
        sighting(DATA, "a", "lake", version="v4", digest=BAD),
        sighting(DATA, "b", "lake", version="v4", digest=GOOD, verified=True),
        sighting(DATA, "c", "lake", version="v4", digest=GOOD),
        sighting(DATA, "d", "lake", version="v4"),
    )
    flow.fact(fact)
    bands = {view.tenant: view for view in flow.alerts.values()}
    assert sorted(bands) == ["a", "c", "d"]
    assert [finding.severity for finding in bands["c"].findings] == [Severity.MEDIUM]
    assert not issued(flow, "c")
    for tenant in "ad":
        assert bands[tenant].score.band.rank >= Severity.HIGH.rank


def test_intelligence_through_a_claimed_binding_affects_the_claimant_alone():
    """That a popular revision has a digest which intelligence names, anybody can say."""
    rev = "c" * 40
    flow = flow_of("mallory", "b", "c")
    flow.saw(
        *held("model:huggingface/bigorg/base", "b", "gpu", version=rev, digest=GOOD),
        sighting("model:huggingface/bigorg/base", "c", "gpu", version=rev),
    )
    flow.fact(
        IntelFact(key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x", "y"))
    )
    flow.saw(*held("model:huggingface/bigorg/base", "mallory", "x", 9, version=rev, digest=BAD))
    assert flow.alerts_of("mallory")
    assert not flow.alerts_of("b")
    assert not flow.alerts_of("c")
    assert {command.tenant for command in flow.issued} <= {"mallory"}


def test_a_listed_release_counts_whatever_digest_its_file_has():
    fact = IntelFact(
        key=WHEEL, kind=IntelKind.COMPROMISED, versions=("2.9.0",), digests=(BAD,), sources=("x",)
    )
    flow = flow_of("a")
    flow.saw(*held(WHEEL, "a", "ci", version="2.9.0", digest=GOOD))
    flow.fact(fact)
    (alert,) = flow.alerts_of("a")
    assert alert.score.band.rank >= Severity.HIGH.rank


def test_claimed_digest_of_a_revision_affects_its_tenant_alone():
    flow = flow_of("a", "b")
    flow.saw(
        *held(MODEL, "a", "gpu", version="r2", digest=BAD),
        *held(MODEL, "b", "gpu", version="r2", digest=GOOD),
        sighting("model:hub/tuned", "b", "gpu", version="1", made_from=(f"{MODEL}@r2",)),
    )
    flow.fact(
        IntelFact(key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x",))
    )
    assert {view.tenant for view in flow.alerts.values()} == {"a"}


@pytest.mark.parametrize("late", [False, True])
def test_service_whose_base_nobody_holds_yet_is_tainted(late):
    fact = IntelFact(key=MODEL, kind=IntelKind.COMPROMISED, versions=("r2",), sources=("x", "y"))
    served = sighting(
        "deployment:@a/chat", "a", "cluster", kind="served", made_from=(f"{MODEL}@r2",)
    )
    flow = flow_of("a")
    if late:
        flow.saw(served)
    flow.fact(fact)
    if not late:
        flow.saw(served)
    (alert,) = flow.alerts_of("a")
    assert alert.score.band.rank >= Severity.HIGH.rank
    assert "intelligence (x, y)" in alert.findings[0].known_by
    flow.withdraw(MODEL)
    assert {view.status for view in flow.alerts_of("a")} == {"withdrawn"}


# -- lineage and advice ----------------------------------------------------------------------------


MADE = "7" * 64
CHECKPOINT = "model:hub/bigorg/base"
POISON = IntelFact(key=DATA, kind=IntelKind.COMPROMISED, versions=("v7",), sources=("x", "y"))


def made(tenant, second, minutes=0, digest=MADE, of=f"{DATA}@v7"):
    return held(
        CHECKPOINT,
        tenant,
        "trainer",
        minutes,
        version="1",
        digest=digest,
        kind="made",
        made_from=(of,),
        appended=(second, "runs", 0, second),
    )


def pulled(tenant, second, digest=MADE):
    return (
        *held(
            CHECKPOINT,
            tenant,
            "gpu",
            5,
            version="1",
            digest=digest,
            kind="pulled",
            appended=(second, "runs", 1, second),
        ),
        sighting(
            f"deployment:@{tenant}/chat",
            tenant,
            "cluster",
            6,
            kind="served",
            made_from=(f"sha256:{digest}",),
        ),
    )


def test_lineage_of_a_component_held_earlier_by_others_is_ignored():
    flow = flow_of("a", "b")
    flow.saw(*pulled("b", 1), *made("a", 2))
    flow.fact(POISON)
    assert flow.alerts_of("a")
    assert not flow.alerts_of("b")


def test_lineage_of_the_introducer_advises_holders():
    flow = flow_of("a", "b")
    flow.saw(*made("a", 1), *pulled("b", 2))
    flow.fact(POISON)
    (alert,) = flow.alerts_of("b")
    assert alert.score.band is Severity.MEDIUM
    assert [(command.spec.action, command.state) for command in alert.commands] == [
        ("investigate", "proposed")
    ]
    assert {system.component for system in alert.systems} >= {"deployment:@b/chat"}
    assert not issued(flow, "b")
    assert alert.tasks == ()
    assert alert.other_tenants is None
    (document,) = flow.incidents.values()
    assert document.tenant_count == 1
    flow.withdraw(DATA)
    assert {view.status for view in flow.alerts.values()} == {"withdrawn"}


@pytest.mark.parametrize(
    ("kind", "introduces"),
    [("pulled", False), ("used", False), ("made", True), ("pushed", True), ("served", True)],
)
def test_first_holder_is_introducer_only_if_it_made_or_pushed_it(kind, introduces):
    flow = flow_of("a", "b")
    (by_name, by_digest) = made("a", 1)
    flow.saw(*(msgspec.structs.replace(seen, kind=kind) for seen in (by_name, by_digest)))
    flow.saw(*pulled("b", 2))
    flow.fact(POISON)
    assert flow.alerts_of("a")
    assert bool(flow.alerts_of("b")) is introduces


@pytest.mark.parametrize("known_first", [False, True])
def test_only_the_first_event_of_an_introducer_advises(known_first):
    """What it says of a digest later it could say of any that it was the first to push."""
    flow = flow_of("a", "b")
    if known_first:
        flow.fact(POISON)
    flow.saw(*made("a", 1, of=f"{DATA}@v6"), *made("a", 2, 9))
    if not known_first:
        flow.fact(POISON)
    assert flow.alerts_of("a")
    flow.saw(*pulled("b", 3))
    assert not flow.alerts_of("b")


@pytest.mark.parametrize(
    ("kind", "advises"), [("blocked_source_used", False), ("poisoned_dataset", True)]
)
def test_policy_block_advises_nobody(kind, advises):
    flow = flow_of("a", "b")
    flow.saw(*made("a", 1), *pulled("b", 2))
    flow.found(finding(kind, "a", DATA, digest=None, version="v7", severity=Severity.HIGH))
    assert flow.alerts_of("a")
    assert bool(flow.alerts_of("b")) is advises


def test_advice_can_be_muted():
    flow = flow_of("a", "b")
    flow.policy(msgspec.structs.replace(default_policy("b"), advice=False))
    flow.saw(*made("a", 1), *pulled("b", 2))
    flow.fact(POISON)
    assert flow.alerts_of("a")
    assert not flow.alerts_of("b")


def test_advice_per_introducer_is_bounded():
    """However much one organisation invents, the others' advice and the tenant's own remain."""
    flow = flow_of("mallory", "c", "b")
    count = OF_INTRODUCER + 12
    for number in range(count):
        digest = f"{number:064x}"
        flow.put(
            *made("mallory", number + 1, digest=digest, of=f"{DATA}-{number}@v7"),
            *pulled("b", 1000 + number, digest=digest)[:2],
        )
    flow.put(*made("c", 500), *pulled("b", 2000))
    flow.run()
    for number in range(count):
        flow.fact(msgspec.structs.replace(POISON, key=f"{DATA}-{number}"))
    flow.fact(POISON)
    advised = {view.root for view in flow.alerts_of("b")}
    assert len(advised) == OF_INTRODUCER + 1
    assert DATA in advised
    assert "bound-reached" in {alert.kind for alert in flow.operator.values()}
    # What ends makes room.
    flow.withdraw(next(root for root in sorted(advised) if root != DATA))
    digest = "e" * 64
    flow.saw(
        *made("mallory", 300, digest=digest, of=f"{DATA}-new@v7"),
        *pulled("b", 3000, digest=digest)[:2],
    )
    flow.fact(msgspec.structs.replace(POISON, key=f"{DATA}-new"))
    assert f"{DATA}-new" in {view.root for view in flow.alerts_of("b")}


def test_advice_per_receiver_is_bounded():
    """Organisations that work together reach its quota; one that comes later is still heard."""
    late = 2
    names = [f"m{number}" for number in range(OF_RECEIVER // OF_INTRODUCER + late)]
    flow = flow_of(*names, "b")
    made_by = {
        f"{DATA}-{name}-{number}": (name, f"{place:032x}{number:032x}")
        for place, name in enumerate(names)
        for number in range(OF_INTRODUCER)
    }
    for place, (root, (name, digest)) in enumerate(made_by.items()):
        flow.put(
            *made(name, place + 1, digest=digest, of=f"{root}@v7"),
            *pulled("b", 1000 + place, digest=digest)[:2],
        )
    flow.run()
    for root in made_by:
        flow.fact(msgspec.structs.replace(POISON, key=root))
    advised = {view.root for view in flow.alerts_of("b")}
    assert len(advised) == OF_RECEIVER + late
    assert {made_by[root][0] for root in advised} == set(names)
    assert "bound-reached" in {alert.kind for alert in flow.operator.values()}


def test_advice_takes_no_room_of_what_is_known_in_full():
    flow = flow_of("mallory", "b")
    flow.saw(*pulled("b", 1000))
    sources = tuple(f"{DATA}-{number}@v7" for number in range(30))
    flow.saw(*made("mallory", 1, of=sources[0]))
    flow.saw(
        *held(
            CHECKPOINT, "mallory", "trainer", version="1", digest=MADE, kind="made",
            made_from=sources, appended=(1, "runs", 0, 1),
        )
    )  # fmt: skip
    for number in range(30):
        flow.fact(msgspec.structs.replace(POISON, key=f"{DATA}-{number}"))
    real = [f"model:hub/evil-{number}" for number in range(8)]
    flow.saw(
        sighting(
            "deployment:@b/chat", "b", "cluster", 7, kind="served",
            made_from=tuple(f"{name}@6" for name in real),
        ),
        sighting("service:@b/s", "b", "web", 8, kind="served", made_from=("deployment:@b/chat",)),
    )  # fmt: skip
    for name in real:
        flow.fact(
            IntelFact(key=name, kind=IntelKind.MALICIOUS, versions=("6",), sources=("x", "y"))
        )
    own = [
        view for view in flow.alerts_of("b") if not any(finding.advice for finding in view.findings)
    ]
    assert len(own) == len(real)
    for view in own:
        assert {system.component for system in view.systems} == {
            "deployment:@b/chat",
            "service:@b/s",
        }


def test_advice_does_not_exclude_a_rollback_target():
    flow = flow_of("a", "b")
    flow.saw(
        *made("a", 1),
        *held(CHECKPOINT, "b", "gpu", 5, version="1", digest=MADE),
        *held(CHECKPOINT, "b", "gpu", 9, version="2", digest=BAD, exposure=ExposureLevel.EXECUTED),
    )
    flow.fact(POISON)
    flow.found(finding("malicious_payload", "b", CHECKPOINT, version="2", minutes=10))
    (rollback,) = [
        command for command in flow.issued if (command.tenant, command.action) == ("b", "rollback")
    ]
    assert rollback.rollback_digest == MADE


@pytest.mark.parametrize(("tenant", "band"), [(None, "medium"), ("b", "critical")])
def test_advice_stays_medium_whatever_others_decide(tenant, band):
    flow = flow_of("a", "b")
    flow.saw(*made("a", 1), *pulled("b", 2))
    flow.fact(POISON)
    (alert,) = flow.alerts_of("b")
    decision = Decision(
        id="dec-1",
        incident=alert.incident,
        actor="analyst@op.example",
        decision=DecisionKind.SEVERITY,
        reason="because",
        time=at(500),
        tenant=tenant,
        target="critical",
    )
    flow.decide(decision)
    (alert,) = flow.alerts_of("b")
    assert alert.score.band == band


def test_late_record_yields_the_same_introducer():
    stories = [made("a", 1), made("c", 2, of=f"{DATA}@v6"), pulled("b", 3), pulled("d", 4)]
    ends = set()
    for order in itertools.permutations(stories):
        flow = flow_of("a", "b", "c", "d")
        flow.fact(POISON)
        for story in order:
            flow.saw(*story)
        ends.add(
            tuple(
                sorted(
                    (view.tenant, view.status, view.score.band)
                    for view in flow.alerts.values()
                    if view.status != "withdrawn"
                )
            )
        )
    assert len(ends) == 1
    assert {tenant for tenant, _, _ in ends.pop()} == {"a", "b", "c", "d"}


def test_digest_held_by_k_others_advises_holders_of_another():
    filename = "torch-2.9.0-cp312-linux.whl"
    flow = flow_of("a", "b", "c", "d")
    for tenant, digest in zip("abcd", (GOOD, GOOD, GOOD, BAD), strict=True):
        flow.saw(*held(WHEEL, tenant, "ci", version="2.9.0", digest=digest, filename=filename))
    (alert,) = flow.alerts_of("d")
    assert alert.score.band is Severity.MEDIUM
    assert [command.spec.action for command in alert.commands] == ["investigate"]
    assert not issued(flow, "d")
    assert not [view for tenant in "abc" for view in flow.alerts_of(tenant)]


@pytest.mark.parametrize(
    ("others", "advised"),
    [("xyz", True), ("xy", False), (("x", "y", "y2"), False), (("x", "y", "b2"), False)],
)
@pytest.mark.parametrize("place", [0, 1, -1])
def test_holdings_of_k_others_advise_in_any_order(others, advised, place):
    """Neither two tenants of one organisation nor another of one's own are one more."""
    register = Register({"b": "bank", "b2": "bank", "x": "X", "y": "Y", "y2": "Y", "z": "Z"})
    flow = flow_of("b", register=register)
    filename = "torch-2.9.0-cp312-linux.whl"
    holders = [(tenant, GOOD) for tenant in others]
    holders.insert(place, ("b", BAD))
    for tenant, digest in holders:
        flow.saw(*held(WHEEL, tenant, "ci", version="2.9.0", digest=digest, filename=filename))
    assert bool(flow.alerts_of("b")) is advised
    assert not issued(flow, "b")


@pytest.mark.parametrize("advised_first", [False, True])
def test_advice_keeps_nothing_contained_after_established_facts_end(advised_first):
    filename = "torch-2.9.0-cp312-linux.whl"
    listed = IntelFact(key=WHEEL, kind=IntelKind.MALICIOUS, versions=("2.9.0",), sources=("x", "y"))
    flow = flow_of("d")

    def advise():
        for tenant, digest in zip("abcd", (GOOD, GOOD, GOOD, BAD), strict=True):
            flow.saw(*held(WHEEL, tenant, "ci", version="2.9.0", digest=digest, filename=filename))

    def answer():
        for command in tuple(flow.issued):
            flow.answer(command)

    def quarantined():
        return [
            thing.state
            for (tenant, _), view in flow.holds.items()
            for thing in view.things
            if tenant == "d" and thing.action == "quarantine"
        ]

    if advised_first:
        advise()
    flow.fact(listed)
    if not advised_first:
        advise()
    answer()
    assert quarantined() == ["held"]
    flow.withdraw(WHEEL)
    answer()
    (alert,) = flow.alerts_of("d")
    assert alert.score.band is Severity.MEDIUM
    assert [finding.advice for finding in alert.findings if finding.active] == [True]
    assert "held" not in quarantined()
    flow.fact(listed)
    answer()
    assert quarantined() == ["held"]


# -- counts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("registered", [False, True])
def test_invented_tenants_count_for_nothing_where_organisations_are_registered(registered):
    invented = [f"mallory-{number}" for number in range(5)]
    register = Register({"b": "bank", "mallory": "mallory inc", "c": "bank"})
    flow = flow_of("b", register=register if registered else None)
    filename = "torch-2.9.0-cp312-linux.whl"
    for tenant, digest in [("b", GOOD), *((name, BAD) for name in invented)]:
        flow.saw(*held(WHEEL, tenant, "ci", version="2.9.0", digest=digest, filename=filename))
    assert bool(flow.alerts_of("b")) is not registered
    for tenant in ("b", "c", *invented):
        flow.saw(*held(MODEL, tenant, "gpu", version="r2", digest="c" * 64))
    flow.found(finding("malicious_payload", "b", digest="c" * 64))
    (alert,) = [view for view in flow.alerts_of("b") if view.root == f"sha256:{'c' * 64}"]
    assert alert.other_tenants == (None if registered else 3)
    document = flow.incidents[alert.incident]
    assert document.organisations == (1 if registered else 7)


@pytest.mark.parametrize("registered", [False, True])
def test_invented_tenants_hold_back_no_containment_where_organisations_are_registered(registered):
    register = Register({"b": "bank", "mallory": "mallory inc"})
    flow = flow_of("b", register=register if registered else None)
    invented = [f"mallory-{number}" for number in range(POPULAR_HOLDERS + 1)]
    for tenant in ("b", "mallory", *invented):
        flow.saw(*held(MODEL, tenant, "gpu", version="r2", digest=BAD))
    flow.found(finding("malicious_payload", "b"))
    assert ("quarantine" in issued(flow, "b")) is registered


def test_tenants_invented_before_the_register_do_not_count_after_it():
    """Rows keep what was counted; the register of today says what of it counts."""
    digest = "c" * 64
    flow = flow_of("b")
    for tenant in ("b", *(f"mallory-{number}" for number in range(5))):
        flow.saw(*held(MODEL, tenant, "gpu", version="r2", digest=digest))
    flow.found(finding("malicious_payload", "b", digest=digest))
    (alert,) = flow.alerts_of("b")
    assert alert.other_tenants == 3
    flow.use(Register({"b": "bank", "c": "bank", "d": "dealer"}))
    flow.saw(*held(MODEL, "b", "gpu-2", version="r2", digest=digest))
    (alert,) = flow.alerts_of("b")
    assert alert.other_tenants is None
    assert flow.incidents[alert.incident].organisations == 1
    flow.saw(*held(MODEL, "d", "gpu", version="r2", digest=digest))
    assert flow.incidents[alert.incident].organisations == 2


# -- private names ---------------------------------------------------------------------------------


def test_the_ledger_refuses_anothers_private_names_and_reports_it():
    secret = "model:@globex/models.globex.example/fraud"
    quiet = flow_of("globex")
    probed = flow_of("globex", "mallory")
    own = held(secret, "globex", "gpu", version="r1", digest=GOOD)
    for flow in (quiet, probed):
        flow.saw(*own)
    probed.found(
        finding("malicious_payload", "mallory", secret, version="r1"),
        finding("malicious_payload", "mallory", secret, digest=None, version="r1", rule_id="TW-X"),
    )
    probed.saw(
        *held(secret, "mallory", "x", version="r1", digest=BAD),
        sighting("model:@mallory/x", "mallory", "x", made_from=(f"{secret}@r1",)),
        sighting(secret, "mallory", "x", made_from=("pypi:evil@6",)),
    )
    assert {alert.kind for alert in probed.operator.values()} == {"foreign-key"}
    assert not quiet.operator
    for flow in (quiet, probed):
        flow.fact(
            IntelFact(key="pypi:evil", kind=IntelKind.MALICIOUS, versions=("6",), sources=("x",))
        )
        flow.found(finding("malicious_payload", "globex", secret, version="r1", minutes=9))
    assert [entry.root for entry in probed.alerts_of("globex")] == [
        entry.root for entry in quiet.alerts_of("globex")
    ]
    # What it reads is what it wrote itself, whether or not there is such a model.
    nowhere = flow_of("mallory")
    for flow in (probed, nowhere):
        flow.found(finding("malicious_payload", "mallory", "model:x", version="r1", minutes=20))
    assert [len(entry.systems) for entry in nowhere.alerts_of("mallory")] == [0]
    assert not [system for view in probed.alerts_of("mallory") for system in view.systems]


SECRET = "model:@globex/fraud"
FOREIGN = {
    "an edge from it": Derived(
        key=SECRET, child="model:@mallory/x", tenant="mallory", system="s", event_id="e",
        occurred_at=at(), version="r1", child_version="1",
    ),
    "an edge to it": Derived(
        key="pypi:evil", child=SECRET, tenant="mallory", system="s", event_id="e",
        occurred_at=at(), version="6", child_version="r1",
    ),
    "a taint of it": Taint(
        key=SECRET, incident="inc-1", root="pypi:evil", origin="pypi:evil", path=("pypi:evil",),
        version="r1", active=True, revision=(1, 1), tenant="mallory", basis=claimed("mallory"),
        found=bare_finding(finding("malicious_payload", "mallory", "pypi:evil")),
    ),
    "a finding on it": FindingSeen(
        key=SECRET, incident="inc-1", revision=(1, 1), active=True,
        finding=finding("malicious_payload", "mallory", SECRET, digest=None, version="r1"),
    ),
    "a finding of its publisher": FindingSeen(
        key="model:@mallory/x", incident="inc-1", revision=(1, 1), active=True,
        finding=finding(
            "malicious_payload", "mallory", "model:@mallory/x", digest=None, version="r1",
            publisher="publisher:@globex/team",
        ),
    ),
    "a sighting of its publisher": sighting(
        "model:@mallory/x", "mallory", "s", version="r1", publisher="publisher:@globex/team"
    ),
    "a digest seen as it": sighting(f"sha256:{BAD}", "mallory", "s", digest=BAD, name=SECRET),
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN)
def test_no_message_of_the_ledger_names_anothers_private_component(what):
    flow = flow_of("globex", "mallory")
    flow.saw(*held(SECRET, "globex", "gpu", version="r1", digest=GOOD))
    before = [rows.content() for rows in flow.ledger_rows]
    message = FOREIGN[what]
    key = message.component if isinstance(message, Sighting) else message.key
    flow.send([ledger_message(key, message)])
    assert [alert.kind for alert in flow.operator.values()] == ["foreign-key"]
    assert [rows.content() for rows in flow.ledger_rows] == before
    flow.fact(IntelFact(key="pypi:evil", kind=IntelKind.MALICIOUS, versions=("6",), sources=("x",)))
    assert not flow.alerts_of("globex")
    assert not issued(flow, "globex")


# -- what everybody holds --------------------------------------------------------------------------


@pytest.mark.parametrize("agreed", [False, True])
def test_scan_alone_only_proposes_for_a_popular_component(agreed):
    tenants = [f"t{number}" for number in range(POPULAR_HOLDERS + 1)]
    flow = flow_of(*tenants)
    holders = [message for tenant in tenants for message in held(MODEL, tenant, "gpu", digest=BAD)]
    flow.saw(*holders)
    if agreed:
        flow.fact(
            IntelFact(
                key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x", "y")
            )
        )
    flow.found(finding("malicious_payload", "t0", version=None))
    wanted = {"capture-evidence", "quarantine"} if agreed else {"capture-evidence"}
    for tenant in tenants:
        (alert,) = flow.alerts_of(tenant)
        assert set(issued(flow, tenant)) >= wanted
        assert ("quarantine" in issued(flow, tenant)) is agreed
        assert "quarantine" in {command.spec.action for command in alert.commands}


def modes(flow, tenants):
    """Return by tenant how the commands that take out of use were decided."""
    return {
        tenant: {
            (command.spec.action, command.spec.mode, command.state)
            for command in flow.alerts_of(tenant)[0].commands
            if command.spec.action in {"quarantine", "block"}
        }
        for tenant in tenants
    }


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, 64])
@pytest.mark.parametrize("systems", [(), ("gpu",)])
def test_first_holder_of_a_popular_component_gets_a_proposal_too(batch, systems):
    tenants = [f"t{number}" for number in range(POPULAR_HOLDERS + 1)]
    flow = flow_of(*tenants, batch=batch)
    flow.saw(
        *(sighting for tenant in tenants for sighting in held(MODEL, tenant, "gpu", digest=BAD))
    )
    flow.found(finding("malicious_payload", "t0", version=None, systems=systems))
    proposed = {("quarantine", "proposal", "proposed"), ("block", "proposal", "proposed")}
    assert modes(flow, tenants) == dict.fromkeys(tenants, proposed)
    assert not {"quarantine", "block"} & {spec.action for spec in flow.issued}


def agreeing(*, by_name=False):
    """Return intelligence that agrees with a scan: on the bytes, or on the name and version."""
    if by_name:
        return IntelFact(key=MODEL, kind=IntelKind.MALICIOUS, versions=("r2",), sources=("x", "y"))
    return IntelFact(
        key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, digests=(BAD,), sources=("x", "y")
    )


def held_back(*, by_name=False, late=0.0):
    """Return a flow in which what a scan alone speaks against was proposed, then agreed to."""
    tenants = [f"t{number}" for number in range(POPULAR_HOLDERS + 1)]
    flow = flow_of(*tenants)
    holders = [
        message
        for tenant in tenants
        for message in held(MODEL, tenant, "gpu", version="r2", digest=BAD)
    ]
    flow.saw(*holders)
    flow.found(finding("malicious_payload", "t0"))
    assert not {"quarantine", "block"} & {spec.action for spec in flow.issued}
    if late:
        flow.tick(late)
    flow.fact(agreeing(by_name=by_name))
    return flow, tenants


@pytest.mark.parametrize("late", [0.0, 73 * 60.0], ids=["in time", "after the proposal expired"])
@pytest.mark.parametrize("by_name", [False, True])
def test_proposal_is_issued_once_intelligence_agrees(by_name, late):
    flow, tenants = held_back(by_name=by_name, late=late)
    for tenant in tenants:
        quarantines = [
            spec for spec in flow.issued if (spec.tenant, spec.action) == (tenant, "quarantine")
        ]
        assert [(spec.mode, spec.generation) for spec in quarantines] == [("automatic", 0)]
        # It is the command that was proposed, and its hold has one of it.
        assert quarantines[0].command_id in flow.proposals
        (thing,) = [
            thing
            for thing in flow.holds[tenant, MODEL].things
            if (thing.action, thing.target) == ("quarantine", f"{MODEL}@r2")
        ]
        assert thing.state == "held"
    flow.withdraw(agreeing(by_name=by_name).key)
    # Of one incident the finding of the scan remains, and what was issued stays; the end of an
    # incident of its own ends its reason, the only one that stood.
    assert {spec.tenant for spec in flow.issued if spec.undoes} == (
        set(tenants) if by_name else set()
    )


def test_rejected_command_is_not_issued_when_intelligence_agrees():
    tenants = [f"t{number}" for number in range(POPULAR_HOLDERS + 1)]
    flow = flow_of(*tenants)
    flow.saw(
        *(
            sighting
            for name in tenants
            for sighting in held(MODEL, name, "gpu", version="r2", digest=BAD)
        )
    )
    flow.found(finding("malicious_payload", "t0"))
    (alert,) = flow.alerts_of("t1")
    decide(flow, DecisionKind.REJECT, alert.incident, tenant="t1")
    flow.fact(agreeing())
    assert "quarantine" not in issued(flow, "t1")
    assert "quarantine" in issued(flow, "t2")


def test_manual_action_is_proposed_when_intelligence_agrees():
    tenants = [f"t{number}" for number in range(POPULAR_HOLDERS + 1)]
    flow = flow_of(*tenants)
    flow.policy(default_policy("t1"))
    flow.saw(
        *(
            sighting
            for name in tenants
            for sighting in held(MODEL, name, "gpu", version="r2", digest=BAD)
        )
    )
    flow.found(finding("malicious_payload", "t0"))
    flow.fact(agreeing())
    assert "quarantine" not in issued(flow, "t1")
    assert modes(flow, ["t1"])["t1"] == {
        ("quarantine", "proposal", "proposed"),
        ("block", "proposal", "proposed"),
    }


@pytest.mark.slow
def test_command_issued_before_popularity_stays():
    tenants = [f"t{number}" for number in range(POPULAR_HOLDERS + 3)]
    ends = []
    for batch in (1, 3, 64):
        flow = flow_of(*tenants, batch=batch)
        flow.put(finding("malicious_payload", "t0", version=None))
        flow.put(
            *(sighting for tenant in tenants for sighting in held(MODEL, tenant, "gpu", digest=BAD))
        )
        flow.run()
        issued_for = {
            spec.tenant for spec in flow.issued if spec.action == "quarantine" and not spec.undoes
        }
        ends.append((modes(flow, tenants), issued_for))
        assert not any(spec.undoes for spec in flow.issued)
    assert ends == [ends[0]] * 3
    states, issued_for = ends[0]
    assert issued_for == set(tenants[:POPULAR_HOLDERS])
    automatic = {("quarantine", "automatic", "issued"), ("block", "automatic", "issued")}
    assert states["t0"] == automatic
    assert states[tenants[-1]] == {
        ("quarantine", "proposal", "proposed"),
        ("block", "proposal", "proposed"),
    }


def test_the_order_of_arrival_does_not_decide_what_each_is_sent():
    parts = [
        *part("a", TREE, BAD, "weights.bin"),
        finding("malicious_payload", "a", "model:hub/a", version="1"),
        sighting(TREE, "b", "gpu", digest=TREE[5:], name="model:hub/b"),
        *made("a", 1, of=f"sha256:{BAD}"),
        *pulled("b", 2),
        *pulled("c", 3),
        hostile_by_name("c"),
        *held(MODEL, "b", "gpu", version="r2", digest=GOOD),
    ]
    ends = set()
    for seed in range(12):
        chance = random.Random(seed)
        order = list(parts)
        chance.shuffle(order)
        flow = flow_of("a", "b", "c", shuffle=chance, again=0.2)
        for record in order:
            flow.put(record)
            if chance.random() < 0.5:
                flow.run()
        flow.run()
        ends.add(
            tuple(
                sorted(
                    (view.tenant, view.root, view.score.band, len(view.systems))
                    for view in flow.alerts.values()
                    if view.status != "withdrawn"
                )
            )
        )
    assert len(ends) == 1

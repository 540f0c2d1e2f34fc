"""What a signature under a trust root establishes: for all by the operator's, for its own tenant by
a tenant's."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from agents.domain.basis import affects
from schemas.basis import Basis, BasisKind
from schemas.decisions import Decision, DecisionKind
from schemas.intel import IntelFact, IntelKind
from schemas.policy import default_policy
from schemas.severity import Severity
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import finding, held, sighting

BASE, TUNED, NEXT = ("1" * 64, "2" * 64, "3" * 64)
MODEL = "model:hub/bigorg/tuned"
ON_BASE = IntelFact(
    key=f"sha256:{BASE}", kind=IntelKind.MALICIOUS, digests=(BASE,), sources=("x", "y")
)
OPERATORS = Basis(kind=BasisKind.ATTESTED, by=("builder@bigorg.example",))
TENANTS = Basis(kind=BasisKind.ATTESTED, tenant="b", by=("builder@bigorg.example",))


def flow_of(*tenants):
    flow = Flow()
    for tenant in tenants:
        policy = default_policy(tenant)
        flow.policy(msgspec.structs.replace(policy, automatic=("quarantine",), dry_run=False))
    return flow


def built(*bases, tenant="a", child=TUNED, parent=BASE, second=100):
    """Return that an event carried a statement, signed as `bases` say, on what a file is of."""
    return sighting(
        f"sha256:{child}",
        tenant,
        "hub",
        version="r1",
        digest=child,
        name=MODEL,
        filename="model.bin",
        kind="pushed",
        made_from=(f"sha256:{parent}",),
        attested=bases,
        appended=(second, "events", 0, second),
    )


def holding(tenant, digest=TUNED):
    return held(MODEL, tenant, "gpu", 5, version="r1", digest=digest, filename="model.bin",
                appended=(1, "events", 0, 1))  # fmt: skip


def bands(flow):
    return {
        view.tenant: view.score.band for view in flow.alerts.values() if view.status != "withdrawn"
    }


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_taint_is_full_for_everybody_along_what_the_operators_trust_root_attests(order):
    steps = [
        lambda flow: flow.saw(built(OPERATORS)),
        lambda flow: flow.fact(ON_BASE),
        lambda flow: flow.saw(*holding("b"), *holding("c")),
    ]
    flow = flow_of("b", "c")
    for step in order:
        steps[step](flow)
    got = bands(flow)
    assert {"b", "c"} <= got.keys()
    for tenant in ("b", "c"):
        assert got[tenant].rank >= Severity.HIGH.rank
        assert "quarantine" in {
            command.action for command in flow.issued if command.tenant == tenant
        }
        (alert,) = flow.alerts_of(tenant)
        assert {finding.known_by for finding in alert.findings} == {
            "intelligence (x, y); the lineage by a signature of builder@bigorg.example"
        }
    flow.withdraw(ON_BASE.key)
    assert bands(flow) == {}


def test_a_tenants_trust_root_counts_for_that_tenant_in_anyones_event():
    flow = flow_of("b", "c")
    flow.saw(built(TENANTS, tenant="mallory"), *holding("b"), *holding("c"))
    flow.fact(ON_BASE)
    got = bands(flow)
    assert got["b"].rank >= Severity.HIGH.rank
    assert "c" not in got
    assert "quarantine" not in {command.action for command in flow.issued if command.tenant == "c"}


def test_untrusted_statement_is_a_claim_of_its_tenant():
    flow = flow_of("b", "mallory")
    flow.saw(built(tenant="mallory"), *holding("b"))
    flow.fact(ON_BASE)
    assert "b" not in bands(flow)


def test_a_claim_stays_its_tenants_along_what_is_attested():
    flow = flow_of("b", "c")
    flow.saw(built(OPERATORS), *holding("b"), *holding("c"))
    flow.found(finding("malicious_payload", "b", "model:hub/bigorg/base", digest=BASE, basis=None))
    assert set(bands(flow)) == {"b"}


def test_attested_lineage_carries_taint_over_several_steps():
    flow = flow_of("b")
    flow.saw(
        built(OPERATORS),
        built(OPERATORS, child=NEXT, parent=TUNED),
        *holding("b", NEXT),
    )
    flow.found(finding("malicious_payload", "lab", "model:hub/lab", digest=BASE))
    assert bands(flow)["b"].rank >= Severity.HIGH.rank


def test_advice_does_not_pass_along_attested_lineage():
    """It passes along one's own and introducers' edges alone."""
    flow = flow_of("b", "c")
    data = "dataset:hub/data"
    poison = IntelFact(key=data, kind=IntelKind.COMPROMISED, versions=("v7",), sources=("x", "y"))
    made = held("model:hub/base", "a", "trainer", version="1", digest=BASE, kind="made",
                made_from=(f"{data}@v7",), appended=(1, "runs", 0, 1))  # fmt: skip
    flow.saw(*made, built(OPERATORS), *holding("c"))
    flow.fact(poison)
    assert "c" not in bands(flow)


def test_a_tenants_dismissal_ends_its_own_part_and_the_operators_all():
    """Rule 9, for what is attested."""
    flow = flow_of("b", "c")
    flow.saw(built(OPERATORS), *holding("b"), *holding("c"))
    flow.fact(ON_BASE)
    (alert,) = flow.alerts_of("b")

    def dismiss(tenant):
        flow.decide(
            Decision(
                id=f"dec-{tenant}",
                incident=alert.incident,
                actor="x@x",
                decision=DecisionKind.FALSE_POSITIVE,
                reason="seen",
                time=at(900),
                tenant=tenant,
            )
        )

    dismiss("b")
    assert flow.alerts_of("b")[0].status == "false-positive"
    assert flow.alerts_of("c")[0].status == "new"
    dismiss(None)
    flow.saw(*holding("d"))
    assert not [view for view in flow.alerts_of("d") if view.status == "new"]


def test_attestation_affects_holders_by_trust_root():
    assert affects(OPERATORS, "anybody")
    assert affects(TENANTS, "b")
    assert not affects(TENANTS, "c")


# -- bindings --------------------------------------------------------------------------------------


def bound(*bases, tenant="lab", name=MODEL, digest=BASE):
    """Return that a signature names a version with the digest of a file."""
    return sighting(
        f"sha256:{digest}",
        tenant,
        "hub",
        version="v1.0",
        digest=digest,
        name=name,
        kind="pushed",
        bound_by=bases,
    )


def naming(tenant, name=MODEL, version="v1.0", **more):
    return sighting(name, tenant, "gpu", 5, version=version, kind="used", **more)


@pytest.mark.parametrize("late", [False, True])
def test_a_signed_version_carries_what_is_known_of_its_digest_to_who_names_it(late):
    flow = flow_of("b", "c")
    holders = [
        naming("b"),
        naming("c", version="v2.0"),
        naming("d", digest=TUNED, verified=True),
    ]
    bad = finding("malicious_payload", "lab", "model:hub/lab", digest=BASE)
    if late:
        flow.found(bad)
        flow.saw(*holders)
    flow.saw(bound(OPERATORS))
    if not late:
        flow.saw(*holders)
        flow.found(bad)
    assert flow.alerts_of("b")[0].score.band.rank >= Severity.HIGH.rank
    assert not flow.alerts_of("c")
    assert not flow.alerts_of("d"), "Tidewatch read its bytes: they are others"


def test_a_version_that_only_a_tenants_root_signed_is_bound_for_that_tenant():
    flow = flow_of("b", "c")
    flow.saw(bound(TENANTS, tenant="mallory"), naming("b"), naming("c"))
    flow.found(finding("malicious_payload", "lab", "model:hub/lab", digest=BASE))
    assert flow.alerts_of("b")
    assert not flow.alerts_of("c")


def test_no_signature_speaks_of_anothers_private_name():
    flow = flow_of("b", "c")
    secret = "model:@c/secret"
    flow.saw(
        bound(OPERATORS, TENANTS, tenant="mallory", name=secret),
        bound(OPERATORS, tenant="mallory", name="model:@mallory/secret"),
        naming("c", secret),
    )
    flow.found(finding("malicious_payload", "lab", "model:hub/lab", digest=BASE))
    assert not flow.alerts_of("b")
    assert not flow.alerts_of("c")
    assert "foreign-key" in {alert.kind for alert in flow.operator.values()}


# -- files of packages -----------------------------------------------------------------------------

WHEEL, FILE = "pypi:torch", "torch-2.9.0-py3-none-any.whl"


def wheel(tenant, digest, *bases):
    return sighting(
        WHEEL, tenant, "ci", version="2.9.0", digest=digest, filename=FILE, kind="installed",
        bound_by=bases,
    )  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_holder_of_another_file_than_the_signed_one_is_alerted_in_full(order):
    """Without a signature it takes k others, and advises."""
    inputs = [wheel("a", BASE, OPERATORS), wheel("b", TUNED), wheel("c", BASE)]
    flow = flow_of("a", "b", "c")
    for index in order:
        flow.saw(inputs[index])
    (alert,) = flow.alerts_of("b")
    (found,) = alert.findings
    assert found.severity.rank >= Severity.HIGH.rank
    assert not found.advice
    assert found.known_by == "a signature of builder@bigorg.example"
    assert not flow.alerts_of("a")
    assert not flow.alerts_of("c")


def test_signature_turns_advice_into_a_full_alert():
    flow = flow_of(*"abcd")
    flow.saw(*(wheel(tenant, BASE) for tenant in "abc"), wheel("d", TUNED))
    assert flow.alerts_of("d")[0].findings[0].advice
    flow.saw(wheel("e", BASE, OPERATORS))
    (found,) = flow.alerts_of("d")[0].findings
    assert not found.advice
    assert found.severity.rank >= Severity.HIGH.rank


def test_a_file_that_a_tenants_trust_root_signed_counts_for_that_tenant():
    flow = flow_of("b", "c")
    flow.saw(wheel("mallory", BASE, TENANTS), wheel("b", TUNED), wheel("c", TUNED))
    assert flow.alerts_of("b")
    assert not flow.alerts_of("c")


def test_two_signed_files_of_a_name_are_each_what_they_should_be():
    flow = flow_of("a", "b")
    flow.saw(wheel("a", BASE, OPERATORS), wheel("b", TUNED, OPERATORS))
    assert not flow.alerts


# -- publishers ------------------------------------------------------------------------------------

PUBLISHER = "publisher:hub/acme"


def hostile(number, tenant, *bases, **more):
    """Return what a scan found in a component of the publisher."""
    name = more.pop("name", f"model:hub/acme/m{number}")
    return msgspec.structs.replace(
        finding("malicious_payload", tenant, name, digest=f"{number:064x}", minutes=number,
                publisher=PUBLISHER, **more),
        publisher_attested=bases,
    )  # fmt: skip


def campaigns(flow):
    return {view.tenant for view in flow.alerts.values() if view.root == PUBLISHER}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_scans_of_what_an_attested_publisher_signed_are_counted_in_every_tenant(order):
    """And a campaign is reported to holders of a component of the publisher."""
    inputs = [hostile(0, "a", OPERATORS), hostile(1, "a", OPERATORS), hostile(2, "b")]
    flow = flow_of("a", "b", "c")
    for index in order:
        flow.found(inputs[index])
    assert campaigns(flow) == {"b"}
    (alert,) = [view for view in flow.alerts_of("b") if view.root == PUBLISHER]
    reported = msgspec.json.encode(alert).decode()
    assert "acme/m2" in reported
    assert "acme/m0" not in reported


def test_a_publisher_that_only_a_tenant_trusts_is_counted_in_that_tenant():
    flow = flow_of("a", "b", "c")
    flow.found(*(hostile(number, "a", TENANTS) for number in range(2)), hostile(2, "b"))
    flow.found(hostile(3, "c"))
    assert campaigns(flow) == {"b"}


@pytest.mark.parametrize(
    "more", [{"basis": None}, {"name": "model:@a/m"}], ids=["a claim", "a private name"]
)
def test_other_findings_count_for_their_tenant_alone(more):
    flow = flow_of("a", "b")
    flow.found(
        *(
            hostile(
                number,
                "a",
                OPERATORS,
                **{**more, "name": f"{more.get('name', 'model:hub/acme/m')}{number}"},
            )
            for number in range(2)
        ),
        hostile(2, "b"),
    )
    assert not campaigns(flow)

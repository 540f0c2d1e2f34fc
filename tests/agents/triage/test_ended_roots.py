"""What a trust root attested ends when it is removed, and begins again when it is added again."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from agents.triage.ledger import standing_roots
from agents.triage.ledger.rows import KEEP_DAYS, PAGE, ROOT_USE
from agents.triage.store import row_key
from schemas.basis import Basis, BasisKind
from schemas.policy import default_policy
from schemas.severity import Severity
from tests.agents.triage import test_attested as stories
from tests.agents.triage.flow import Flow
from tests.agents.triage.stories import finding
from tests.agents.triage.test_attested import (
    BASE,
    NEXT,
    ON_BASE,
    PUBLISHER,
    TUNED,
    bands,
    bound,
    built,
    campaigns,
    holding,
    hostile,
    naming,
    wheel,
)

ROOT, OTHER, OF_B = "1" * 24, "2" * 24, "b" * 24
SIGNED = Basis(kind=BasisKind.ATTESTED, by=("builder@bigorg.example",), roots=(ROOT,))
AGAIN = Basis(kind=BasisKind.ATTESTED, by=("second@bigorg.example",), roots=(OTHER,))
BS = Basis(kind=BasisKind.ATTESTED, tenant="b", by=("builder@bigorg.example",), roots=(OF_B,))


def flow_of(*tenants, **options):
    flow = Flow(**options)
    for tenant in tenants:
        policy = default_policy(tenant)
        flow.policy(msgspec.structs.replace(policy, automatic=("quarantine",), dry_run=False))
    return flow


def remove(flow, *roots):
    flow.removed_roots |= {*roots}
    flow.tick(minutes=6)


def add(flow, *roots):
    flow.removed_roots -= {*roots}
    flow.tick(minutes=6)


def contained(flow, tenant):
    """Return what is quarantined, as the holds say."""
    return [
        thing.target
        for (whose, _), view in flow.holds.items()
        for thing in view.things
        if whose == tenant and thing.action == "quarantine" and thing.state == "held"
    ]


# -- lineage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_lineage_ends_with_its_root_in_any_order(order):
    steps = [
        lambda flow: flow.saw(built(SIGNED)),
        lambda flow: flow.fact(ON_BASE),
        lambda flow: flow.saw(*holding("b"), *holding("c")),
        lambda flow: remove(flow, ROOT),
    ]
    flow = flow_of("b", "c")
    for step in order:
        steps[step](flow)
    assert bands(flow) == {}
    add(flow, ROOT)
    assert {"b", "c"} <= bands(flow).keys()
    assert bands(flow)["b"].rank >= Severity.HIGH.rank


def test_removed_root_releases_containment():
    flow = flow_of("b")
    flow.saw(built(SIGNED), *holding("b"))
    flow.fact(ON_BASE)
    for command in tuple(flow.issued):
        flow.answer(command)
    assert contained(flow, "b")
    remove(flow, ROOT)
    for command in tuple(flow.issued):
        flow.answer(command)
    assert not contained(flow, "b")


def test_a_fact_that_changes_while_the_root_is_removed_is_known_when_it_returns():
    flow = flow_of("b")
    flow.saw(built(SIGNED), *holding("b"))
    flow.fact(ON_BASE)
    remove(flow, ROOT)
    flow.withdraw(ON_BASE.key)
    add(flow, ROOT)
    assert bands(flow) == {}
    flow.fact(ON_BASE)
    assert "b" in bands(flow)


def test_attestation_of_two_roots_ends_with_the_second():
    flow = flow_of("b")
    flow.saw(built(SIGNED, AGAIN), *holding("b"))
    flow.fact(ON_BASE)
    remove(flow, ROOT)
    assert "b" in bands(flow)
    remove(flow, OTHER)
    assert bands(flow) == {}


def test_path_over_two_roots_ends_with_either():
    flow = flow_of("b")
    flow.saw(built(SIGNED), built(AGAIN, child=NEXT, parent=TUNED), *holding("b", NEXT))
    flow.fact(ON_BASE)
    for root in (ROOT, OTHER):
        assert "b" in bands(flow)
        remove(flow, root)
        assert "b" not in bands(flow)
        add(flow, root)
    assert "b" in bands(flow)


def test_a_tenants_root_ends_for_that_tenant_and_its_own_claim_stays():
    flow = flow_of("b", "c")
    flow.saw(built(BS, tenant="mallory"), *holding("b"))
    flow.saw(built(SIGNED), *holding("c"))
    flow.fact(ON_BASE)
    remove(flow, OF_B, ROOT)
    assert bands(flow) == {}
    flow.saw(built(tenant="b"))
    assert set(bands(flow)) == {"b"}


def test_the_end_of_a_root_that_others_do_not_rest_on_changes_nothing():
    flow = flow_of("b")
    flow.saw(built(SIGNED), *holding("b"))
    flow.fact(ON_BASE)
    before = len(flow.sent)
    remove(flow, "f" * 24)
    assert len(flow.sent) == before
    assert "b" in bands(flow)


def test_a_statement_without_a_root_of_an_earlier_version_stays():
    flow = flow_of("b")
    flow.saw(built(stories.OPERATORS), *holding("b"))
    flow.fact(ON_BASE)
    remove(flow, ROOT)
    assert "b" in bands(flow)


def test_a_statement_that_is_seen_again_under_another_root_counts():
    """The same push, after the operator gave the signer another namespace."""
    flow = flow_of("b")
    flow.saw(built(SIGNED), *holding("b"))
    flow.fact(ON_BASE)
    remove(flow, ROOT)
    flow.saw(built(msgspec.structs.replace(SIGNED, roots=(OTHER,))))
    assert "b" in bands(flow)


@pytest.mark.parametrize("seed", range(12))
def test_any_order_and_repetition_ends_the_same(seed):
    """With the roots that stand at the end, as if the others had never been there."""
    chance = random.Random(seed)
    roots = [ROOT, OTHER, OF_B]
    removed = set(chance.sample(roots, chance.randrange(4)))
    reported = [
        built(SIGNED),
        built(AGAIN, child=NEXT, parent=TUNED),
        built(BS, tenant="mallory", child=NEXT, parent=BASE),
        *holding("b"),
        *holding("b", NEXT),
        *holding("c", NEXT),
        bound(AGAIN, name="model:hub/bigorg/base"),
        naming("c", name="model:hub/bigorg/base"),
    ]

    def end(*, turns):
        flow = flow_of("b", "c", shuffle=random.Random(seed), again=0.3, batch=3)
        steps = [*reported, ON_BASE]
        chance.shuffle(steps)
        for step in steps:
            if turns and chance.random() < 0.5:
                change = chance.choice(roots)
                flow.removed_roots ^= {change}
                flow.tick(minutes=6)
            flow.put(step)
            if chance.random() < 0.5:
                flow.run()
        flow.run()
        flow.removed_roots = removed
        flow.tick(minutes=6)
        return bands(flow)

    assert end(turns=True) == end(turns=False)


# -- bindings --------------------------------------------------------------------------------------


def test_a_bound_version_ends_with_its_root():
    flow = flow_of("b")
    flow.saw(bound(SIGNED), naming("b"))
    flow.found(finding("malicious_payload", "lab", "model:hub/lab", digest=BASE))
    assert "b" in bands(flow)
    remove(flow, ROOT)
    assert "b" not in bands(flow)
    add(flow, ROOT)
    assert "b" in bands(flow)


# -- files of packages -----------------------------------------------------------------------------


def test_a_signed_files_digest_ends_with_its_root():
    flow = flow_of("a", "b")
    flow.saw(wheel("a", BASE, SIGNED), wheel("b", TUNED))
    assert bands(flow)["b"].rank >= Severity.HIGH.rank
    remove(flow, ROOT)
    assert "b" not in bands(flow)
    add(flow, ROOT)
    assert bands(flow)["b"].rank >= Severity.HIGH.rank


def test_without_the_root_holdings_of_k_others_advise_again():
    flow = flow_of(*"abcd")
    flow.saw(*(wheel(tenant, BASE) for tenant in "abc"), wheel("d", TUNED))
    flow.saw(wheel("e", BASE, SIGNED))
    assert not flow.alerts_of("d")[0].findings[0].advice
    for command in tuple(flow.issued):
        flow.answer(command)
    assert contained(flow, "d")
    remove(flow, ROOT)
    (found,) = flow.alerts_of("d")[0].findings
    assert found.advice
    assert found.severity is Severity.MEDIUM
    for command in tuple(flow.issued):
        flow.answer(command)
    assert not contained(flow, "d")


# -- publishers ------------------------------------------------------------------------------------


def test_a_campaign_ends_with_the_root_that_spoke_for_the_publisher():
    flow = flow_of("a", "b")
    flow.found(hostile(0, "a", SIGNED), hostile(1, "a", SIGNED), hostile(2, "b"))
    assert campaigns(flow) == {"b"}

    def open_campaigns():
        return {
            view.tenant
            for view in flow.alerts.values()
            if view.root == PUBLISHER and view.status != "withdrawn"
        }

    remove(flow, ROOT)
    assert open_campaigns() == set()
    add(flow, ROOT)
    assert open_campaigns() == {"b"}


def test_a_campaign_of_ones_own_findings_stays():
    flow = flow_of("b")
    flow.found(hostile(0, "b", SIGNED), hostile(1, "b", SIGNED), hostile(2, "b"))
    remove(flow, ROOT)
    assert {view.status for view in flow.alerts_of("b") if view.root == PUBLISHER} == {"new"}


# -- many ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_more_than_a_page_of_components_ends():
    flow = flow_of("b")
    digests = [f"{number:064x}" for number in range(10, 10 + 2 * PAGE + 9)]
    flow.put(*(built(SIGNED, child=digest) for digest in digests))
    for digest in digests:
        flow.put(*holding("b", digest))
    flow.run()
    flow.fact(ON_BASE)
    assert "b" in bands(flow)
    remove(flow, ROOT)
    assert "b" not in bands(flow)


def test_root_is_forgotten_once_its_facts_expired():
    flow = flow_of("b")
    flow.saw(built(SIGNED), *holding("b"), wheel("b", BASE, SIGNED))
    flow.found(hostile(0, "a", SIGNED))
    flow.fact(ON_BASE)
    flow.withdraw(ON_BASE.key)

    def kept(kind):
        return [key for rows in flow.ledger_rows for key, _ in rows.scan(kind, limit=99, after="")]

    uses = row_key(ROOT_USE, ROOT)
    assert kept(uses)
    for _ in range(3):
        flow.tick(minutes=(KEEP_DAYS + 31) * 24 * 60)
    left = {key for key in kept(uses) if "publisher" not in key}
    assert not left, "a publisher has no sightings, and stays"


def test_very_many_roots_are_looked_at_over_several_ticks(monkeypatch):
    monkeypatch.setattr(standing_roots, "SCAN", 2)
    flow = flow_of("b")
    roots = [f"{number:024x}" for number in range(20)]
    for root in roots:
        signed = msgspec.structs.replace(SIGNED, roots=(root,))
        flow.saw(built(signed, child=f"{int(root, 16):064x}"))
    flow.saw(built(SIGNED), *holding("b"))
    flow.fact(ON_BASE)
    flow.removed_roots |= {*roots, ROOT}
    ticks = 0
    while "b" in bands(flow):
        ticks += 1
        assert ticks < 20
        flow.tick(minutes=6)
    assert ticks > 1

"""Correlation as documented: each threshold reported once, windows, absence; in any order."""

from __future__ import annotations

import random
from datetime import timedelta

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.channels import Channel
from schemas.incidents.updates import IncidentMessage, Prevalence
from tests.agents.triage.flow import Flow, at
from tests.agents.triage.stories import MODEL, finding, sighting
from tests.depth import examples

DAY = 24 * 60


def pushed(number, minutes, signed, **more):
    return sighting(
        MODEL,
        "a",
        more.pop("system", "hub"),
        minutes,
        version=f"r{number}",
        digest=f"{number:064x}",
        kind="pushed",
        signed=signed,
        **more,
    )


def verdict(flow, kind="signature_absent"):
    """Return what the indicators say of one kind in the end."""
    return {
        (indicator.tenant, indicator.event_id, indicator.evidence.get("signed_before"))
        for indicator in flow.iocs.values()
        if indicator.ioc_type == kind and indicator.status == "active"
    }


def after(inputs, seed=None, batch=64):
    flow = Flow(batch=batch)
    inputs = list(inputs)
    if seed is not None:
        random.Random(seed).shuffle(inputs)
    for input_ in inputs:
        flow.put(input_)
        if batch == 1:
            flow.run()
    flow.run()
    return flow


# -- absence ---------------------------------------------------------------------------------------


def expected_absence(pushes, minimum=3):
    """Say by the rule's own words what holds of `(minute, signed)` pushes of different versions."""
    for signed, (minute, is_signed) in enumerate(sorted(pushes)):
        if not is_signed:
            return {minute} if signed >= minimum else set()
    return set()


@settings(max_examples=examples(30), deadline=None)
@given(
    pushes=st.lists(
        st.tuples(st.integers(0, 500), st.booleans()),
        min_size=1,
        max_size=9,
        unique_by=lambda one: one[0],
    ),
    seed=st.integers(0, 2**16),
    batch=st.sampled_from([1, 64]),
)
def test_a_missing_signature_is_judged_by_event_time_whatever_arrives_first(pushes, seed, batch):
    events = [pushed(minute, minute, signed) for minute, signed in pushes]
    flow = after(events, seed, batch)
    found = {event for _, event, _ in verdict(flow)}
    by_event = {pair.event_id: minute for pair, (minute, _) in zip(events, pushes, strict=True)}
    assert {by_event[event] for event in found} == expected_absence(pushes)


def test_a_late_unsigned_push_withdraws_the_finding():
    flow = Flow()
    flow.saw(*(pushed(number, number, signed=True) for number in range(1, 5)))
    flow.saw(pushed(9, 9, signed=False))
    assert len(verdict(flow)) == 1
    (view,) = flow.alerts_of("a")
    assert view.status == "new"
    flow.saw(pushed(0, 0, signed=False))
    assert not verdict(flow)
    assert flow.alerts_of("a")[0].status == "withdrawn"


def test_the_first_push_without_a_signature_is_found_after_hundreds_with_one():
    flow = Flow()
    flow.saw(*(pushed(number, number, signed=True) for number in range(300)))
    flow.saw(pushed(400, 400, signed=False))
    assert len(verdict(flow)) == 1


# -- thresholds ------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=examples(2), deadline=None)
@given(tenants=st.integers(1, 40), seed=st.integers(0, 2**16), batch=st.sampled_from([1, 7, 64]))
@example(tenants=10, seed=1, batch=1)
@example(tenants=30, seed=2, batch=7)
@example(tenants=31, seed=3, batch=64)
def test_each_reached_threshold_of_tenants_is_reported(tenants, seed, batch):
    inputs = [
        finding("malicious_payload", f"t{number}", minutes=number) for number in range(tenants)
    ]
    flow = after([*inputs, *inputs[: tenants // 2]], seed, batch)
    reported = [
        message
        for message in (
            msgspec.json.decode(record.value, type=IncidentMessage)
            for record in flow.sent
            if record.channel is Channel.INCIDENT_UPDATES
        )
        if isinstance(message, Prevalence)
    ]
    assert {entry.threshold for entry in reported} == {
        count for count in (3, 10, 30) if count <= tenants
    }
    reached = max((count for count in (3, 10, 30) if count < tenants), default=None)
    assert {view.other_tenants for view in flow.alerts.values()} == {reached}
    pattern = {view.pattern for view in flow.alerts.values()}
    assert pattern == {"isolated" if reached is None else "pattern"}
    assert all(view.pattern_why for view in flow.alerts.values())


@pytest.mark.slow
def test_reached_threshold_updates_an_alert_once():
    flow = Flow()
    for number in range(35):
        flow.found(finding("malicious_payload", f"t{number}", minutes=number))
    (views,) = [many for many in flow.history.values() if many[0].tenant == "t0"]
    counts = [view.other_tenants for view in views]
    assert sorted({count for count in counts if count}) == [3, 10, 30]
    changes = [now for was, now in zip([None, *counts], counts, strict=False) if was != now]
    assert changes == [3, 10, 30]


# -- combinations ----------------------------------------------------------------------------------


def steps(gaps, order=("publisher_change", "dangerous_serialization", "domain_change")):
    """Return findings of one component, so many hours after each other."""
    moment, made = 0.0, []
    for kind, gap in zip(order, (0.0, *gaps), strict=True):
        moment += gap * 60
        made.append(finding(kind, "a", digest=None, version=None, minutes=moment, locator=kind))
    return made


@settings(max_examples=examples(20), deadline=None)
@given(
    first=st.floats(0.1, 200),
    second=st.floats(0.1, 200),
    seed=st.integers(0, 2**16),
    batch=st.sampled_from([1, 64]),
)
def test_an_ordered_combination_is_found_within_its_window_only(first, second, seed, batch):
    flow = after(steps((first, second)), seed, batch)
    span = timedelta(hours=first) + timedelta(hours=second)
    kinds = {indicator.rule_id for indicator in flow.iocs.values()}
    if abs(span - timedelta(hours=168)) > timedelta(minutes=1):
        assert ("TW-LEDGER-TAKEOVER" in kinds) == (span <= timedelta(hours=168))


@pytest.mark.parametrize("seed", range(6))
def test_ordered_combination_needs_its_order(seed):
    order = ("domain_change", "dangerous_serialization", "publisher_change")
    flow = after(steps((5, 5), order), seed)
    assert "TW-LEDGER-TAKEOVER" not in {indicator.rule_id for indicator in flow.iocs.values()}


@settings(max_examples=examples(15), deadline=None)
@given(gap=st.floats(0.1, 150), swapped=st.booleans(), seed=st.integers(0, 99))
def test_an_unordered_combination_is_found_either_way_round(gap, swapped, seed):
    order = ("publisher_change", "signature_absent")
    flow = after(steps((gap,), tuple(reversed(order)) if swapped else order), seed)
    kinds = {indicator.rule_id for indicator in flow.iocs.values()}
    if abs(gap - 72) > 0.1:
        assert ("TW-LEDGER-UNSIGNED-TAKEOVER" in kinds) == (gap <= 72)


# -- publisher, domain -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_findings_about_one_publisher_or_domain_are_linked(seed):
    inputs = [
        finding(
            "malicious_payload",
            "a",
            f"model:hub/x/m{number}",
            digest=f"{number:064x}",
            publisher="publisher:hub/x",
            minutes=number,
        )
        for number in range(2)
    ]
    inputs += [
        finding("blocked_source_used", tenant, "domain:cdn.example", digest=None, version=None)
        for tenant in ("a", "b", "c")
    ]
    flow = after(inputs, seed)
    by_root = {incident.root: incident for incident in flow.incidents.values()}
    assert by_root[f"sha256:{0:064x}"].related == (by_root[f"sha256:{1:064x}"].id,)
    assert by_root["domain:cdn.example"].tenant_count == 3
    assert by_root["domain:cdn.example"].pattern == "pattern"


def test_a_first_sighting_anywhere_is_the_earliest_whatever_arrives_first():
    seen = [sighting(MODEL, tenant, "hub", minutes, version="r1")
            for tenant, minutes in (("a", 50), ("b", 10), ("c", 30))]  # fmt: skip
    firsts = set()
    for seed in range(6):
        flow = after([*seen, finding("malicious_payload", "b", minutes=60, digest=None,
                                     version="r1")], seed)  # fmt: skip
        (incident,) = flow.incidents.values()
        firsts.add(min(system.since for system in incident.systems))
    assert firsts == {at(10)}

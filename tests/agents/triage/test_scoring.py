"""The score: worked values, monotone in every input, floors, bands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.triage.scoring import (
    EXPOSURES,
    FLOOR_SEVERE,
    RECOVERY,
    Evidence,
    confirmed,
    decided_score,
    evidence_of,
    score,
)
from schemas.severity import ExposureLevel, Severity, band, band_limits
from schemas.taxonomy import taxonomy
from tests.agents.triage.stories import finding

KINDS = sorted(taxonomy().ioc_types)
EXPOSED = sorted(EXPOSURES, key=EXPOSURES.__getitem__)
RECOVERED = sorted(RECOVERY, key=RECOVERY.__getitem__)

evidence = st.builds(
    Evidence,
    kind=st.sampled_from(KINDS),
    base=st.floats(0, 100),
    confidence=st.floats(0, 1),
    severity=st.sampled_from(list(Severity)),
)
inputs = st.fixed_dictionaries(
    {
        "evidence": st.lists(evidence, max_size=5),
        "affected": st.integers(0, 10_000),
        "exposure": st.integers(0, len(EXPOSED) - 1),
        "tenants": st.integers(0, 100),
        "criticality": st.floats(0, 1),
        "recovery": st.integers(0, len(RECOVERED) - 1),
    }
)


def computed(one):
    return score(
        one["evidence"],
        affected=one["affected"],
        exposure=EXPOSED[one["exposure"]],
        tenants=one["tenants"],
        criticality=one["criticality"],
        recovery=RECOVERED[one["recovery"]],
    )


def value(one):
    return computed(one).value


@given(inputs, st.data())
def test_score_is_monotone_in_every_input(one, data):
    more = dict(one)
    more["affected"] += data.draw(st.integers(0, 100))
    more["exposure"] = data.draw(st.integers(one["exposure"], len(EXPOSED) - 1))
    more["tenants"] += data.draw(st.integers(0, 10))
    more["criticality"] = data.draw(st.floats(one["criticality"], 1))
    more["recovery"] = data.draw(st.integers(one["recovery"], len(RECOVERED) - 1))
    more["evidence"] = [
        Evidence(
            kind=item.kind,
            base=data.draw(st.floats(item.base, 100)),
            confidence=data.draw(st.floats(item.confidence, 1)),
            severity=data.draw(
                st.sampled_from([s for s in Severity if s.rank >= item.severity.rank])
            ),
        )
        for item in one["evidence"]
    ] + data.draw(st.lists(evidence, max_size=2))
    assert value(more) >= value(one)


@given(inputs)
def test_a_score_is_explained_by_its_terms(one):
    result = score(
        one["evidence"],
        affected=one["affected"],
        exposure=EXPOSED[one["exposure"]],
        tenants=one["tenants"],
        criticality=one["criticality"],
        recovery=RECOVERED[one["recovery"]],
    )
    assert 0 <= result.value <= 100
    assert result.band is band(result.value)
    assert sum(term.points for term in result.terms) == pytest.approx(result.value, abs=0.6)
    assert all(term.why for term in result.terms)


def malicious(**more):
    arguments = {"affected": 0, "exposure": ExposureLevel.STAGED, "tenants": 1, "criticality": 0.5}
    arguments |= {"recovery": "none"} | more
    return score([evidence_of(finding("malicious_payload", "a"))], **arguments)


def test_a_confirmed_payload_is_high_and_critical_once_it_ran():
    assert malicious().value == 60
    assert malicious().band is Severity.HIGH
    assert malicious(exposure=ExposureLevel.EXECUTED, affected=1).value == 80
    assert (
        malicious(exposure=ExposureLevel.SERVING, affected=7, tenants=3).band is Severity.CRITICAL
    )


def test_hygiene_never_becomes_critical_by_fan_out():
    unpinned = evidence_of(
        finding("unpinned_dependency", "a", digest=None, severity=Severity.LOW, confidence=1.0)
    )
    wide = score(
        [unpinned],
        affected=100_000,
        exposure=ExposureLevel.SERVING,
        tenants=1000,
        criticality=1.0,
        recovery="none",
    )
    assert wide.band.rank <= Severity.LOW.rank


def test_a_doubtful_finding_is_not_confirmed():
    assert not confirmed(evidence_of(finding("malicious_payload", "a", confidence=0.5)))
    assert confirmed(evidence_of(finding("malicious_payload", "a", confidence=0.9)))


def test_kinds_count_once_each():
    twice = [evidence_of(finding("possible_typosquat", "a", digest=None))] * 2
    once = twice[:1]
    same = {"affected": 1, "exposure": ExposureLevel.DELIVERED, "tenants": 1, "criticality": None}
    assert score(twice, recovery="none", **same).value == score(once, recovery="none", **same).value


def test_severe_and_confident_finding_is_never_low():
    alone = {"affected": 1, "exposure": ExposureLevel.DELIVERED, "tenants": 1, "criticality": 0.0}
    sure = evidence_of(finding("publisher_change", "a", severity=Severity.HIGH, confidence=0.75))
    doubtful = evidence_of(finding("publisher_change", "a", severity=Severity.HIGH, confidence=0.6))
    assert score([sure], recovery="clean rollback", **alone).band is Severity.MEDIUM
    assert score([doubtful], recovery="clean rollback", **alone).value < FLOOR_SEVERE


@given(inputs, st.sampled_from(list(Severity)))
def test_a_decided_score_is_in_its_band_and_the_nearest_to_the_computed_one(one, severity):
    before = computed(one)
    after = decided_score(before, severity, "set by the tenant")
    low, high = band_limits(severity)
    assert low <= after.value <= high
    assert band(after.value) is after.band is severity
    assert (after.value == before.value) == (before.band is severity)
    assert after.value in {before.value, low, high}
    assert after.terms[:-1] == before.terms
    rounding = 0.5 + 0.01 * len(after.terms)
    assert abs(sum(term.points for term in after.terms) - after.value) <= rounding


def test_the_limits_of_the_bands_meet():
    limits = [band_limits(severity) for severity in Severity]
    assert [low for low, _ in limits] == [0, *(high + 1 for _, high in limits[:-1])]
    assert limits[-1][1] == 100


def test_the_terms_are_in_words():
    """Names of kinds and of enumerations are for programs."""
    kind = "malicious_payload"
    payload = Evidence(kind=kind, base=95, confidence=0.9, severity=Severity.CRITICAL)
    for recovery in RECOVERED:
        whole = score(
            [payload],
            affected=1,
            exposure=ExposureLevel.SERVING,
            tenants=1,
            criticality=None,
            recovery=recovery,
        )
        why = {term.name: term.why for term in whole.terms}
        assert why["indicators"] == "kinds of indicator: malicious payload"
        assert why["recoverability"].endswith(("to go back to", "without a signature"))

"""The severity of an incident: a score from 0 to 100, explained term by term.

`100·I·(0.40 + 0.60·(0.35·B + 0.25·E + 0.15·T + 0.15·C + 0.10·R))`, shaped after CISA's National
Cyber Incident Scoring System, with correlation across tenants added. I multiplies everything, so
hygiene never becomes critical by fan-out; B is logarithmic, since the step from 1 to 8 systems
matters more than that from 57 to 64. Floors keep severe, certain findings from reading as noise.
The weights are judgement, not fitted to data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from schemas.counting import counted
from schemas.findings import Finding
from schemas.incidents.views import Score, ScoreTerm
from schemas.severity import ExposureLevel, Severity, band, band_limits
from schemas.taxonomy import taxonomy

REMEMBERED: Final = 1_024
"""Scores that are cached: many incidents have the same inputs."""
ALONE: Final = 0.40
CONTEXT: Final = 0.60
WEIGHTS: Final = {
    "blast_radius": 0.35,
    "exposure": 0.25,
    "tenants": 0.15,
    "criticality": 0.15,
    "recoverability": 0.10,
}
EXPOSURES: Final = {
    ExposureLevel.STAGED: 0.2,
    ExposureLevel.DELIVERED: 0.5,
    ExposureLevel.EXECUTED: 0.8,
    ExposureLevel.SERVING: 1.0,
}
RECOVERY: Final = {"clean rollback": 0.0, "no signed baseline": 0.5, "none": 1.0}
_RECOVERY_WHY: Final = {
    "clean rollback": "a trusted version to go back to",
    "no signed baseline": "a version to go back to, without a signature",
    "none": "no version to go back to",
}
UNKNOWN_CRITICALITY: Final = 0.5
FLOOR_SEVERE: Final = 40
FLOOR_CONFIRMED: Final = 60
FLOOR_EXECUTED: Final = 80
SEVERE_CONFIDENCE: Final = 0.75
CONFIRMED_CONFIDENCE: Final = 0.8
CONFIRMED: Final = frozenset(
    {
        "malicious_payload",
        "embedded_executable",
        "template_injection",
        "known_compromised_package",
        "poisoned_dataset",
        "account_compromise",
        "hash_mismatch",
        "package_hash_mismatch",
        "invalid_signature",
        "config_tampering",
        "dependency_confusion",
    }
)
"""Kinds that mean a component is hostile, or differs from a trusted hash."""
_OF_SEVERITY: Final = {
    Severity.INFORMATIONAL: 10,
    Severity.LOW: 30,
    Severity.MEDIUM: 50,
    Severity.HIGH: 70,
    Severity.CRITICAL: 90,
}


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a finding that the score depends on."""

    kind: str
    base: float
    """0 to 100."""
    confidence: float
    severity: Severity


def evidence_of(finding: Finding) -> Evidence:
    """Return the inputs that a finding gives the score.

    The base is the kind's (ioc_mapping), unless the finding's severity is of another band.
    """
    kind = taxonomy().ioc_types.get(finding.ioc_type)
    base = (
        kind.base_severity
        if kind is not None and kind.severity is finding.severity
        else _OF_SEVERITY[finding.severity]
    )
    return Evidence(
        kind=finding.ioc_type,
        base=float(base),
        confidence=finding.confidence,
        severity=finding.severity,
    )


def confirmed(evidence: Evidence) -> bool:
    """Return whether it shows a hostile component, or tampering against a trusted hash."""
    return (
        evidence.kind in CONFIRMED
        and evidence.confidence >= CONFIRMED_CONFIDENCE
        and evidence.severity.rank >= Severity.HIGH.rank
    )


def score(
    evidence: Iterable[Evidence],
    *,
    affected: int,
    exposure: ExposureLevel,
    tenants: int,
    criticality: float | None,
    recovery: str,
) -> Score:
    """Return the score of an incident, monotone in every input.

    Args:
        evidence: The findings; the strongest of each kind counts.
        affected: Systems and components reached.
        exposure: The furthest: staged, delivered, executed or serving.
        tenants: Tenants reached, as far as visible to the reader.
        criticality: That of the most critical asset, 0 to 1; None: unknown.
        recovery: clean rollback, no signed baseline or none.
    """
    return _score(tuple(evidence), affected, exposure, tenants, criticality, recovery)


@lru_cache(REMEMBERED, typed=True)
def _score(
    found: tuple[Evidence, ...],
    affected: int,
    exposure: ExposureLevel,
    tenants: int,
    criticality: float | None,
    recovery: str,
) -> Score:
    strongest: dict[str, float] = {}
    for item in found:
        weight = min(max(item.base / 100.0, 0.0), 1.0) * min(max(item.confidence, 0.0), 1.0)
        strongest[item.kind] = max(strongest.get(item.kind, 0.0), weight)
    indicators = 1.0 - math.prod(1.0 - weight for _, weight in sorted(strongest.items()))
    important = UNKNOWN_CRITICALITY if criticality is None else min(max(criticality, 0.0), 1.0)
    values = {
        "blast_radius": min(1.0, math.log2(1 + max(affected, 0)) / math.log2(65)),
        "exposure": EXPOSURES[exposure],
        "tenants": min(1.0, max(tenants - 1, 0) / 2),
        "criticality": important,
        "recoverability": RECOVERY.get(recovery, 1.0),
    }
    reasons = {
        "blast_radius": counted(affected, "system or component", "systems and components")
        + " reached",
        "exposure": exposure,
        "tenants": "one tenant" if tenants <= 1 else f"{tenants} tenants or more",
        "criticality": "unknown, medium assumed" if criticality is None else "stated",
        "recoverability": _RECOVERY_WHY.get(recovery, recovery),
    }
    kinds = ", ".join(kind.replace("_", " ") for kind in sorted(strongest)) or "none"
    terms = [
        ScoreTerm(
            name="indicators",
            value=round(indicators, 4),
            points=round(100 * indicators * ALONE, 2),
            why=f"kinds of indicator: {kinds}",
        )
    ]
    terms.extend(
        ScoreTerm(
            name=name,
            value=round(value, 4),
            points=round(100 * indicators * CONTEXT * WEIGHTS[name] * value, 2),
            why=reasons[name],
        )
        for name, value in values.items()
    )
    context = sum(WEIGHTS[name] * value for name, value in values.items())
    total = 100 * indicators * (ALONE + CONTEXT * context)
    floor = _floor(found, exposure)
    if floor > total:
        terms.append(
            ScoreTerm(
                name="floor", value=float(floor), points=round(floor - total, 2), why=_WHY[floor]
            )
        )
        total = float(floor)
    value = min(100, math.floor(total + 0.5))
    return Score(value=value, band=band(value), terms=tuple(terms))


def decided_score(computed: Score, severity: Severity, why: str) -> Score:
    """Return a score in the band that a person decided: the nearest to the computed one.

    A last term says what the decision adds, so the terms still add up to the score.

    Args:
        computed: The score as it is computed.
        severity: The band that was decided.
        why: Whose decision it is; every reader of the score reads it.
    """
    low, high = band_limits(severity)
    value = min(max(computed.value, low), high)
    term = ScoreTerm(
        name="decision",
        value=float(value),
        points=0.0
        if value == computed.value
        else round(value - sum(term.points for term in computed.terms), 2),
        why=f"{why}; {computed.value} ({computed.band}) as computed",
    )
    return Score(value=value, band=severity, terms=(*computed.terms, term))


_WHY: Final = {
    FLOOR_SEVERE: "a severe finding, certain enough to investigate",
    FLOOR_CONFIRMED: "confirmed hostile, or tampered against a trusted hash",
    FLOOR_EXECUTED: "a confirmed payload was executed or is serving",
}


def _floor(evidence: tuple[Evidence, ...], exposure: ExposureLevel) -> int:
    if not any(confirmed(item) for item in evidence):
        # Otherwise a single severe finding on one system would read as noise.
        severe = any(
            item.severity.rank >= Severity.HIGH.rank and item.confidence >= SEVERE_CONFIDENCE
            for item in evidence
        )
        return FLOOR_SEVERE if severe else 0
    ran = exposure.rank >= ExposureLevel.EXECUTED.rank
    return FLOOR_EXECUTED if ran else FLOOR_CONFIRMED

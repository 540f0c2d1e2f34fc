"""What a gate makes of assessments: findings, what could not be checked, and what is not final."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.assessments import Assessment, Check
from schemas.errors import TidewatchError
from schemas.severity import Severity, Status, worst
from streams.gates import Assessed, Assessments, read_duration, verdict, worst_code
from tests.each import each


def assessment(*statuses: Status, **fields: Any) -> Assessment:
    """Return an assessment with a check of each status."""
    checks = tuple(
        Check(name=f"check-{number}", status=status) for number, status in enumerate(statuses)
    )
    known: dict[str, Any] = {
        "id": "asm-1",
        "event_id": "evt-1",
        "tenant": "acme",
        "subject": "model:x",
        "overall_status": worst(statuses),
        "checks": checks,
        "source": "//ci",
        "final": True,
    }
    return Assessment(**{**known, **fields})


def assessed(*found: Assessment) -> Assessed:
    """Return what is known of the event after these."""
    kept = Assessments(lambda _one: True)
    for entry in found:
        kept.take(entry)
    (only,) = kept.events.values()
    return only


@each(
    ("one", "fail_on", "code"),
    [
        (assessment(Status.PASS), Severity.LOW, 0),
        (assessment(Status.WARN), Severity.LOW, 0),
        (assessment(Status.WARN, severity=Severity.MEDIUM), Severity.MEDIUM, 1),
        (assessment(Status.WARN, severity=Severity.MEDIUM), Severity.HIGH, 0),
        (assessment(Status.FAIL, severity=Severity.HIGH), Severity.HIGH, 1),
        (assessment(Status.FAIL, severity=Severity.HIGH), Severity.CRITICAL, 0),
        (assessment(Status.FAIL), Severity.CRITICAL, 1),
        (assessment(Status.PASS, Status.INCOMPLETE), Severity.CRITICAL, 2),
        (
            assessment(Status.FAIL, Status.INCOMPLETE, severity=Severity.LOW),
            Severity.CRITICAL,
            2,
        ),
        (assessment(Status.INCOMPLETE, severity=Severity.HIGH), Severity.HIGH, 1),
        (assessment(Status.PASS, final=False), Severity.LOW, 2),
        (assessment(Status.PASS, final=False, severity=Severity.HIGH), Severity.HIGH, 1),
    ],
)
def test_the_verdict(one: Assessment, fail_on: Severity, code: int) -> None:
    assert verdict(assessed(one), fail_on) == code


def test_a_finding_of_the_first_stage_counts_when_the_scan_has_none() -> None:
    first = assessment(Status.FAIL, final=False, severity=Severity.HIGH)
    scan = assessment(Status.PASS, stage="scan")
    for order in ((first, scan), (scan, first)):
        both = assessed(*order)
        assert both.final
        assert both.last is scan
        assert verdict(both, Severity.HIGH) == 1


def test_a_scan_that_is_tried_again_replaces_its_earlier_attempt() -> None:
    first = assessment(Status.INCOMPLETE, stage="scan", final=False)
    again = assessment(Status.PASS, stage="scan")
    assert verdict(assessed(first, again), Severity.LOW) == 0


def test_what_the_ledger_adds_later_is_not_waited_for() -> None:
    kept = Assessments(lambda _one: True)
    assert not kept.take(assessment(Status.FAIL, stage="baseline", final=False))
    assert kept.events == {}


def test_several_events_fail_by_a_finding_first() -> None:
    assert [worst_code(codes) for codes in ([], [0], [0, 2], [2, 1, 0])] == [0, 0, 2, 1]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("1.5h", 5400), ("45", 45), (" 2m ", 120)]
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text, "--timeout") == seconds


@each("text", ["", "m", "-1s", "1d", "1h30m", "1e9s", "\u0661s", "9" * 20])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(TidewatchError, match="not a duration"):
        read_duration(text, "--timeout")

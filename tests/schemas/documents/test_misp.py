"""MISP events carry the state of the incident and mark only values for detection."""

from __future__ import annotations

import pytest

from schemas.documents import misp
from schemas.severity import Severity, Tlp
from tests.schemas import examples


def test_a_misp_event_names_the_galaxy_and_marks_only_values_for_detection():
    event = misp.misp_event(
        "inc-1",
        "title",
        examples.TIME,
        Severity.CRITICAL,
        [examples.shared(), examples.shared("pypi:x@1", "x@1")],
        tlp=Tlp.AMBER,
        status="contained",
    )["Event"]
    assert [a["to_ids"] for a in event["Attribute"]] == [True, False]
    assert {"name": "tlp:amber"} in event["Tag"]


@pytest.mark.parametrize(
    ("status", "analysis"),
    [
        ("new", "0"),
        ("acknowledged", "1"),
        ("contained", "1"),
        ("recovering", "1"),
        ("closed", "2"),
        ("false-positive", "2"),
        ("withdrawn", "2"),
    ],
)
def test_the_state_of_a_misp_analysis_follows_the_incident(status, analysis):
    event = misp.misp_event(
        "inc-1", "title", examples.TIME, Severity.HIGH, [], tlp=Tlp.GREEN, status=status
    )["Event"]
    assert event["analysis"] == analysis

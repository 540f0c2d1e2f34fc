"""Figures over incidents: times to detect and to contain, and how many were false positives."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from schemas.incidents.states import IncidentStatus
from schemas.incidents.views import IncidentDocument
from streams.reports.incident_words import duration

_TIMES: Final = ("_mean", "_median", "_p95")
"""The ends of the names of figures that are seconds."""


def incident_metrics(incidents: Sequence[IncidentDocument]) -> dict[str, Any]:
    """Return mean, median and p95 of the times to detect and contain, in seconds, and counts.

    Incidents found by later intelligence are counted separately: their clock starts at the fact.
    """
    statuses = [document.status for document in incidents]
    times = [document.processing for document in incidents]
    return {
        "incidents": len(incidents),
        "closed": sum(
            status in {IncidentStatus.CLOSED, IncidentStatus.FALSE_POSITIVE} for status in statuses
        ),
        "false_positives": sum(status is IncidentStatus.FALSE_POSITIVE for status in statuses),
        **_figures(
            "detect_first_sight", (time.seconds_to_detect for time in times if not time.retro)
        ),
        **_figures("detect_retro_hunt", (time.seconds_to_detect for time in times if time.retro)),
        **_figures("contain", (time.seconds_to_contain for time in times)),
    }


def figure_rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return figures for people: times with their units, in the order that they have.

    Args:
        figures: As `incident_metrics` returns them.
    """
    return [
        (name.replace("_", " "), duration(value) if name.endswith(_TIMES) else str(value))
        for name, value in figures.items()
    ]


def _figures(name: str, seconds: Iterable[float | None]) -> dict[str, Any]:
    ordered = sorted(value for value in seconds if value is not None)
    if not ordered:
        return {f"{name}_count": 0}
    return {
        f"{name}_count": len(ordered),
        f"{name}_mean": round(sum(ordered) / len(ordered), 3),
        f"{name}_median": round(statistics.median(ordered), 3),
        # nearest rank: the least value that 95 of 100 do not exceed
        f"{name}_p95": round(ordered[math.ceil(len(ordered) * 0.95) - 1], 3),
    }

"""Severities, bands and statuses, and how they compare."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """The severity of a finding, or the band of an incident."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for informational to 4 for critical."""
        return _SEVERITY_RANK[self]


class Status(StrEnum):
    """The result of one check; a gate never passes INCOMPLETE."""

    PASS = "PASS"  # noqa: S105 -- a check's status, no password
    WARN = "WARN"
    INCOMPLETE = "INCOMPLETE"
    FAIL = "FAIL"

    @property
    def rank(self) -> int:
        """0 for PASS to 3 for FAIL: the worst wins."""
        return _STATUS_RANK[self]


class Verdict(StrEnum):
    """The verdict on a scanned file."""

    CLEAN = "clean"
    SUSPICIOUS = "suspicious"
    MALICIOUS = "malicious"
    CORRUPT = "corrupt"
    INCOMPLETE = "incomplete"
    UNSUPPORTED = "unsupported"
    """It is recognised, or plausibly worth checking, but no check supports it."""


class Disposition(StrEnum):
    """What a consumer may do with an indicator's value."""

    BLOCK = "block"
    DETECT = "detect"
    CONTEXT = "context"


class Category(StrEnum):
    """What an indicator record speaks of."""

    COMPROMISE = "compromise"
    """Something hostile, or that may be."""
    HYGIENE = "hygiene"
    """How a tenant works: unpinned, unsigned, without a hash. Nothing to match elsewhere."""


class Tlp(StrEnum):
    """Traffic Light Protocol 2.0."""

    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    AMBER_STRICT = "amber+strict"
    RED = "red"


_SEVERITY_RANK: Final = {severity: rank for rank, severity in enumerate(Severity)}
_STATUS_RANK: Final = {status: rank for rank, status in enumerate(Status)}

BAND_WIDTH: Final = 20


def band(score: float) -> Severity:
    """Return the band of a score from 0 to 100: bands of 20, informational to critical."""
    bands = tuple(Severity)
    return bands[min(int(max(score, 0.0) // BAND_WIDTH), len(bands) - 1)]


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of an iterable of statuses, PASS for none."""
    return max(statuses, key=_STATUS_RANK.__getitem__, default=Status.PASS)

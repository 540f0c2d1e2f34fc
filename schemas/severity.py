"""Severities, bands, statuses and levels of exposure, and how they compare."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from operator import attrgetter
from typing import Final, Self


class _Ranked(StrEnum):
    """Names in ascending order, each with its place."""

    rank: int
    """0 for the first."""

    def __new__(cls, value: str) -> Self:
        """Make the next name."""
        name = str.__new__(cls, value)
        name._value_ = value
        name.rank = len(cls.__members__)
        return name


class Severity(_Ranked):
    """The severity of a finding, or the band of an incident: rank 0 (informational) to 4."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Status(_Ranked):
    """The result of one check, rank 0 (PASS) to 3: the worst wins, no gate passes INCOMPLETE."""

    PASS = "PASS"  # noqa: S105 -- a check's status, no password
    WARN = "WARN"
    INCOMPLETE = "INCOMPLETE"
    FAIL = "FAIL"


class ExposureLevel(_Ranked):
    """How far a system went with a component: rank 0 (staged) to 3 (serving)."""

    STAGED = "staged"
    """It is only in a registry."""
    DELIVERED = "delivered"
    """A system has it."""
    EXECUTED = "executed"
    """A system loaded or ran it."""
    SERVING = "serving"
    """A system answers requests with it."""

    @classmethod
    def _missing_(cls, value: object) -> ExposureLevel | None:
        """Take a level of a later version for delivered: a system has it, and no more is known."""
        return cls.DELIVERED if isinstance(value, str) else None


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


class IndicatorStatus(StrEnum):
    """Whether an indicator record holds."""

    ACTIVE = "active"
    WITHDRAWN = "withdrawn"
    """Its source withdrew it: nothing is to be matched by it any more."""


class Category(StrEnum):
    """The subject of an indicator record."""

    COMPROMISE = "compromise"
    """Something hostile, or that may be."""
    HYGIENE = "hygiene"
    """A practice of a tenant: unpinned, unsigned, without a hash. Not to be matched elsewhere."""


class Tlp(StrEnum):
    """Traffic Light Protocol 2.0."""

    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    AMBER_STRICT = "amber+strict"
    RED = "red"


_BANDS: Final = tuple(Severity)
BAND_WIDTH: Final = 20


def band(score: float) -> Severity:
    """Return the band of a score from 0 to 100: bands of 20, informational to critical."""
    return _BANDS[min(int(max(score, 0.0) // BAND_WIDTH), len(_BANDS) - 1)]


def band_limits(severity: Severity) -> tuple[int, int]:
    """Return the least and the greatest whole score of a band.

    Args:
        severity: The band.
    """
    low = severity.rank * BAND_WIDTH
    return low, 100 if severity is _BANDS[-1] else low + BAND_WIDTH - 1


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of an iterable of statuses, PASS for none."""
    return max(statuses, key=attrgetter("rank"), default=Status.PASS)

"""Typed measures of published messages, so that metrics decode nothing."""

from __future__ import annotations

import msgspec

from schemas.severity import Severity, Status


class FindingMeasure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A finding of a rule, of any severity."""

    rule: str
    severity: Severity


class AlertMeasure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A revision of an alert."""

    action: str
    """create, update or close."""
    false_positive: str | None = None
    """The rule that a decision marked a false positive with this revision."""


class CommandMeasure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A containment command or proposal."""

    action: str
    mode: str


class ScanMeasure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The slow work of one push."""

    outcome: Status
    seconds: float
    """From its start to its result."""


Measure = FindingMeasure | AlertMeasure | CommandMeasure | ScanMeasure

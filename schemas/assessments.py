"""The checks of one event, and the overall status a gate reads."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from schemas.severity import Severity, Status


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One check of an event."""

    name: str
    """The check, as the rules name it."""
    status: Status
    """PASS, WARN, INCOMPLETE (could not be checked) or FAIL."""
    expected: Any = None
    """What should have been found."""
    actual: Any = None
    """What was found."""
    detail: str | None = None
    """Why, in words."""


class AssessmentStage(StrEnum):
    """The work whose results an assessment has."""

    EVENT = "event"
    SCAN = "scan"
    BASELINE = "baseline"


class Assessment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All checks of one event, the worst status overall."""

    id: str
    """Hash of (tenant, source, event id, stage): a retried scan replaces its earlier assessment."""
    event_id: str
    """The id of the event, unique within its tenant and source."""
    tenant: str
    """The tenant of the event."""
    subject: str
    """The subject of the event; in the stage baseline the component key."""
    overall_status: Status
    """The worst of `checks`. A gate lets pass on PASS alone, or on PASS and WARN."""
    checks: tuple[Check, ...]
    """Each check once; the names of checks of files end with their paths."""
    stage: AssessmentStage = AssessmentStage.EVENT
    """event, scan (after slow work), baseline (what the ledger adds)."""
    source: str = ""
    """The source of the event."""
    findings: tuple[str, ...] = ()
    """The ids of the findings."""
    severity: Severity | None = None
    """The severity of the most severe finding; none without findings."""
    contents: tuple[str, ...] = ()
    """What the scan fetched and read, under the names by which it can be looked up: `sha256:…` of
    files, `tree:…` of all files together, `oci:sha256:…` of a manifest whose layers were all read,
    and the pinned location that was listed: `hf://…@commit`, `oci://…@sha256:…`. Claims are not
    listed."""
    final: bool = False
    """The checks of the event are done, and all are repeated here: no other assessment of the
    stages event and scan follows. Those of the stage baseline add to it, for as long as the ledger
    learns something new."""

"""The views of an incident that documents are built from: alerts and the operator's record."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from schemas.basis import Basis
from schemas.incidents.commands import CommandView
from schemas.incidents.states import (
    Activity,
    IncidentStatus,
    Occurrence,
    Pattern,
    Phase,
    TaskKind,
    TaskState,
)
from schemas.severity import ExposureLevel, Severity

# -- views: what documents are made from ----------------------------------------------------------


class ScoreTerm(msgspec.Struct, frozen=True, kw_only=True):
    """One term of the severity score, in words and figures."""

    name: str
    """indicators, blast_radius, exposure, tenants, criticality, recoverability, floor,
    advice, decision."""
    value: float
    """0 to 1; for a floor or a decision, points."""
    points: float
    """What it adds to the score; a decision may subtract."""
    why: str


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The severity of an incident, explained term by term."""

    value: int
    """0 to 100."""
    band: Severity
    terms: tuple[ScoreTerm, ...]


class FindingView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Findings of one rule about one indicator, represented by the worst of them."""

    id: str
    rule_id: str
    ioc_type: str
    severity: Severity
    confidence: float
    description: str
    indicator_key: str
    indicator_type: str
    indicator_value: str
    component: str
    evidence: dict[str, Any] = {}
    version: str | None = None
    mitre_atlas_id: str | None = None
    techniques: tuple[str, ...] = ()
    ssdf: tuple[str, ...] = ()
    remediation: str = ""
    publisher: str | None = None
    event_id: str = ""
    source: str = ""
    occurred_at: datetime
    active: bool = True
    """False: withdrawn."""
    basis: Basis | None = None
    """How it is known; None: as the tenant's own event says."""
    known_by: str = ""
    """The same in words: by what, and by whom."""
    advice: bool = False
    """It rests on claims of other organisations, and only advises."""


class SystemView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An affected system and how it came to be."""

    tenant: str
    system: str
    component: str
    exposure: ExposureLevel
    since: datetime
    version: str | None = None
    digest: str | None = None
    path: tuple[str, ...] = ()
    """Component keys from the root to `component`; others' components read "elsewhere"."""
    criticality: float | None = None
    identities: tuple[str, ...] = ()


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of the timeline."""

    at: datetime
    what: Occurrence
    text: str
    tenant: str | None = None
    system: str | None = None
    ref: str | None = None
    """The id of the finding, event, decision or command."""
    processing: bool = False
    """`at` is processing time: not part of comparisons of replays."""


class TaskView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task on an affected system, and whether a later event proved it done."""

    id: str
    tenant: str
    system: str
    component: str
    kind: TaskKind
    state: TaskState
    text: str
    proof: str | None = None
    """The evidence: an event, a command, a decision, or the policy."""


class ProcessingTimes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When Tidewatch acted, by broker timestamps; not part of comparisons of replays."""

    detected_at: datetime | None = None
    contained_at: datetime | None = None
    seconds_to_detect: float | None = None
    """From the first occurrence to the first finding's record."""
    seconds_to_contain: float | None = None
    """From detection to the last containment command's success."""
    retro: bool = False
    """Found by later intelligence: the clock of detection starts at the fact."""


class TenantPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tenant's part of an incident, in the operator's document."""

    tenant: str
    score: Score
    status: IncidentStatus
    systems: int
    assignee: str | None = None


class IncidentDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole incident, for the operator: it names tenants."""

    id: str
    root: str
    """The indicator key the incident is about."""
    title: str
    status: IncidentStatus
    phase: Phase
    score: Score
    pattern: Pattern
    pattern_why: str
    tenants: tuple[TenantPart, ...]
    tenant_count: int
    organisations: int | None = None
    """Organisations of the operator's register among them, where there is one; else tenants."""
    findings: tuple[FindingView, ...]
    systems: tuple[SystemView, ...]
    system_count: int
    """An estimate when it exceeds the systems listed."""
    timeline: tuple[TimelineEntry, ...]
    commands: tuple[CommandView, ...]
    tasks: tuple[TaskView, ...]
    related: tuple[str, ...]
    """Ids of incidents that share a component, digest or publisher."""
    campaign: str | None = None
    publishers: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    ssdf: tuple[str, ...] = ()
    next_action: str = ""
    first_seen: datetime
    truncated: tuple[str, ...] = ()
    """The parts that reached their limit."""
    shared: bool = False
    """It was shared with partners: its withdrawal is shared as well."""
    released: bool = False
    """The operator decided that it may be shared, however few are affected."""
    generations: dict[str, int] = {}
    """Kind and key of indicators that were revoked for partners and held again: how often."""
    processing: ProcessingTimes = ProcessingTimes()


class AlertView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The view of one tenant: its own part of an incident, and counts from k tenants on."""

    id: str
    """Hash of incident and tenant: one alert."""
    incident: str
    tenant: str
    activity: Activity
    status: IncidentStatus
    phase: Phase
    title: str
    message: str
    """Why it matters, in two sentences."""
    score: Score
    pattern: Pattern
    pattern_why: str
    other_tenants: int | None = None
    """The threshold (3, 10, 30) that the number of other organisations reached; None below k."""
    root: str
    findings: tuple[FindingView, ...]
    systems: tuple[SystemView, ...]
    system_count: int
    timeline: tuple[TimelineEntry, ...]
    commands: tuple[CommandView, ...]
    tasks: tuple[TaskView, ...]
    techniques: tuple[str, ...] = ()
    ssdf: tuple[str, ...] = ()
    next_action: str = ""
    runbook: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    """Only incidents that involve this tenant."""
    assignee: str | None = None
    first_seen: datetime
    correlation_ids: tuple[str, ...] = ()
    """Ids of the events that led to it, at most 32."""
    truncated: tuple[str, ...] = ()
    processing: ProcessingTimes = ProcessingTimes()

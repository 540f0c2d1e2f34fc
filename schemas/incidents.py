"""What flows on `incident-updates`, and the views of an incident that documents are made from."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from schemas.decisions import Decision
from schemas.findings import Finding
from schemas.ledger import Revision, Tick
from schemas.severity import Severity

# -- messages on incident-updates, keyed by incident id ------------------------------------------


class FindingUpdate(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="finding-update"
):
    """A finding at the incident's root. Checks send it for events, the ledger for what it adds."""

    incident: str
    root: str
    finding: Finding
    revision: Revision = (0, 0)
    """Of the fact that caused it; a withdrawal of a later revision takes it back."""


class Exposure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="exposure"):
    """A system holds the component, or something made from it."""

    incident: str
    root: str
    tenant: str
    system: str
    component: str
    occurred_at: datetime
    """When it was first seen there."""
    event_id: str
    last_seen: datetime | None = None
    """When it was told of last: right to the day, and exact where versions alternated that day."""
    version: str | None = None
    digest: str | None = None
    exposure: str = "delivered"
    """staged, delivered, executed or serving."""
    path: tuple[str, ...] = ()
    """From the root's component to this one, both left out; empty: it holds the root itself."""
    origin: str | None = None
    publisher: str | None = None
    stage: str | None = None
    criticality: float | None = None
    identities: tuple[str, ...] = ()
    cause: str = ""
    """The fact's key on whose account; empty: findings of events."""
    active: bool = True
    """False: the taint that led here was lifted."""
    revision: Revision = (0, 0)


class Prevalence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="prevalence"):
    """The indicator's tenants reached a threshold (3, 10, 30): once each."""

    incident: str
    root: str
    indicator: str
    threshold: int
    rule_id: str


class KnownGood(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="known-good"):
    """A version of an affected component that may be rolled back to, or that no longer may."""

    incident: str
    tenant: str
    component: str
    version: str | None = None
    digest: str | None = None
    seen_at: datetime
    signed: bool = False
    by_intel: bool = False
    active: bool = True
    """False: it was found to be bad since. What goes back to it is withdrawn or replaced."""
    revision: Revision = (0, 0)
    """The later says whether it is active and vouched for; of equal ones the retraction."""


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="withdrawal"):
    """The reason of a finding no longer holds: its alert closes, its containment is undone."""

    incident: str
    tenant: str
    finding: str
    reason: str
    at: datetime
    revision: Revision = (0, 0)


class DecisionUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="decision"):
    """A decision, re-keyed to its incident."""

    incident: str
    decision: Decision


class ResultUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="result"):
    """A responder's verified answer to a command, re-keyed to its incident."""

    incident: str
    id: str
    command_id: str
    tenant: str
    status: int
    """OpenC2: 102 working, 200 done, 4xx and 5xx failed."""
    at: datetime
    status_text: str = ""
    results: dict[str, Any] = {}


CHECKED: Final = "checked"
"""The kind of a proof that only tells how a version fared in required checks."""


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="proof"):
    """A later, clean event of an affected system: it closes the recovery task."""

    incident: str
    tenant: str
    system: str
    component: str
    event_id: str
    occurred_at: datetime
    kind: str
    """clean-install, clean-run, verified-push; `checked`: it replaces nothing on this system, and
    only tells how the version fared in required checks."""
    version: str | None = None
    digest: str | None = None
    passed: tuple[str, ...] = ()
    """Checks that the tenant's policy requires and that this version passed."""
    not_passed: tuple[str, ...] = ()
    """Checks that the policy requires, that were made of this version and not passed."""


class Related(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="related"):
    """Another incident is about the same component, digest or publisher."""

    incident: str
    other: str
    via: str
    """The component key they share; `campaign` where `other` is the campaign's id."""
    tenant: str | None = None
    """The tenant that is part of both; None: for the operator only."""


class ForgedResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="forged"):
    """A result whose signature did not verify: it changes nothing but is told."""

    incident: str
    id: str
    tenant: str
    at: datetime
    detail: str = ""


IncidentMessage = (
    FindingUpdate
    | Exposure
    | Prevalence
    | KnownGood
    | Withdrawal
    | DecisionUpdate
    | ResultUpdate
    | Proof
    | Related
    | ForgedResult
    | Tick
)


# -- views: what documents are made from ----------------------------------------------------------


class ScoreTerm(msgspec.Struct, frozen=True, kw_only=True):
    """One term of the severity score, in words and figures."""

    name: str
    """indicators, blast_radius, exposure, tenants, criticality, recoverability, floor."""
    value: float
    """0 to 1; for a floor, points."""
    points: float
    """What it adds to the score."""
    why: str


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The severity of an incident, explained term by term."""

    value: int
    """0 to 100."""
    band: Severity
    terms: tuple[ScoreTerm, ...]


class FindingView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Findings of one rule about one indicator: the worst of them stands for all."""

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


class SystemView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An affected system and how it came to be."""

    tenant: str
    system: str
    component: str
    exposure: str
    since: datetime
    version: str | None = None
    digest: str | None = None
    path: tuple[str, ...] = ()
    """Component keys from the root to `component`; others' components read "elsewhere"."""
    criticality: float | None = None
    identities: tuple[str, ...] = ()


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened."""

    at: datetime
    what: str
    """found, exposed, prevalence, withdrawn, decided, commanded, result, recovered."""
    text: str
    tenant: str | None = None
    system: str | None = None
    ref: str | None = None
    """The id of the finding, event, decision or command."""
    processing: bool = False
    """`at` is processing time: not part of comparisons of replays."""


class CommandSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A containment command, before it becomes an OpenC2 document."""

    command_id: str
    """At most 36 characters, a UUID's shape; the same for (incident, tenant, action, target)."""
    incident: str
    tenant: str
    action: str
    """capture-evidence, quarantine, rollback, block, revoke, hold-pipeline, rebuild, or
    restore, roll-forward, unblock, release-pipeline: what undoes one."""
    target: str
    """A component key, an identity reference, or a system."""
    target_type: str
    """component, digest, source, identity, pipeline, system."""
    system: str | None = None
    version: str | None = None
    digest: str | None = None
    rollback_version: str | None = None
    rollback_digest: str | None = None
    paths: tuple[str, ...] = ()
    """For evidence: what to capture."""
    after: tuple[str, ...] = ()
    """Command ids that must succeed first."""
    reason: str
    """In a sentence."""
    findings: tuple[str, ...] = ()
    """The ids of the findings that justify it."""
    expires: datetime | None = None
    undo: str | None = None
    """The action that reverses it; None: nothing to reverse."""
    undoes: str | None = None
    """For a reversal: the command it takes back."""
    replaces: str | None = None
    """The command whose place it takes, and which is not to be carried out any more."""
    mode: str
    """automatic, proposal, advised, or approved (a proposal that was)."""
    dry_run: bool = True
    attempt: int = 1


class CommandView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command and what came of it."""

    spec: CommandSpec
    state: str
    """proposed, advised, issued, working, done, failed, rejected, expired, reversed, superseded
    (what it goes back to was found to be bad since)."""
    status: int | None = None
    status_text: str = ""


class TaskView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What must be done on an affected system, and whether a later event showed it done."""

    id: str
    tenant: str
    system: str
    component: str
    kind: str
    """replace, rebuild, retrain, rotate, patch (the entry point), evaluate."""
    state: str
    """open, done or recurred."""
    text: str
    proof: str | None = None
    """What showed it: an event, a command, a decision, or the policy."""


class ProcessingTimes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When Tidewatch did things, by broker timestamps; not part of comparisons of replays."""

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
    status: str
    systems: int
    assignee: str | None = None


class IncidentDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole incident, for the operator: it names tenants."""

    id: str
    root: str
    """The indicator key the incident is about."""
    title: str
    status: str
    """new, acknowledged, contained, recovering, closed, false-positive, withdrawn, suppressed."""
    phase: str
    """detection, containment, investigation, eradication, post-incident."""
    score: Score
    pattern: str
    """isolated or pattern."""
    pattern_why: str
    tenants: tuple[TenantPart, ...]
    tenant_count: int
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
    """Parts that reached their bound."""
    shared: bool = False
    """Partners were told of it: they are told as well when it is taken back."""
    generations: dict[str, int] = {}
    """Kind and key of indicators that partners were told to drop and that held again: how often."""
    processing: ProcessingTimes = ProcessingTimes()


class AlertView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one tenant reads of an incident: its own part, and counts from k tenants on."""

    id: str
    """Hash of incident and tenant: one alert."""
    incident: str
    tenant: str
    activity: str
    """create, update or close."""
    status: str
    phase: str
    title: str
    message: str
    """Why it matters, in two sentences."""
    score: Score
    pattern: str
    pattern_why: str
    other_tenants: int | None = None
    """The threshold (3, 10, 30) that the number of tenants reached; None below k."""
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
    """Only incidents that this tenant itself is part of."""
    assignee: str | None = None
    first_seen: datetime
    correlation_ids: tuple[str, ...] = ()
    """Ids of the events that led to it, at most 32."""
    truncated: tuple[str, ...] = ()
    processing: ProcessingTimes = ProcessingTimes()

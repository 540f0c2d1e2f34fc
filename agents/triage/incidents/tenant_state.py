"""The state of one tenant's part of an incident: active findings, systems reached, what to do.

Over 500 lines, since every step reads the findings and systems of the same part.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final

import msgspec

from agents.domain.basis import ADVICE_SEVERITY, SEVERAL, is_advice, is_verified
from agents.triage.correlation import correlations
from agents.triage.grounds import Ground, ground_of
from agents.triage.incidents.advice import advice_score
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.recovery import ON_SYSTEMS, Recovery, recovered, recovery_tasks
from agents.triage.incidents.rows import ActionsRow, Entry, FindingsRow, Group, SystemsRow
from agents.triage.ledger.rows import from_ms, to_ms
from agents.triage.routing import split_version
from agents.triage.scoring import Evidence, decided_score, evidence_of, score
from schemas.basis import BareFinding, BasisKind
from schemas.canonical import stable_id
from schemas.components import tenant_part
from schemas.decisions import COMPUTED, SEVERITY_TARGETS, Decision, DecisionKind
from schemas.findings import Finding, Indicator
from schemas.incidents.commands import CommandSpec, CommandView
from schemas.incidents.states import Action, CommandStatus, IncidentStatus, Phase, TaskState
from schemas.incidents.updates import KnownGood
from schemas.incidents.views import Score, SystemView, TaskView
from schemas.policy import Policy
from schemas.severity import Disposition, ExposureLevel, Severity
from schemas.taxonomy import taxonomy

INTRINSIC: Final = frozenset(
    {
        "malicious_payload",
        "embedded_executable",
        "template_injection",
        "known_compromised_package",
        "poisoned_dataset",
        "blocked_source_used",
        "suspicious_code",
        "account_compromise",
        "campaign",
    }
)
"""Kinds about the component itself: sharing such a finding reveals nothing of its tenant."""
EXACT: Final = 32
"""The greatest count of systems that is exact."""
TAINTED_RULE: Final = "TW-LEDGER-TAINTED"
_DECISIVE: Final = frozenset({Action.QUARANTINE, Action.BLOCK, Action.HOLD_PIPELINE})
"""Actions that take a component out of use."""
ENDS_OR_OPENS: Final = frozenset(
    {DecisionKind.CLOSE, DecisionKind.FALSE_POSITIVE, DecisionKind.REOPEN}
)
"""Decisions of which the last one is in force; each ends a suppression before it."""
STATES: Final = ENDS_OR_OPENS | {DecisionKind.ACKNOWLEDGE}
"""The decisions that a status follows from."""


def bucket(count: int, exact: int) -> int:
    """Return a count as documents show it: exact up to `exact`, beyond it the power of two below.

    A person would act no differently between two powers of two.
    """
    return count if count <= exact else 1 << (count.bit_length() - 1)


class TenantState(msgspec.Struct, kw_only=True):
    """All that is rendered or decided about one tenant's part."""

    tenant: str
    findings: FindingsRow
    systems_row: SystemsRow
    actions: ActionsRow
    policy: Policy
    decisions: list[tuple[Decision, int]]
    own: list[tuple[Group, bool]]
    """The tenant's groups of findings, worst first, and whether each still holds."""
    shared: list[Finding]
    """Marks on the component beside the tenant's own findings."""
    entries: list[Entry]
    """The active entries of systems."""
    systems: list[SystemView]
    computed: Score
    """The score that its findings and systems give."""
    score: Score
    """The score that counts: the computed one, unless a person decided the severity."""
    tasks: list[TaskView]
    status: IncidentStatus
    good: list[KnownGood]
    """Rollback targets."""
    grounds: list[Ground]
    """Grounds of containment: the tenant's findings, and shared facts."""
    advisory: bool = False
    """Whether only advice is active: claims of other organisations."""
    by_scan_alone: bool = False
    """Whether containment is only proposed: it is popular, and only a scan supports the finding."""
    is_early: bool = False
    """Whether only a scan supports the finding, and its popularity is not known yet."""
    plans: dict[Hashable, tuple[CommandSpec, ...]] = msgspec.field(default_factory=dict)
    """The commands it calls for, by generations; shared by states of a part that differ only in
    decisions and actions."""
    views: tuple[tuple[CommandSpec, ...], tuple[CommandView, ...]] | None = None
    """The last views of the commands, and the plan behind them."""

    @property
    def ended(self) -> bool:
        """Whether the part is closed, withdrawn or a false positive."""
        return self.status.ended

    def holds_back(self, action: Action) -> bool:
        """Return whether an automatic action is only proposed for now."""
        return self.by_scan_alone and action in self.policy.automatic


def group_holds(row: FindingsRow, group_key: str) -> bool:
    """Return whether any finding of a group still holds."""
    return any(state.group == group_key and state.active() for state in row.ids.values())


def own_groups(row: FindingsRow) -> list[tuple[Group, bool]]:
    """Return the groups of a tenant's findings, worst first, and whether each holds."""
    ordered = sorted(
        row.groups.items(),
        key=lambda item: (-item[1].finding.severity.rank, -item[1].finding.confidence, item[0]),
    )
    return [(group, group_holds(row, key)) for key, group in ordered]


def shared_finding(case: IncidentRows, tenant: str, found: BareFinding, *, advice: bool) -> Finding:
    """Return a mark on the component itself as a finding that names no tenant.

    It has only kind, rule, severity and confidence; advice has a constant severity.
    """
    tainted = correlations()[TAINTED_RULE].rule
    bare = found.ioc_type not in INTRINSIC or advice
    kind = tainted.ioc_type if bare else found.ioc_type
    entry_of_kind = taxonomy().ioc_types.get(kind)
    root = readable_root(case.core.root, tenant)
    return Finding(
        id=stable_id("fnd", case.incident, found.rule_id, "advice" if advice else "shared"),
        ioc_type=kind,
        rule_id=tainted.id if bare else found.rule_id,
        severity=ADVICE_SEVERITY if advice else tainted.severity if bare else found.severity,
        confidence=tainted.confidence if bare else found.confidence,
        description=f"{kind.replace('_', ' ')}: {root}",
        evidence={"guarded": True} if found.guarded else {},
        mitre_atlas_id=entry_of_kind.primary if entry_of_kind is not None else tainted.atlas,
        techniques=entry_of_kind.techniques if entry_of_kind is not None else (),
        ssdf=entry_of_kind.ssdf if entry_of_kind is not None else tainted.ssdf,
        remediation=tainted.remediation,
        indicator=Indicator(
            key=root,
            type=found.indicator_type,
            value=root.partition(":")[2] or "elsewhere",
            disposition=Disposition.DETECT if advice else found.disposition,
        ),
        component=root,
        tenant="",
        source="",
        event_id="",
        occurred_at=from_ms(0),
        basis=SEVERAL if advice else found.basis,
    )


def _shared_findings(
    case: IncidentRows,
    tenant: str,
    grounds: Mapping[str, BareFinding],
    entries: Iterable[Entry],
    own: Sequence[Finding],
) -> list[Finding]:
    """Return the findings of the marks behind the entries, the strongest of each rule."""
    rules = {finding.rule_id for finding in own}
    facts = {str(finding.evidence.get("fact", "")) for finding in own}
    strongest: dict[str, Finding] = {}
    for entry in entries:
        found = grounds.get(entry.ground)
        # Those that the tenant's own findings repeat, by their rule or by the same fact.
        if found is None or found.rule_id in rules or (entry.cause and entry.cause in facts):
            continue
        bare = shared_finding(case, tenant, found, advice=entry.advice)
        known = strongest.get(bare.rule_id)
        if known is None or _order(bare) < _order(known):
            strongest[bare.rule_id] = bare
    return [strongest[rule] for rule in sorted(strongest)]


def _order(finding: Finding) -> tuple[int, float, str]:
    return (-finding.severity.rank, -finding.confidence, finding.id)


def readable_root(root: str, tenant: str = "") -> str:
    """Return the root as a tenant may read it: `elsewhere` for another tenant's own name."""
    name = root.partition(":")[2]
    own = bool(tenant) and name.startswith(f"@{tenant_part(tenant)}/")
    return root if own or not name.startswith("@") else "elsewhere"


def tenant_state_of(
    case: IncidentRows, tenant: str, policy: Policy, now_ms: int, same: TenantState | None = None
) -> TenantState:
    """Compute the state of a tenant's part.

    Args:
        case: The incident.
        tenant: The tenant.
        policy: Its policy.
        now_ms: The last tick, milliseconds since the epoch, for suppressions that end.
        same: An earlier state that differs at most in decisions and actions.
    """
    known = same or _undecided(case, tenant, policy)
    actions = case.actions(tenant)
    decisions = sorted(
        [*case.core.decisions.values(), *actions.decisions.values()],
        key=lambda item: (item[0].time, item[0].id),
    )
    tasks = recovery_tasks(
        Recovery(
            incident=case.incident,
            tenant=tenant,
            entries=() if known.advisory else known.entries,
            proofs=list(known.systems_row.proofs.values()),
            commands=list(actions.commands.values()),
            decisions=[decision for decision, _ in decisions],
            grounds=known.grounds,
            policy=policy,
            good=known.good,
        )
    )
    tenant_state = msgspec.structs.replace(
        known, actions=actions, decisions=decisions, tasks=tasks, views=None
    )
    tenant_state.status = _status(tenant_state, now_ms)
    tenant_state.score = known.computed
    decided = severity_decision(
        # advice is medium unless a person set another severity for their part
        decision
        for decision, _ in decisions
        if decision.tenant is not None or not known.advisory
    )
    if decided is not None:
        severity, whose = decided
        tenant_state.score = decided_score(known.computed, severity, whose)
    return tenant_state


def severity_decision(decisions: Iterable[Decision]) -> tuple[Severity, str] | None:
    """Return the severity that a person set last and who, None if it is as computed.

    Args:
        decisions: Decisions in order of time.
    """
    last: tuple[Severity, str] | None = None
    for decision in decisions:
        target = decision.target
        if decision.decision is not DecisionKind.SEVERITY or target not in SEVERITY_TARGETS:
            continue
        whose = "operator" if decision.tenant is None else "tenant"
        last = None if target == COMPUTED else (Severity(target), f"set by the {whose}")
    return last


def _undecided(case: IncidentRows, tenant: str, policy: Policy) -> TenantState:
    """Return the findings and systems of a tenant's part, without decisions and actions."""
    findings = case.findings(tenant)
    systems_row = case.systems(tenant)
    good = good_of(systems_row)
    own = own_groups(findings)
    holding = [group.finding for group, holds in own if holds]
    full = [finding for finding in holding if not is_advice(finding)]
    active = _active_entries(systems_row, findings, own, holding, full)
    entries = [entry for entry in active if not entry.advice]
    advised = [finding for finding in holding if is_advice(finding)]
    advisory = not entries and not full and bool(active or advised)
    if advisory:
        entries = active if policy.advice else []
        advised = advised if policy.advice else []
    shown_grounds = {
        rank: found
        for rank, found in systems_row.grounds.items()
        if not findings.withholds(found.rule_id)
    }
    shared = _shared_findings(case, tenant, shown_grounds, entries, full)
    systems = _systems(case, tenant, entries)
    counted = [] if advisory else [*full, *shared]
    computed = advice_score()
    if not advisory:
        evidence = [evidence_of(finding) for finding in counted]
        others = known_tenants(case, tenant)
        computed = _score(evidence, systems, systems_row, policy, others, good)
    tenant_state = TenantState(
        tenant=tenant,
        findings=findings,
        systems_row=systems_row,
        actions=case.actions(tenant),
        policy=policy,
        decisions=[],
        own=[
            (group, holds and (policy.advice or not is_advice(group.finding)))
            for group, holds in own
            if not is_advice(group.finding) or advisory
        ],
        shared=shared,
        entries=entries,
        systems=systems,
        computed=computed,
        score=computed,
        tasks=[],
        status=IncidentStatus.NEW,
        good=good,
        grounds=[ground_of(finding) for finding in counted],
        advisory=advisory,
        by_scan_alone=_is_by_scan_alone(
            counted, popular=findings.popular or any(entry.popular for entry in entries)
        ),
    )
    tenant_state.is_early = not advisory and _is_early(tenant_state, counted)
    return tenant_state


def _active_entries(
    systems_row: SystemsRow,
    findings: FindingsRow,
    own: Sequence[tuple[Group, bool]],
    holding: Sequence[Finding],
    full: Sequence[Finding],
) -> list[Entry]:
    """Return the entries of the tenant's systems that still have a reason.

    Args:
        systems_row: The tenant's systems.
        findings: The tenant's findings.
        own: Groups of its own findings, and whether each holds.
        holding: Its own findings that hold.
        full: Those of them that are more than advice.
    """
    # Withdrawn findings take with them the entries that rest on them alone: those without a ground
    # on any that is more than advice.
    active = [
        entry
        for _, entry in sorted(systems_row.entries.items())
        if entry.active
        and (
            entry.cause
            or entry.of_all
            or not own
            or (holding if entry.advice or entry.ground else full)
        )
    ]
    if findings.withheld and not full:
        active = [
            entry
            for entry in active
            if (found := systems_row.grounds.get(entry.ground)) is None
            or not findings.withholds(found.rule_id)
        ]
    return active


def _is_early(tenant_state: TenantState, counted: Sequence[Finding]) -> bool:
    """Return whether the ledger's row of the bytes has yet to report their popularity.

    A scan's finding in bytes also marks the name that its tenant holds them by, and the row of the
    name may report first. The row of the bytes always follows.
    """
    row = tenant_state.systems_row
    return (
        bool(tenant_state.entries)
        and not row.full
        and not any(is_verified(group.finding) for group, _ in tenant_state.own)
        and _is_by_scan_alone(counted, popular=True)
        and all(
            not entry.of_all
            and not entry.path
            and not entry.cause
            and (found := row.grounds.get(entry.ground)) is not None
            and found.basis is not None
            and found.basis.kind is BasisKind.VERIFIED
            for entry in tenant_state.entries
        )
    )


def _is_by_scan_alone(findings: Sequence[Finding], *, popular: bool) -> bool:
    """Return whether only a scan supports the finding on a popular component.

    A scanner's error on a popular component must not stop everyone.
    """
    severe = [finding for finding in findings if finding.severity.rank >= Severity.HIGH.rank]
    return popular and all(
        finding.basis is not None and finding.basis.kind is BasisKind.VERIFIED for finding in severe
    )


def known_tenants(case: IncidentRows, reader: str | None = None) -> int:
    """Return the count of organisations a reader may see: the threshold reached, else one.

    Args:
        case: The incident.
        reader: A tenant, whose own organisation isn't counted; None: the operator.
    """
    return _reached(case, case.organisations() - (reader is not None and case.counts(reader)))


def known_counts(case: IncidentRows) -> set[int]:
    """Return the counts readers may see now: for counted readers, and for others."""
    count = case.organisations()
    return {_reached(case, count), _reached(case, count - 1)}


def _reached(case: IncidentRows, count: int) -> int:
    thresholds = correlations()["TW-LEDGER-PREVALENCE"].when.thresholds
    return max((threshold for threshold in thresholds if case.k <= threshold <= count), default=1)


def _score(
    evidence: Iterable[Evidence],
    systems: list[SystemView],
    row: SystemsRow,
    policy: Policy,
    tenants: int,
    good: Sequence[KnownGood],
) -> Score:
    exposure = max(
        (system.exposure for system in systems),
        key=attrgetter("rank"),
        default=ExposureLevel.STAGED,
    )
    stated = [system.criticality for system in systems if system.criticality is not None]
    stated += [
        policy.criticality[name]
        for system in systems
        for name in (system.component, system.system)
        if name in policy.criticality
    ]
    affected = len({(system.system, system.component) for system in systems})
    if row.full:
        affected = max(affected, row.tally.count())
    return score(
        evidence,
        affected=bucket(affected, EXACT),
        exposure=exposure,
        tenants=tenants,
        criticality=max(stated, default=None),
        recovery=_recovery(good),
    )


def _recovery(good: Sequence[KnownGood]) -> str:
    if any(version.signed or version.by_intel for version in good):
        return "clean rollback"
    return "no signed baseline" if good else "none"


def bad_digests(row: SystemsRow) -> frozenset[str]:
    """Return the digests excluded from rollback: part of the incident, or found bad since."""
    bad = {entry.digest for entry in row.entries.values() if entry.active and entry.digest}
    bad |= {
        version.digest for version in row.good.values() if not version.active and version.digest
    }
    return frozenset(bad)


def good_of(row: SystemsRow) -> list[KnownGood]:
    """Return the clean versions of the components that the incident reached in this tenant."""
    bad = bad_digests(row)
    reached = {entry.component for entry in row.entries.values() if entry.active}
    return [
        version
        for _, version in sorted(row.good.items())
        if version.active and version.digest not in bad and version.component in reached
    ]


def _systems(case: IncidentRows, tenant: str, entries: list[Entry]) -> list[SystemView]:
    """Merge entries that are one version of one component on one system."""
    own = {entry.component for entry in entries}
    merged: dict[tuple[str, str, str], SystemView] = {}
    for entry in entries:
        key = (entry.system, entry.component, entry.version or entry.digest or "")
        view = SystemView(
            tenant=tenant,
            system=entry.system,
            component=entry.component,
            exposure=entry.exposure,
            since=from_ms(entry.first_ms),
            version=None if (entry.version or "").startswith("from:") else entry.version,
            digest=entry.digest,
            path=_readable_path(case, tenant, entry.path, own),
            criticality=entry.criticality,
            identities=tuple(entry.identities),
        )
        known = merged.get(key)
        merged[key] = view if known is None else _merge_views(known, view)
    # By time, so that a new system is listed after those already listed.
    return sorted(merged.values(), key=lambda view: (view.since, view.system, view.component))


def _readable_path(
    case: IncidentRows, tenant: str, path: list[str], own: set[str]
) -> tuple[str, ...]:
    """Return a path with the components that are not the tenant's own as `elsewhere`."""
    root = readable_root(case.core.root, tenant)
    return tuple(
        step if step in own or step in {root, split_version(root)[0]} else "elsewhere"
        for step in path
    )


def _merge_views(known: SystemView, new: SystemView) -> SystemView:
    shorter = min(known.path, new.path, key=lambda path: (len(path), path))
    return msgspec.structs.replace(
        known,
        exposure=max(known.exposure, new.exposure, key=attrgetter("rank")),
        since=min(known.since, new.since),
        digest=max(known.digest or "", new.digest or "") or None,
        path=shorter,
        criticality=max(
            (value for value in (known.criticality, new.criticality) if value is not None),
            default=None,
        ),
        identities=tuple(sorted({*known.identities, *new.identities})),
    )


def knows_popular(case: IncidentRows, tenant: str) -> bool:
    """Return whether a tenant's part was notified that its component is popular."""
    return case.findings(tenant).popular or any(
        entry.popular for entry in case.systems(tenant).entries.values()
    )


# -- status ----------------------------------------------------------------------------------------


def suppressed_until(decisions: Iterable[tuple[Decision, int]]) -> int:
    """Return when the last suppression ends (ms); 0 if none is in force.

    The one that lasts longest counts; closing or reopening ends those before it.

    Args:
        decisions: The decisions about the part, in order of time.
    """
    until = 0
    for decision, _ in decisions:
        if decision.decision in ENDS_OR_OPENS:
            until = 0
        elif decision.decision is DecisionKind.SUPPRESS and decision.expires is not None:
            until = max(until, to_ms(decision.expires))
    return until


def _status(tenant_state: TenantState, now_ms: int) -> IncidentStatus:
    if not tenant_state.entries and not any(holds for _, holds in tenant_state.own):
        return IncidentStatus.WITHDRAWN
    since = max(
        (
            *(entry.last_ms for entry in tenant_state.entries),
            *(to_ms(group.finding.occurred_at) for group, holds in tenant_state.own if holds),
        ),
        default=0,
    )
    last = _last_of_states(tenant_state.decisions, since)
    kind = last.decision if last is not None else None
    if kind is DecisionKind.FALSE_POSITIVE:
        # before any suppression: what it contained is released now
        return IncidentStatus.FALSE_POSITIVE
    if suppressed_until(tenant_state.decisions) > now_ms:
        return IncidentStatus.SUPPRESSED
    recurred = any(task.state is TaskState.RECURRED for task in tenant_state.tasks)
    if last is not None and _closed(last, since):
        return IncidentStatus.CLOSED
    issued = list(tenant_state.actions.commands.values())
    if (
        recovered(tenant_state.tasks, issued, tenant_state.policy)
        and kind is not DecisionKind.REOPEN
    ):
        return IncidentStatus.CLOSED
    if any(task.state is TaskState.DONE and task.kind in ON_SYSTEMS for task in tenant_state.tasks):
        return IncidentStatus.RECOVERING
    if contained(tenant_state):
        return IncidentStatus.CONTAINED
    acknowledged = kind is DecisionKind.ACKNOWLEDGE and not recurred
    return IncidentStatus.ACKNOWLEDGED if acknowledged else IncidentStatus.NEW


def _last_of_states(decisions: Iterable[tuple[Decision, int]], since_ms: int) -> Decision | None:
    """Return the decision that the status follows from; None if there is none.

    Acknowledging opens nothing that people ended: a false positive, or what is closed.

    Args:
        decisions: The decisions about the part, in order of time.
        since_ms: When its latest finding or sighting was.
    """
    last: Decision | None = None
    for decision, _ in decisions:
        if decision.decision not in STATES:
            continue
        if (
            decision.decision is DecisionKind.ACKNOWLEDGE
            and last is not None
            and (last.decision is DecisionKind.FALSE_POSITIVE or _closed(last, since_ms))
        ):
            continue
        last = decision
    return last


def _closed(decision: Decision, since_ms: int) -> bool:
    """Return whether a decision closed the part, and nothing has been found since."""
    return decision.decision is DecisionKind.CLOSE and since_ms <= to_ms(decision.time)


def contained(tenant_state: TenantState) -> bool:
    """Return whether every command that takes the component out of use has succeeded."""
    decisive = [
        command
        for command in tenant_state.actions.commands.values()
        if command.spec.action in _DECISIVE and command.spec.undoes is None
    ]
    return bool(decisive) and all(command.state() is CommandStatus.DONE for command in decisive)


def phase_of(tenant_state: TenantState) -> Phase:
    """Return the phase of the procedure the tenant's part is in."""
    if tenant_state.ended:
        return Phase.POST_INCIDENT
    if tenant_state.status is IncidentStatus.RECOVERING:
        return Phase.ERADICATION
    if tenant_state.status is IncidentStatus.CONTAINED:
        return Phase.INVESTIGATION
    return Phase.CONTAINMENT if tenant_state.actions.commands else Phase.DETECTION


@lru_cache(1_024)
def alert_id(incident: str, tenant: str) -> str:
    """Return the id of the one alert of an incident in a tenant."""
    return stable_id("alr", incident, tenant)

"""Takes messages into an incident's rows: grow-only sets, so that order does not matter."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.domain.basis import is_advice, is_of_all, is_verified
from agents.triage.bounded_sets import clip, clip_or_none, keep_smallest, stable_rank, trim
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import (
    CHECKS,
    DECISIONS,
    DECISIONS_BYTES,
    ENTRIES_BYTES,
    EVIDENCE_BYTES,
    GOOD,
    GOOD_BYTES,
    GROUNDS_BYTES,
    GROUPS,
    GROUPS_BYTES,
    IDS,
    IDS_BYTES,
    LINKS,
    LINKS_BYTES,
    PROOFS,
    PROOFS_BYTES,
    RESULTS,
    RULES,
    SMALL_BYTES,
    TENANTS,
    TEXT_BYTES,
    Entry,
    FindingsRow,
    Group,
    IdState,
    SystemsRow,
    answered_state,
)
from agents.triage.ledger.batch import supersedes
from agents.triage.ledger.rows import EXPOSURE_RANK, to_ms
from agents.triage.routing import split_version
from schemas.decisions import Decision
from schemas.findings import Finding
from schemas.incidents.commands import CommandView
from schemas.incidents.updates import (
    CHECKED,
    Exposure,
    FindingUpdate,
    KnownGood,
    Prevalence,
    Proof,
    Related,
    ResultUpdate,
    Withdrawal,
)

IDENTITIES: Final = 8


def lean_finding(finding: Finding) -> Finding:
    """Return a finding small enough that sixteen fit a row."""
    evidence = finding.evidence
    if len(msgspec.msgpack.encode(evidence)) > EVIDENCE_BYTES:
        short = {name: value for name, value in sorted(evidence.items()) if _is_short(value)}
        while short and len(msgspec.msgpack.encode(short)) > EVIDENCE_BYTES:
            short.popitem()
        evidence = {**short, "cut": "the indicator record has all of it"}
    return msgspec.structs.replace(
        finding,
        description=clip(finding.description, TEXT_BYTES),
        remediation=clip(finding.remediation, TEXT_BYTES),
        evidence=evidence,
        systems=(),
        identities=(),
        related_keys=(),
        techniques=finding.techniques[:8],
        ssdf=finding.ssdf[:8],
        source=clip(finding.source, SMALL_BYTES),
        event_id=clip(finding.event_id, SMALL_BYTES),
        component=clip(finding.component, TEXT_BYTES),
        version=clip_or_none(finding.version, SMALL_BYTES),
        publisher=clip_or_none(finding.publisher, SMALL_BYTES),
        indicator=msgspec.structs.replace(
            finding.indicator,
            key=clip(finding.indicator.key, TEXT_BYTES),
            value=clip(finding.indicator.value, TEXT_BYTES),
        ),
    )


def _is_short(value: object) -> bool:
    return isinstance(value, (bool, int, float)) or (
        isinstance(value, str) and len(value) <= SMALL_BYTES
    )


def on_finding(case: IncidentRows, update: FindingUpdate, at_ms: int) -> None:
    """Add a finding to its tenant's."""
    finding = update.finding
    if is_verified(finding):
        _note_withheld(case, update)
    if update.withheld:
        case.begin(update.root)
        return
    case.meets(finding.tenant, update.root, counted=not is_advice(finding))
    case.involves(split_version(finding.component)[0])
    row = case.findings(finding.tenant)
    group_key = stable_rank(finding.rule_id, finding.indicator.key)
    lean = lean_finding(finding)
    at = to_ms(finding.occurred_at)
    group = row.groups.get(group_key)
    if group is None:
        row.groups[group_key] = Group(finding=lean, revision=update.revision, first_ms=at)
    else:
        if supersedes(lean, update.revision, group.finding, group.revision):
            group.finding, group.revision = lean, update.revision
        group.first_ms = min(group.first_ms, at)
    _bound_groups(case, row)
    place = stable_rank(finding.id)
    state = row.ids.get(place) or IdState(finding=clip(finding.id, SMALL_BYTES))
    state.group = group_key
    state.revision = max(state.revision, update.revision)
    row.ids[place] = state
    _bound_ids(case, row)
    row.detected_ms = min(row.detected_ms or at_ms, at_ms)
    case.save(row)
    if "fact" not in finding.evidence:
        _systems_of(case, finding, at_ms)


def _note_withheld(case: IncidentRows, update: FindingUpdate) -> None:
    """Note whether its tenant suppresses what a rule finds in the bytes: the last event says."""
    finding = update.finding
    row = case.findings(finding.tenant)
    rank = stable_rank(finding.rule_id)
    state = (to_ms(finding.occurred_at), clip(finding.id, SMALL_BYTES), update.withheld)
    if rank in row.withheld and row.withheld[rank] >= state:
        return
    row.withheld[rank] = state
    if keep_smallest(row.withheld, RULES):
        case.truncate("rules")
    case.save(row)


def _bound_groups(case: IncidentRows, row: FindingsRow) -> None:
    """By severity first, then by rank: what is kept never depends on the order of arrival."""
    if trim(
        row.groups,
        GROUPS,
        GROUPS_BYTES,
        lambda one: (-row.groups[one].finding.severity.rank, one),
    ):
        row.full = True
        case.truncate("findings")


def _bound_ids(case: IncidentRows, row: FindingsRow) -> None:
    if trim(row.ids, IDS, IDS_BYTES):
        row.full = True
        case.truncate("finding ids")


def _systems_of(case: IncidentRows, finding: Finding, at_ms: int) -> None:
    digest = finding.indicator.key
    for system in finding.systems[:64]:
        _add_entry(
            case,
            finding.tenant,
            Entry(
                system=clip(system, SMALL_BYTES),
                component=clip(finding.component, TEXT_BYTES),
                version=clip_or_none(finding.version, SMALL_BYTES),
                digest=digest[7:] if digest.startswith("sha256:") else None,
                exposure=finding.exposure if finding.exposure in EXPOSURE_RANK else "delivered",
                first_ms=to_ms(finding.occurred_at),
                last_ms=to_ms(finding.occurred_at),
                event_id=clip(finding.event_id, SMALL_BYTES),
                path=[],
                origin=None,
                publisher=clip_or_none(finding.publisher, SMALL_BYTES),
                stage=None,
                criticality=None,
                identities=_identities(finding.identities),
                cause="",
                active=True,
                revision=(0, 0),
                advice=is_advice(finding),
            ),
            at_ms,
        )


def _note_ground(case: IncidentRows, row: SystemsRow, seen: Exposure) -> str:
    """Keep what was found where the mark began, once for all that it led to; return its rank."""
    if seen.found is None:
        return ""
    found = msgspec.structs.replace(
        seen.found,
        ioc_type=clip(seen.found.ioc_type, SMALL_BYTES),
        rule_id=clip(seen.found.rule_id, SMALL_BYTES),
        indicator_type=clip(seen.found.indicator_type, SMALL_BYTES),
    )
    rank = stable_rank(msgspec.json.encode(found).decode())
    if rank not in row.grounds:
        row.grounds[rank] = found
        case.save(row)
        if trim(row.grounds, len(row.grounds), GROUNDS_BYTES, lambda one: (one != rank, one)):
            case.truncate("grounds")
    return rank


def _identities(names: tuple[str, ...]) -> list[str]:
    return sorted({clip(one, SMALL_BYTES) for one in names}, key=stable_rank)[:IDENTITIES]


def on_exposure(case: IncidentRows, seen: Exposure, at_ms: int) -> None:
    """Add what a system of a tenant holds."""
    row = case.systems(seen.tenant)
    if not seen.active and not row.entries:
        return
    case.meets(seen.tenant, seen.root, counted=not seen.advice)
    if not seen.advice:
        case.involves(split_version(seen.component)[0])
    first = to_ms(seen.occurred_at)
    _add_entry(
        case,
        seen.tenant,
        Entry(
            system=clip(seen.system, SMALL_BYTES),
            component=clip(seen.component, TEXT_BYTES),
            version=clip_or_none(seen.version, SMALL_BYTES),
            digest=clip_or_none(seen.digest, SMALL_BYTES),
            exposure=seen.exposure if seen.exposure in EXPOSURE_RANK else "delivered",
            first_ms=first,
            last_ms=to_ms(seen.last_seen) if seen.last_seen else first,
            event_id=clip(seen.event_id, SMALL_BYTES),
            path=[clip(one, SMALL_BYTES) for one in seen.path[:16]],
            origin=clip_or_none(seen.origin, SMALL_BYTES),
            publisher=clip_or_none(seen.publisher, SMALL_BYTES),
            stage=clip_or_none(seen.stage, SMALL_BYTES),
            criticality=seen.criticality,
            identities=_identities(seen.identities),
            cause=clip(seen.cause, SMALL_BYTES),
            active=seen.active,
            revision=seen.revision,
            ground=_note_ground(case, row, seen),
            of_all=seen.basis is not None and is_of_all(seen.basis),
            advice=seen.advice,
            popular=seen.popular,
        ),
        at_ms,
        via=seen.via,
    )


def _add_entry(case: IncidentRows, tenant: str, entry: Entry, at_ms: int, *, via: str = "") -> None:
    row = case.systems(tenant)
    of_what = [entry.system, entry.component, entry.version or "", entry.digest or "", entry.cause]
    place = stable_rank(*of_what, "advice", via) if entry.advice else stable_rank(*of_what)
    known = row.entries.get(place)
    row.entries[place] = entry if known is None else _merged(row, known, entry)
    if not entry.advice:
        row.tally.add(f"{entry.system}|{entry.component}", TENANTS)
    if len(row.entries) > IDENTITIES:
        _bound_entries(case, row)
    if entry.active:
        row.detected_ms = min(row.detected_ms or at_ms, at_ms)
    case.save(row)


def _merged(row: SystemsRow, one: Entry, other: Entry) -> Entry:
    better = _stronger(row, one, other)
    early, late = sorted(
        (one, other), key=lambda entry: (entry.first_ms, entry.event_id, str(entry.origin))
    )
    states = one.accounts()
    for account, (active, revision) in other.accounts().items():
        known = states.get(account)
        latest = max((revision, active), (known[1], known[0])) if known else (revision, active)
        states = {**states, account: (latest[1], latest[0])}
    return Entry(
        system=one.system,
        component=one.component,
        version=one.version,
        digest=one.digest,
        exposure=max(one.exposure, other.exposure, key=lambda name: EXPOSURE_RANK[name]),
        first_ms=early.first_ms,
        last_ms=max(one.last_ms, other.last_ms),
        event_id=early.event_id,
        path=min(one.path, other.path, key=lambda path: (len(path), path)),
        origin=early.origin or late.origin,
        publisher=early.publisher or late.publisher,
        stage=early.stage or late.stage,
        criticality=max(
            (value for value in (one.criticality, other.criticality) if value is not None),
            default=None,
        ),
        identities=sorted({*one.identities, *other.identities}, key=stable_rank)[:IDENTITIES],
        cause=one.cause,
        active=any(active for active, _ in states.values()),
        revision=max(revision for _, revision in states.values()),
        ground=better.ground,
        of_all=better.of_all,
        advice=one.advice,
        popular=one.popular or other.popular,
        states=states if len(states) > 1 else {},
    )


def _stronger(row: SystemsRow, one: Entry, other: Entry) -> Entry:
    """Return the entry that is known better: one version may be marked on several accounts."""

    def order(entry: Entry) -> tuple[bool, bool, int, float, str]:
        found = row.grounds.get(entry.ground)
        return (
            found is None,
            not entry.of_all,
            -found.severity.rank if found else 0,
            -found.confidence if found else 0.0,
            entry.ground,
        )

    return min(one, other, key=order)


def _bound_entries(case: IncidentRows, row: SystemsRow) -> None:
    """Keep the entries of the smallest ranks that fit the row, advice behind all others."""
    held = row.entries
    if trim(held, len(held), ENTRIES_BYTES, lambda place: (held[place].advice, place)):
        row.full = True
        case.truncate("systems")


def on_known_good(case: IncidentRows, good: KnownGood) -> None:
    """Note a version that may be rolled back to, or that no longer may."""
    row = case.systems(good.tenant)
    good = msgspec.structs.replace(
        good,
        # Which incident and tenant it is of, the row's key says.
        incident="",
        tenant="",
        component=clip(good.component, TEXT_BYTES),
        version=clip_or_none(good.version, SMALL_BYTES),
        digest=clip_or_none(good.digest, SMALL_BYTES),
    )
    place = stable_rank(good.component, good.version or "", good.digest or "")
    known = row.good.get(place)
    if known is not None:
        newer = max(good, known, key=lambda one: (one.revision, not one.active))
        good = msgspec.structs.replace(
            good,
            seen_at=min(known.seen_at, good.seen_at),
            signed=known.signed or good.signed,
            # Intelligence may vouch for it no longer: the later word counts.
            by_intel=newer.by_intel
            if known.revision != good.revision
            else known.by_intel or good.by_intel,
            active=newer.active,
            revision=newer.revision,
        )
        if good == known:
            return
    row.good[place] = good
    _bound_good(case, row)
    case.save(row)


def _bound_good(case: IncidentRows, row: SystemsRow) -> None:
    """Keep a few of each component: what may be gone back to first, then what was said last.

    Every component keeps its first before any keeps its second. Those taken back count as well:
    what is kept must not depend on when that was heard of.
    """
    of_component: dict[str, int] = {}
    places: list[tuple[int, str, str]] = []
    for place, good in sorted(row.good.items(), key=lambda one: _good_order(*one)):
        number = of_component.get(good.component, 0)
        of_component[good.component] = number + 1
        if number < GOOD:
            places.append((number, stable_rank(good.component), place))
    kept: dict[str, KnownGood] = {}
    left = GOOD_BYTES
    for _, _, place in sorted(places):
        left -= len(msgspec.msgpack.encode(row.good[place])) + len(place)
        if left < 0:
            break
        kept[place] = row.good[place]
    if len(kept) < len(row.good):
        case.truncate("known-good versions")
    row.good = kept


def _good_order(place: str, good: KnownGood) -> tuple[bool, bool, bool, int, int, str]:
    active = good.active
    first, second = good.revision
    return (
        not active,
        not (active and good.by_intel),
        not (active and good.signed),
        -first,
        -second,
        place,
    )


def on_proof(case: IncidentRows, proof: Proof) -> None:
    """Note that a later event of a system was clean: of each version the latest counts.

    A check that a version passed once is passed, whichever event told of it.
    """
    row = case.systems(proof.tenant)
    of_what = (proof.system, proof.component, proof.version or "", proof.digest or "")
    place = stable_rank(*of_what, CHECKED) if proof.kind == CHECKED else stable_rank(*of_what)
    known = row.proofs.get(place)
    passed, told = set(proof.passed), {*proof.passed, *proof.not_passed}
    latest = proof
    if known is not None:
        passed |= {*known.passed}
        told |= {*known.passed, *known.not_passed}
        latest = max(proof, known, key=lambda one: (one.occurred_at, one.event_id))
    checks = sorted({clip(name, SMALL_BYTES) for name in told}, key=stable_rank)[:CHECKS]
    passed = {clip(name, SMALL_BYTES) for name in passed}
    proof = msgspec.structs.replace(
        latest,
        # Which incident and tenant it is of, the row's key says.
        incident="",
        tenant="",
        system=clip(latest.system, SMALL_BYTES),
        component=clip(latest.component, TEXT_BYTES),
        event_id=clip(latest.event_id, SMALL_BYTES),
        version=clip_or_none(latest.version, SMALL_BYTES),
        digest=clip_or_none(latest.digest, SMALL_BYTES),
        kind=clip(latest.kind, SMALL_BYTES),
        passed=tuple(name for name in checks if name in passed),
        not_passed=tuple(name for name in checks if name not in passed),
    )
    if proof == known:
        return
    row.proofs[place] = proof
    if trim(row.proofs, PROOFS, PROOFS_BYTES):
        case.truncate("proofs")
    case.save(row)


def on_withdrawal(case: IncidentRows, gone: Withdrawal) -> None:
    """Note that a finding no longer holds, also when it has not arrived yet."""
    row = case.findings(gone.tenant)
    place = stable_rank(gone.finding)
    state = row.ids.get(place) or IdState(finding=clip(gone.finding, SMALL_BYTES))
    if state.withdrawn is None or gone.revision > state.withdrawn:
        state.withdrawn, state.reason = gone.revision, clip(gone.reason, SMALL_BYTES)
    row.ids[place] = state
    _bound_ids(case, row)
    case.save(row)


def on_prevalence(case: IncidentRows, seen: Prevalence) -> None:
    """Note that the indicator reached a number of tenants."""
    if seen.threshold not in case.core.thresholds:
        case.core.thresholds = sorted({*case.core.thresholds, seen.threshold})[:8]
        case.save_core()


def on_related(case: IncidentRows, link: Related) -> None:
    """Note another incident about the same key; a campaign is the smallest id of a linked set."""
    core = case.core
    smallest = min(link.other, case.incident, core.campaign or case.incident)
    if smallest != (core.campaign or case.incident):
        core.campaign = smallest
        case.save_core()
    if link.via == "campaign":
        return
    place = stable_rank(link.other)
    known = core.related.get(place)
    tenants = sorted({*(known[2] if known else ()), *([link.tenant] if link.tenant else ())})
    via = min(known[1], link.via) if known else link.via
    entry = (clip(link.other, SMALL_BYTES), clip(via, SMALL_BYTES), tenants[:LINKS])
    if known != entry:
        core.related[place] = entry
        if trim(core.related, LINKS, LINKS_BYTES):
            case.truncate("related incidents")
        case.save_core()


def on_decision(case: IncidentRows, decision: Decision, at_ms: int) -> None:
    """Note a decision: of the operator for the whole, of a tenant for its part."""
    decision = msgspec.structs.replace(
        decision,
        id=clip(decision.id, SMALL_BYTES),
        incident=case.incident,
        reason=clip(decision.reason, TEXT_BYTES),
        actor=clip(decision.actor, SMALL_BYTES),
        target=clip_or_none(decision.target, TEXT_BYTES),
        key=clip_or_none(decision.key, SMALL_BYTES),
    )
    place = stable_rank(decision.id)
    if decision.tenant is None:
        if place not in case.core.decisions:
            case.core.decisions[place] = (decision, at_ms)
            if trim(case.core.decisions, DECISIONS, DECISIONS_BYTES):
                case.truncate("decisions")
            case.save_core()
        return
    if decision.tenant not in case.core.tenants.values():
        return  # a tenant decides about its own part only
    row = case.actions(decision.tenant)
    if place not in row.decisions:
        row.decisions[place] = (decision, at_ms)
        if trim(row.decisions, DECISIONS, DECISIONS_BYTES):
            case.truncate("decisions")
        case.save(row)


def hold_of(case: IncidentRows, result: ResultUpdate) -> str | None:
    """Return the component whose hold issued the command that a result answers, None if none."""
    command = case.actions(result.tenant).commands.get(result.command_id)
    return (command.spec.hold or None) if command is not None else None


def on_result(case: IncidentRows, result: ResultUpdate) -> CommandView | None:
    """Note a responder's answer to a command of the tenant.

    Returns:
        The command and this answer, for the audit; None for one that is known already, or
        to no command known here.
    """
    row = case.actions(result.tenant)
    command = row.commands.get(result.command_id)
    if command is None:
        return None
    place = stable_rank(result.id)
    if place in command.results:
        return None
    at = to_ms(result.at)
    command.results[place] = (at, result.status, clip(result.status_text, SMALL_BYTES))
    if len(command.results) > RESULTS:
        for extra in sorted(command.results, key=lambda one: command.results[one])[:-RESULTS]:
            del command.results[extra]
    case.save(row)
    return CommandView(
        spec=command.spec,
        state=answered_state(result.status),
        status=result.status,
        status_text=clip(result.status_text, SMALL_BYTES),
    )

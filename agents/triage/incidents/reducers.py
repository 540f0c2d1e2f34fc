"""Reduces messages into an incident's rows: grow-only sets, so that order does not matter."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.domain.basis import is_advice, is_verified
from agents.triage.bounded_sets import clip, clip_or_none, keep_smallest, stable_rank, trim
from agents.triage.incidents.exposures import add_systems_of
from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import (
    CHECKS,
    DECISIONS,
    DECISIONS_BYTES,
    EVIDENCE_BYTES,
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
    TEXT_BYTES,
    FindingsRow,
    Group,
    IdState,
    answered_state,
)
from agents.triage.ledger.batch import supersedes
from agents.triage.ledger.rows import to_ms
from agents.triage.routing import split_version
from schemas.decisions import Decision, DecisionKind
from schemas.findings import Finding
from schemas.incidents.commands import CommandView
from schemas.incidents.updates import (
    CAMPAIGN,
    CHECKED,
    FindingUpdate,
    Prevalence,
    Proof,
    Related,
    ResultUpdate,
    Withdrawal,
)

IDENTITIES: Final = 8


def lean_finding(finding: Finding) -> Finding:
    """Return a finding with its texts clipped, small enough that sixteen fit a row."""
    evidence = finding.evidence
    if len(msgspec.msgpack.encode(evidence)) > EVIDENCE_BYTES:
        short = {name: value for name, value in sorted(evidence.items()) if _is_short(value)}
        while short and len(msgspec.msgpack.encode(short)) > EVIDENCE_BYTES:
            short.popitem()
        evidence = {**short, "cut": "the full value is in the indicator record"}
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
    rank = stable_rank(finding.id)
    state = row.ids.get(rank) or IdState(finding=clip(finding.id, SMALL_BYTES))
    state.group = group_key
    state.revision = max(state.revision, update.revision)
    row.ids[rank] = state
    _bound_ids(case, row)
    row.detected_ms = min(row.detected_ms or at_ms, at_ms)
    row.popular = row.popular or update.popular
    case.save(row)
    if "fact" not in finding.evidence:
        add_systems_of(case, finding, at_ms)


def _note_withheld(case: IncidentRows, update: FindingUpdate) -> None:
    """Note whether its tenant suppresses a rule's finding in the bytes: the last event decides."""
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
    """Keep groups by severity, then by rank, so that the order of arrival never matters."""
    if trim(
        row.groups,
        GROUPS,
        GROUPS_BYTES,
        lambda key: (-row.groups[key].finding.severity.rank, key),
    ):
        row.full = True
        case.truncate("findings")


def _bound_ids(case: IncidentRows, row: FindingsRow) -> None:
    if trim(row.ids, IDS, IDS_BYTES):
        row.full = True
        case.truncate("finding ids")


def on_proof(case: IncidentRows, proof: Proof) -> None:
    """Note that a later event of a system was clean; the latest of each version wins.

    A check that a version passed once stays passed, whichever event reported it.
    """
    row = case.systems(proof.tenant)
    of_what = (proof.system, proof.component, proof.version or "", proof.digest or "")
    rank = stable_rank(*of_what, CHECKED) if proof.kind == CHECKED else stable_rank(*of_what)
    known = row.proofs.get(rank)
    passed, reported = set(proof.passed), {*proof.passed, *proof.not_passed}
    latest = proof
    if known is not None:
        passed |= {*known.passed}
        reported |= {*known.passed, *known.not_passed}
        latest = max(proof, known, key=lambda proof: (proof.occurred_at, proof.event_id))
    checks = sorted({clip(name, SMALL_BYTES) for name in reported}, key=stable_rank)[:CHECKS]
    passed = {clip(name, SMALL_BYTES) for name in passed}
    proof = msgspec.structs.replace(
        latest,
        # The row's key names the incident and tenant.
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
    row.proofs[rank] = proof
    if trim(row.proofs, PROOFS, PROOFS_BYTES):
        case.truncate("proofs")
    case.save(row)


def on_withdrawal(case: IncidentRows, gone: Withdrawal) -> None:
    """Note that a finding no longer holds, even if it has not arrived yet."""
    row = case.findings(gone.tenant)
    rank = stable_rank(gone.finding)
    state = row.ids.get(rank) or IdState(finding=clip(gone.finding, SMALL_BYTES))
    if state.withdrawn is None or gone.revision > state.withdrawn:
        state.withdrawn, state.reason = gone.revision, clip(gone.reason, SMALL_BYTES)
    row.ids[rank] = state
    _bound_ids(case, row)
    case.save(row)


def on_prevalence(case: IncidentRows, seen: Prevalence) -> None:
    """Note that the indicator reached a threshold of tenants."""
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
    if link.via == CAMPAIGN:
        return
    rank = stable_rank(link.other)
    known = core.related.get(rank)
    tenants = sorted({*(known[2] if known else ()), *([link.tenant] if link.tenant else ())})
    via = min(known[1], link.via) if known else link.via
    entry = (clip(link.other, SMALL_BYTES), clip(via, SMALL_BYTES), tenants[:LINKS])
    if known != entry:
        core.related[rank] = entry
        if trim(core.related, LINKS, LINKS_BYTES):
            case.truncate("related incidents")
        case.save_core()


def on_decision(case: IncidentRows, decision: Decision, at_ms: int) -> None:
    """Note a decision: the operator's for the whole, a tenant's for its part."""
    decision = msgspec.structs.replace(
        decision,
        id=clip(decision.id, SMALL_BYTES),
        incident=case.incident,
        reason=clip(decision.reason, TEXT_BYTES),
        actor=clip(decision.actor, SMALL_BYTES),
        target=clip_or_none(decision.target, TEXT_BYTES),
        key=clip_or_none(decision.key, SMALL_BYTES),
    )
    rank = stable_rank(decision.id)
    if decision.decision is DecisionKind.COMMENT:
        # after every rank: comments never displace a deciding record
        rank = f"~{rank}"
    if decision.tenant is None:
        if rank not in case.core.decisions:
            case.core.decisions[rank] = (decision, at_ms)
            if trim(case.core.decisions, DECISIONS, DECISIONS_BYTES):
                case.truncate("decisions")
            case.save_core()
        return
    if decision.tenant not in case.core.tenants.values():
        return  # a tenant only decides about its own part
    row = case.actions(decision.tenant)
    if rank not in row.decisions:
        row.decisions[rank] = (decision, at_ms)
        if trim(row.decisions, DECISIONS, DECISIONS_BYTES):
            case.truncate("decisions")
        case.save(row)


def hold_of(case: IncidentRows, result: ResultUpdate) -> str | None:
    """Return the component whose hold issued the answered command, or None."""
    command = case.actions(result.tenant).commands.get(result.command_id)
    return (command.spec.hold or None) if command is not None else None


def on_result(case: IncidentRows, result: ResultUpdate) -> CommandView | None:
    """Note a responder's answer to a command of the tenant.

    Returns:
        The command and this answer, for the audit; None if the answer is known or the command
        isn't.
    """
    row = case.actions(result.tenant)
    command = row.commands.get(result.command_id)
    if command is None:
        return None
    rank = stable_rank(result.id)
    if rank in command.results:
        return None
    at = to_ms(result.at)
    command.results[rank] = (at, result.status, clip(result.status_text, SMALL_BYTES))
    if len(command.results) > RESULTS:
        oldest = sorted(command.results, key=lambda key: command.results[key])
        for extra in oldest[:-RESULTS]:
            del command.results[extra]
    case.save(row)
    return CommandView(
        spec=command.spec,
        state=answered_state(result.status),
        status=result.status,
        status_text=clip(result.status_text, SMALL_BYTES),
    )

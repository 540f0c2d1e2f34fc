"""Derive the lessons of an incident: failed controls, policy changes, rules, learned facts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from agents.triage.routing import split_version
from agents.triage.scoring import CONFIRMED, CONFIRMED_CONFIDENCE
from schemas.counting import counted
from schemas.documents.stix import pattern
from schemas.incidents.states import IncidentStatus, TaskKind, TaskState
from schemas.incidents.views import FindingView, IncidentDocument
from schemas.intel import IntelFact, IntelKind
from schemas.severity import ExposureLevel, Severity
from schemas.sharing import SHARED_STATUSES, is_shareable, shared_indicators

_RAN: Final = frozenset({ExposureLevel.EXECUTED, ExposureLevel.SERVING})


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A preventive control, and how Tidewatch enforces it."""

    name: str
    kinds: frozenset[str]
    """Kinds of finding that show it missing or bypassed."""
    change: str
    """The recommended change."""
    setting: str | None = None
    """The entry of the policy's `required_checks` that enforces it."""


CONTROLS: Final = (
    Control(
        name="models are scanned before they are loaded",
        kinds=frozenset(
            {
                "malicious_payload",
                "dangerous_serialization",
                "embedded_executable",
                "template_injection",
                "suspicious_code",
                "incomplete_analysis",
            }
        ),
        change="load safetensors only, and let a gate wait for the scan's assessment",
        setting="format_safety",
    ),
    Control(
        name="models are signed, and verified before use",
        kinds=frozenset(
            {
                "unsigned_artifact",
                "signature_absent",
                "invalid_signature",
                "hash_mismatch",
                "tag_mutation",
            }
        ),
        change="require signatures and pin revisions by digest",
        setting="signature",
    ),
    Control(
        name="packages are installed from a lock with hashes",
        kinds=frozenset(
            {
                "unpinned_dependency",
                "hash_missing",
                "package_hash_mismatch",
                "known_compromised_package",
                "possible_typosquat",
                "combosquat",
            }
        ),
        change="install with --require-hashes from a lock that 'tidewatch lock' writes",
    ),
    Control(
        name="internal names come from one index",
        kinds=frozenset({"dependency_confusion", "source_mismatch", "insecure_index"}),
        change="list the internal prefixes and their one index under internal in the policy",
    ),
    Control(
        name="training data comes from approved sources, unchanged",
        kinds=frozenset(
            {
                "insecure_data_source",
                "unverified_data_source",
                "poisoned_dataset",
                "data_hash_drift",
            }
        ),
        change="pin datasets by digest and list trusted hosts in trusted.data_hosts of the policy",
    ),
    Control(
        name="pipelines run the configuration that was reviewed",
        kinds=frozenset({"config_tampering", "secret_exposure", "insecure_setting"}),
        change="give expected_config_hash with each run, from version control",
    ),
    Control(
        name="a change of publisher is confirmed before its work is used",
        kinds=frozenset(
            {"publisher_change", "package_publisher_change", "account_compromise", "domain_change"}
        ),
        change="list the trusted publishers in trusted.publishers of the policy",
    ),
)


def failed_controls(incident: IncidentDocument) -> list[tuple[Control, str]]:
    """Return the controls that the findings concern, and the exposure that each allowed."""
    kinds = {finding.ioc_type for finding in incident.findings if finding.active}
    on = {(system.tenant, system.system) for system in incident.systems}
    ran = len(
        {(system.tenant, system.system) for system in incident.systems if system.exposure in _RAN}
    )
    came = len(on) - ran
    if ran:
        how = f"failed: it ran or served on {counted(ran, 'system')} before it was found"
    elif came:
        how = f"bypassed: it reached {counted(came, 'system')} and ran on none"
    else:
        how = "held: it was found before any system had it"
    if incident.processing.retro:
        how += "; the intelligence on it arrived later than it did"
    return [(control, how) for control in CONTROLS if control.kinds & kinds]


def _confirmed(finding: FindingView) -> bool:
    return (
        finding.active
        and finding.ioc_type in CONFIRMED
        and finding.severity.rank >= Severity.HIGH.rank
        and finding.confidence >= CONFIRMED_CONFIDENCE
    )


def policy_changes(incident: IncidentDocument) -> list[str]:
    """Return proposed changes of the tenants' policies; none is made automatically.

    Proposes to block publishers of confirmed hostile components only, never publishers of
    components that merely lacked a pin.
    """
    if incident.status.refuted:
        return []
    sources = {
        finding.publisher
        for finding in incident.findings
        if _confirmed(finding) and finding.publisher
    }
    sources |= {
        finding.indicator_key
        for finding in incident.findings
        if _confirmed(finding) and finding.indicator_key.startswith(("sha256:", "domain:"))
    }
    changes = [f"add {source} to blocked_sources" for source in sorted(sources)]
    for control, _ in failed_controls(incident):
        changes.append(control.change)
        if control.setting:
            changes.append(f"add {control.setting} to required_checks")
    entrances = {
        task.system
        for task in incident.tasks
        if task.kind == TaskKind.PATCH and task.state != TaskState.DONE
    }
    if entrances:
        changes.append(
            f"add entry_point to required_checks: the entry point is open on "
            f"{counted(len(entrances), 'system')}"
        )
    return changes


def rules_to_add(incident: IncidentDocument) -> list[str]:
    """Return proposed rules: patterns of confirmed values, and gaps in existing rules."""
    confirmed = {finding.indicator_key for finding in incident.findings if _confirmed(finding)}
    rules = [
        f"look for {pattern(shared)} ({shared.ioc_type.replace('_', ' ')})"
        for shared in shared_indicators(incident)
        if shared.key in confirmed and not shared.revoked
    ]
    matched = {finding.rule_id for finding in incident.findings if _of_fact(finding)}
    seen = {finding.rule_id for finding in incident.findings} - matched
    if matched and not seen:
        rules.append(
            "only intelligence matched, no detection rule did: write one from the captured "
            f"evidence ({', '.join(sorted(matched))} fired)"
        )
    doubtful = sorted(
        {f.rule_id for f in incident.findings if f.active and f.confidence < CONFIRMED_CONFIDENCE}
    )
    if incident.status == IncidentStatus.FALSE_POSITIVE:
        rules += [f"tune {rule}: false positive here" for rule in sorted(seen)]
    elif confirmed and doubtful:
        rules.append(f"raise the confidence of {', '.join(doubtful)}: true positive here")
    return rules


def _of_fact(finding: FindingView) -> bool:
    return bool(finding.evidence.get("fact"))


def learned_facts(incident: IncidentDocument) -> list[IntelFact]:
    """Return the facts that an incident adds to the intelligence topic.

    Only values that mean the same to every tenant and that a check confirmed, once the incident is
    contained; what intelligence reported already is left out.
    """
    if incident.status not in SHARED_STATUSES:
        return []
    facts: dict[str, IntelFact] = {}
    for finding in incident.findings:
        if not _confirmed(finding) or _of_fact(finding) or not is_shareable(finding):
            continue
        key, version = split_version(finding.indicator_key)
        if version is None and not key.startswith(("sha256:", "domain:")):
            continue  # a hostile version does not make the name hostile
        known = facts.get(key)
        facts[key] = IntelFact(
            key=key,
            kind=IntelKind.COMPROMISED
            if finding.ioc_type == "account_compromise"
            else IntelKind.MALICIOUS,
            versions=_both(known.versions if known else (), version),
            sources=(f"incident:{incident.id}",),
            confidence=max(finding.confidence, known.confidence if known else 0.0),
            modified=max(finding.occurred_at, known.modified)
            if known and known.modified
            else finding.occurred_at,
            summary=f"{finding.ioc_type.replace('_', ' ')} ({finding.rule_id})",
        )
    return [facts[key] for key in sorted(facts)]


def _both(versions: Iterable[str], version: str | None) -> tuple[str, ...]:
    return tuple(sorted({*versions, *([version] if version else [])}))

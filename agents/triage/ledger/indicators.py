"""Indicators: one record per value, tenant and kind, with its prevalence and marks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from agents.checks.packages.intel_match import matches
from agents.domain.basis import bare_finding, basis_of, claimed, is_advice, is_verified
from agents.domain.component_keys import names_content
from agents.domain.findings import SOLE_FILE
from agents.domain.network_values import defanged, network_values
from agents.triage.bounded_sets import clip, clip_or_none, keep_smallest, stable_rank
from agents.triage.correlation import correlations, reached, taints
from agents.triage.ledger import drift
from agents.triage.ledger.batch import LedgerBatch, content_hash, supersedes
from agents.triage.ledger.campaigns import count_components
from agents.triage.ledger.marks import About, add_mark, dismissed_at, fresh_mark
from agents.triage.ledger.prevalence import (
    TENANT_RULE,
    count_tenants,
    prevalence,
    relate,
    report_prevalence,
)
from agents.triage.ledger.rows import (
    DAY_MS,
    FACT,
    FINDING_IDS,
    IOC,
    KEY_BYTES,
    NAME_BYTES,
    PAGE,
    SUPPRESSIONS,
    TEXT_BYTES,
    ComponentRow,
    FactRow,
    IocRow,
    from_ms,
    to_ms,
)
from agents.triage.routing import incident_root, opens_incident, split_version
from agents.triage.store import row_key
from schemas.canonical import stable_id
from schemas.findings import Finding, Indicator, SupplyChainIoC
from schemas.incidents.updates import FindingUpdate, Withdrawal
from schemas.intel import IntelFact, IntelKind
from schemas.ledger import FindingSeen, Revision
from schemas.severity import Category, Disposition, IndicatorStatus, Severity
from schemas.taxonomy import taxonomy

VALID_DAYS: Final = 365
EVIDENCE_BYTES: Final = 8_000
"""Most bytes of a finding's evidence in its indicator's record."""
INDICATOR_BYTES: Final = 2_400
"""Most bytes of an indicator's key or value: the longest component key and a version."""
SUPPRESSING: Final = frozenset({IntelKind.WARNINGLIST, IntelKind.KNOWN_GOOD})
"""Kinds of fact that withdraw findings."""


def is_about(fact: IntelFact, version: str | None, digest: str | None) -> bool:
    """Return whether a suppressing fact is about a version and digest."""
    if fact.kind is IntelKind.WARNINGLIST and not (fact.versions or fact.ranges or fact.digests):
        return True
    return matches(fact, version, (digest,) if digest else ()) is True


def on_finding(batch: LedgerBatch, seen: FindingSeen) -> None:
    """File a finding under one of its keys: indicator, component or publisher."""
    finding = seen.finding
    indicator_key, indicator_version = split_version(finding.indicator.key)
    if seen.withheld:
        _on_withheld(batch, seen, indicator_key)
        return
    component_key = split_version(finding.component)[0]
    row = batch.component_row(seen.key)
    if seen.active and opens_incident(finding):
        relate(batch, seen, row)
    if taints(finding) and seen.key in {indicator_key, component_key}:
        _mark(batch, seen, row, indicator_key, indicator_version)
    if seen.key == indicator_key:
        if seen.active and is_verified(finding) and opens_incident(finding):
            _report_finding(batch, seen, row)
        _file(batch, seen, row)
    if seen.key == component_key or seen.key.startswith("dataset:"):
        drift.note_signal(batch, seen.key, finding, active=seen.active)
    if seen.key == finding.publisher and seen.key != indicator_key and seen.active:
        count_components(batch, seen)


def _on_withheld(batch: LedgerBatch, seen: FindingSeen, indicator_key: str) -> None:
    """Mark bytes for their other holders, without an alert for this tenant."""
    if seen.key != indicator_key or not is_verified(seen.finding):
        return
    row = batch.component_row(seen.key)
    _report_finding(batch, seen, row)
    if taints(seen.finding):
        _mark(batch, seen, row, indicator_key, None)


def _report_finding(batch: LedgerBatch, seen: FindingSeen, row: ComponentRow) -> None:
    batch.send_to_incident(
        seen.incident,
        FindingUpdate(
            incident=seen.incident,
            root=incident_root(seen.finding),
            finding=seen.finding,
            revision=seen.revision,
            withheld=seen.withheld,
            popular=row.popular,
        ),
    )


def _mark(
    batch: LedgerBatch,
    seen: FindingSeen,
    row: ComponentRow,
    indicator_key: str,
    indicator_version: str | None,
) -> None:
    """Mark the component that a finding is about.

    What Tidewatch found in bytes that it hashed concerns all their holders. Everything else
    concerns what its own tenant holds: a name means the same bytes within one tenant at most, and
    intelligence sets marks of its own.
    """
    finding = seen.finding
    if is_advice(finding):
        return
    by_digest = indicator_key.startswith("sha256:")
    version = indicator_version or finding.version
    by_fact = "fact" in finding.evidence
    digest = indicator_key[7:] if by_digest else None
    if digest is None and by_fact:
        digest = finding.evidence.get("digest")
    if seen.key.startswith("sha256:"):
        version, digest = None, None
    elif seen.key != split_version(finding.component)[0]:
        version, digest = indicator_version, None
    elif by_digest and seen.key.startswith("pypi:"):
        version = None  # other files of the release may be intact
    if seen.key != indicator_key and version is None and digest is None:
        return  # its version is unknown
    basis = basis_of(finding)
    of_bytes = is_verified(finding) and by_digest and seen.key == indicator_key
    tenant = "" if of_bytes else finding.tenant
    mark = fresh_mark(
        seen.incident,
        incident_root(finding),
        version=version,
        digest=digest if isinstance(digest, str) else None,
        tenant=tenant,
        basis=basis if of_bytes else claimed(finding.tenant),
        found=bare_finding(finding),
        cause=str(finding.evidence.get("fact", "")),
        revision=seen.revision,
        # If a version can be reassigned, another digest is something else; but of several files
        # each has a digest, and the whole has another.
        undigested=by_digest
        and finding.evidence.get(SOLE_FILE) is True
        and not names_content(version),
    )
    dismissed = dismissed_at(batch, seen.key, row, seen.incident, tenant)
    mark.active = seen.active and (dismissed is None or dismissed < seen.revision)
    if add_mark(batch, seen.key, row, mark) and not row.over_correlating:
        # Once known to be hostile, it is counted wherever it was seen.
        report_prevalence(batch, seen.key, row)


def _file(batch: LedgerBatch, seen: FindingSeen, row: ComponentRow) -> None:
    finding = seen.finding
    key = row_key(IOC, seen.key, finding.tenant, finding.indicator.key, finding.ioc_type)
    ioc = batch.store.load(key, IocRow)
    at = to_ms(finding.occurred_at)
    lean = _lean(finding)
    if ioc is None:
        ioc = IocRow(
            finding=lean,
            revision=seen.revision,
            first_ms=at,
            last_ms=at,
            incident=clip(seen.incident, TEXT_BYTES),
        )
        ioc.suppressed = _standing_suppression(batch, seen.key, row, finding)
    elif supersedes(lean, seen.revision, ioc.finding, ioc.revision):
        ioc.finding, ioc.revision = lean, seen.revision
    ioc.first_ms = min(ioc.first_ms, at)
    ioc.last_ms = max(ioc.last_ms, at)
    rank = stable_rank(finding.id)
    known = ioc.ids.get(rank)
    if known is None or seen.revision > known[1]:
        ioc.ids[rank] = (clip(finding.id, TEXT_BYTES), seen.revision, seen.active)
        if keep_smallest(ioc.ids, FINDING_IDS):
            batch.bound_reached("findings of one indicator", seen.key, FINDING_IDS)
    batch.store.save(key, ioc)
    count_tenants(batch, seen, row)
    if not ioc.active() and seen.active and ioc.suppressed:
        _withdraw_findings(batch, ioc)
    _publish(batch, key, ioc, row)


def _lean(finding: Finding) -> Finding:
    """Return a finding small enough for a row."""
    evidence = finding.evidence
    if len(msgspec.msgpack.encode(evidence)) > EVIDENCE_BYTES:
        names = [clip(name, TEXT_BYTES) for name in sorted(evidence)[:16]]
        evidence = {"cut": "evidence too large; see the finding", "fields": names}
    indicator = finding.indicator
    return msgspec.structs.replace(
        finding,
        id=clip(finding.id, TEXT_BYTES),
        description=clip(finding.description, 1_000),
        remediation=clip(finding.remediation, 1_000),
        evidence=evidence,
        techniques=finding.techniques[:16],
        ssdf=finding.ssdf[:16],
        indicator=msgspec.structs.replace(
            indicator,
            key=clip(indicator.key, INDICATOR_BYTES),
            value=clip(indicator.value, INDICATOR_BYTES),
        ),
        component=clip(finding.component, INDICATOR_BYTES),
        version=clip_or_none(finding.version, NAME_BYTES),
        source=clip(finding.source, KEY_BYTES),
        event_id=clip(finding.event_id, KEY_BYTES),
        publisher=clip_or_none(finding.publisher, KEY_BYTES),
        systems=tuple(clip(text, TEXT_BYTES) for text in finding.systems[:32]),
        identities=tuple(clip(text, TEXT_BYTES) for text in finding.identities[:16]),
        related_keys=tuple(clip(text, NAME_BYTES) for text in finding.related_keys[:8]),
    )


def _standing_suppression(
    batch: LedgerBatch, component: str, row: ComponentRow, finding: Finding
) -> dict[str, tuple[Revision, bool]]:
    standing: dict[str, tuple[Revision, bool]] = {}
    for fact_key in row.facts.values():
        known = batch.store.load(row_key(FACT, component, fact_key), FactRow)
        if (
            known is not None
            and known.fact is not None
            and known.fact.kind in SUPPRESSING
            and is_about(known.fact, finding.version, _digest_of(finding))
        ):
            standing[clip(fact_key, NAME_BYTES)] = (known.revision, True)
    return _bounded(batch, component, standing)


def _bounded(
    batch: LedgerBatch, component: str, suppressed: dict[str, tuple[Revision, bool]]
) -> dict[str, tuple[Revision, bool]]:
    if len(suppressed) <= SUPPRESSIONS:
        return suppressed
    batch.bound_reached("facts that withdraw one indicator", component, SUPPRESSIONS)
    return {
        reason: suppressed[reason] for reason in sorted(suppressed, key=stable_rank)[:SUPPRESSIONS]
    }


def _publish(batch: LedgerBatch, key: str, ioc: IocRow, row: ComponentRow) -> None:
    """Publish the record if anything changed that a reader acts on."""
    finding = ioc.finding
    active = ioc.active()
    count = prevalence(batch, row, batch.register.counted(finding.tenant))
    thresholds = correlations()[TENANT_RULE].when.thresholds
    reported_count = reached([threshold for threshold in thresholds if threshold >= batch.k], count)
    status = IndicatorStatus.ACTIVE if active else IndicatorStatus.WITHDRAWN
    reported = stable_id(
        "told",
        content_hash(finding),
        status,
        str(reported_count),
        str(ioc.last_ms // DAY_MS),
    )
    if reported == ioc.reported:
        return
    ioc.reported = reported
    ioc.published += 1
    batch.store.save(key, ioc)
    record = SupplyChainIoC(
        id=stable_id("ioc", finding.indicator.key, finding.tenant, finding.ioc_type),
        ioc_type=finding.ioc_type,
        severity=finding.severity,
        confidence=finding.confidence,
        description=finding.description,
        evidence=finding.evidence,
        mitre_atlas_id=finding.mitre_atlas_id,
        techniques=finding.techniques,
        rule_id=finding.rule_id,
        ssdf=finding.ssdf,
        remediation=finding.remediation,
        indicator=_disposed(finding),
        component=finding.component,
        tenant=finding.tenant,
        event_id=finding.event_id,
        occurred_at=finding.occurred_at,
        status=status,
        revision=ioc.published,
        category=_category(finding),
        modified=from_ms(_modified(ioc)),
        valid_from=from_ms(ioc.first_ms),
        valid_until=from_ms(ioc.last_ms + VALID_DAYS * DAY_MS),
        first_seen=from_ms(ioc.first_ms),
        last_seen=from_ms(ioc.last_ms),
        prevalence=reported_count,
        basis=finding.basis,
    )
    batch.indicator(record)
    for sibling in network_indicators(record, hostile=taints(finding)):
        batch.indicator(sibling)


def network_indicators(record: SupplyChainIoC, *, hostile: bool) -> Iterator[SupplyChainIoC]:
    """Yield the indicators of a hostile payload's network peers; they share its lifetime.

    They are for hunting, not for blocking: a payload may name a host that many use.

    Args:
        record: The indicator of the payload; its evidence holds the payload's text.
        hostile: Whether the finding is an attack; otherwise nothing is reported.
    """
    if not hostile or record.category is not Category.COMPROMISE:
        return
    for value in network_values(record.evidence):
        yield msgspec.structs.replace(
            record,
            id=stable_id("ioc", record.id, value.key),
            description=f"{defanged(value.value)} in what {record.component} carries",
            evidence={"found_in": record.indicator.key, "finding": record.description},
            indicator=Indicator(
                key=value.key,
                type=value.kind,
                value=value.value,
                disposition=Disposition.CONTEXT if value.well_known else Disposition.DETECT,
            ),
            prevalence=None,
        )


def _category(finding: Finding) -> Category:
    kind = taxonomy().ioc_types.get(finding.ioc_type)
    return Category.HYGIENE if kind is not None and kind.hygiene else Category.COMPROMISE


def _modified(ioc: IocRow) -> int:
    """Return when an indicator got its state, milliseconds since the epoch.

    That is the time of the latest occurrence, fact or decision behind it.
    """
    revisions = (
        ioc.revision,
        *(revision for _, revision, _ in ioc.ids.values()),
        *(revision for revision, _ in ioc.suppressed.values()),
    )
    return max(ioc.last_ms, *(at for at, _ in revisions))


def _disposed(finding: Finding) -> Indicator:
    """Return the indicator with a disposition that is safe to act on.

    `block` is only for values that a finding confirms as hostile; hygiene is `context`.
    """
    indicator = finding.indicator
    confirmed = taints(finding) and finding.severity is Severity.CRITICAL
    whole_name = indicator.key == finding.component and not indicator.key.startswith(
        ("sha256:", "domain:", "publisher:")
    )
    by_fact = "fact" in finding.evidence
    if finding.severity.rank < Severity.MEDIUM.rank:
        wanted = Disposition.CONTEXT
    elif indicator.disposition is Disposition.BLOCK and confirmed and (by_fact or not whole_name):
        wanted = Disposition.BLOCK
    elif indicator.disposition is Disposition.BLOCK:
        wanted = Disposition.DETECT
    else:
        wanted = indicator.disposition
    return msgspec.structs.replace(indicator, disposition=wanted)


def suppress(
    batch: LedgerBatch,
    component: str,
    reason: str,
    revision: Revision,
    *,
    active: bool,
    incident: str | None = None,
    about: About | None = None,
    tenant: str = "",
    after: str = "",
) -> str:
    """Withdraw the indicators of a component, or restore them, a page at a time.

    Args:
        batch: Where to.
        component: The component key.
        reason: The fact's key, or the incident that was dismissed.
        revision: When: the later wins.
        active: Whether the suppression begins or ends.
        incident: Only indicators of this incident; default: all.
        about: Selects versions and digests; default: all.
        tenant: Only this tenant's; empty: all.
        after: Continue behind this row.

    Returns:
        The row to continue after; empty: done.
    """
    row = batch.component_row(component)
    reason = clip(reason, NAME_BYTES)
    whose = (component, tenant) if tenant else (component,)
    page = list(batch.store.scan(IOC, *whose, row_type=IocRow, limit=PAGE, after=after))
    for key, ioc in page:
        if incident is not None and ioc.incident != incident:
            continue
        if about is not None and not about(ioc.finding.version, _digest_of(ioc.finding)):
            continue
        known = ioc.suppressed.get(reason)
        if known is not None and known[0] >= revision:
            continue
        if known is None and not active:
            continue
        ioc.suppressed = _bounded(batch, component, {**ioc.suppressed, reason: (revision, active)})
        batch.store.save(key, ioc)
        if incident is None:
            if active:
                _withdraw_findings(batch, ioc)
            elif ioc.active():
                _restore_finding(batch, component, ioc, revision)
        _publish(batch, key, ioc, row)
    return page[-1][0] if len(page) == PAGE else ""


def _digest_of(finding: Finding) -> str | None:
    key = finding.indicator.key
    return key[7:] if key.startswith("sha256:") else None


def _withdraw_findings(batch: LedgerBatch, ioc: IocRow) -> None:
    incident = ioc.incident
    reason, (revision, _) = max(
        ((name, state) for name, state in ioc.suppressed.items() if state[1]),
        key=lambda item: item[1][0],
    )
    for finding_id, _, _ in ioc.ids.values():
        batch.send_to_incident(
            incident,
            Withdrawal(
                incident=incident,
                tenant=ioc.finding.tenant,
                finding=finding_id,
                reason=f"{clip(reason, NAME_BYTES)} is listed as harmless",
                at=from_ms(revision[0]),
                revision=revision,
            ),
        )


def _restore_finding(batch: LedgerBatch, component: str, ioc: IocRow, revision: Revision) -> None:
    root, incident = incident_root(ioc.finding), ioc.incident
    if opens_incident(ioc.finding):
        batch.send_to_incident(
            incident,
            FindingUpdate(
                incident=incident,
                root=root,
                finding=ioc.finding,
                revision=revision,
                popular=is_verified(ioc.finding) and batch.component_row(component).popular,
            ),
        )

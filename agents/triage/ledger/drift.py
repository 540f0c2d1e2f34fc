"""Drift and absence: unexpected changes of values, and missing signatures."""

from __future__ import annotations

import re
from typing import Final

from agents.domain.component_keys import names_content
from agents.domain.findings import make_finding
from agents.domain.rules import ConditionKind, Slot
from agents.triage.bounded_sets import clip, keep_smallest, stable_rank, trim
from agents.triage.correlation import (
    Correlation,
    Signal,
    combination,
    correlations,
    for_prefix,
    of_kind,
)
from agents.triage.ledger.batch import LedgerBatch, indicator_of, state_of
from agents.triage.ledger.package_files import note_file
from agents.triage.ledger.publications import PUBLISHING_CHANGED, note_publication
from agents.triage.ledger.registry_consistency import moves, note_announced, revision_of
from agents.triage.ledger.rows import (
    OF_COMPONENT,
    PUSHES_ROOM,
    SIGNALS,
    SIGNALS_ROOM,
    SLOTS,
    TENANT,
    TEXT_BYTES,
    USERS_ROOM,
    VALUES,
    Seen,
    TenantRow,
    from_ms,
    to_ms,
    value_seen,
)
from agents.triage.store import row_key
from schemas.components import ComponentKind
from schemas.findings import Finding
from schemas.observations import Sighting, SightingKind
from schemas.severity import Severity

_RELEASE: Final = re.compile(r"v?\d+(\.\d+)+([-+.]?[0-9a-z]+)*", re.IGNORECASE | re.ASCII)
"""A tag that names a release and should not move, unlike `main` and `latest`."""
_SERIES: Final = re.compile(r"v\d+", re.IGNORECASE | re.ASCII)
"""A tag of a git repository that customarily moves to each release of its series."""
_HABIT: Final = 0.3
"""Confidence in a move of such a tag: releases move it far more often than attackers."""
_MAX_TAG: Final = 64
_MAX_PATH: Final = 200
_OF_FILE: Final = "\0"
"""Separates the version or tag in a slot's name from the file."""
REPORTED: Final = frozenset({SightingKind.PUSHED, SightingKind.PULLED})
"""Kinds of sighting in which a registry reports its tags."""
_COLLEAGUE: Final = 0.5
"""Confidence in a change of publisher within a tenant's own registry."""
Push = tuple[int, str, bool, str, str, str]
"""When, event, signed, version, system, source."""


def on_new_holding(batch: LedgerBatch, seen: Sighting, version: str | None) -> None:
    """Compare a new version with earlier ones of the component in this tenant."""
    prefix = seen.component.partition(":")[0]
    if prefix == ComponentKind.SHA256:
        return
    key = row_key(TENANT, seen.component, seen.tenant)
    row = tenant_row(batch, seen.component, seen.tenant)
    changed = False
    for entry in _slots(seen, prefix):
        changed = _note(batch, seen, row, entry) or changed
    changed = _note_push(batch, seen, row, prefix, version) or changed
    changed = note_publication(batch, seen, row) or changed
    noted, finding = note_announced(batch, seen, row)
    changed = noted or changed
    if prefix == ComponentKind.DOMAIN and not row.slots:
        changed = _note_domain(batch, seen, row) or changed
    if changed:
        batch.store.save(key, row)
    if finding is not None:
        batch.report(finding, correlations()[finding.rule_id].rule, revision_of(finding))
    if seen.filename and seen.digest and for_prefix(ConditionKind.DRIFT, Slot.FILENAME, prefix):
        note_file(batch, seen)


def _slots(seen: Sighting, prefix: str) -> list[tuple[Slot, str, str]]:
    """Return the slots a sighting fills: kind, name, value."""
    slots: list[tuple[Slot, str, str]] = []
    if seen.publisher_id:
        slots.append((Slot.PUBLISHER, "publisher-id", seen.publisher_id))
    elif seen.publisher:
        slots.append((Slot.PUBLISHER, "publisher", seen.publisher))
    pushed = seen.kind == SightingKind.PUSHED
    # A run may have read only some files: its holding is compared with the announcement.
    several = len(seen.parts) > 1
    fixed = seen.version is not None and not moves(seen.version)
    if fixed and seen.digest and (pushed or (prefix == ComponentKind.DATASET and not several)):
        slots.append((Slot.VERSION, f"version:{seen.version}", seen.digest))
    tag = seen.tag if seen.tag and len(seen.tag) <= _MAX_TAG else ""
    if _RELEASE.fullmatch(tag):
        slots += _of_tag(seen, tag)
    if fixed and seen.kind == SightingKind.PULLED and not names_content(seen.version):
        slots += _of_files(seen, f"version:{seen.version}", Slot.VERSION)
    if (
        seen.kind == SightingKind.USED
        and seen.version
        and (_RELEASE.fullmatch(tag) or _SERIES.fullmatch(tag))
    ):
        slots.append((Slot.COMMIT, f"commit:{tag}", seen.version))
    if prefix == ComponentKind.PIPELINE and seen.digest:
        slots.append((Slot.DIGEST, "digest", seen.digest))
    return [
        (slot, name, value)
        for slot, name, value in slots
        if for_prefix(ConditionKind.DRIFT, slot, prefix)
    ]


def _of_tag(seen: Sighting, tag: str) -> list[tuple[Slot, str, str]]:
    """Return the target of a release's tag: a revision that names content, else a digest.

    The digest of a pull covers the pulled files, which may be only some of them.
    """
    if names_content(seen.version) and seen.kind in REPORTED:
        revision = (seen.version or "").removeprefix("sha256:")
        return [(Slot.TAG, f"tagged:{tag}", revision)]
    if seen.kind == SightingKind.PUSHED and (seen.digest or seen.version):
        return [(Slot.TAG, f"tag:{tag}", seen.digest or seen.version or "")]
    # A tag equal to the version is compared as the version.
    if seen.kind == SightingKind.PULLED and seen.version != tag:
        return _of_files(seen, f"tag:{tag}", Slot.TAG)
    return []


def _of_files(seen: Sighting, name: str, slot: Slot) -> list[tuple[Slot, str, str]]:
    """Return the digest of each file of a version or tag, if they are few."""
    return [
        (slot, f"{name}{_OF_FILE}{path}", digest)
        for path, digest in zip(seen.part_names, seen.parts, strict=False)
        if len(path) <= _MAX_PATH
    ]


def _note(
    batch: LedgerBatch, seen: Sighting, row: TenantRow, entry_of: tuple[Slot, str, str]
) -> bool:
    slot, name, value = entry_of
    rank = stable_rank(name) if ":" in name else OF_COMPONENT + stable_rank(name)
    values = row.slots.setdefault(rank, {})
    entry = value_seen(seen, value)
    at = stable_rank(value)
    known = values.get(at)
    if known is not None and known <= entry:
        return False
    values[at] = entry
    over = keep_smallest(values, VALUES)
    if row.keep_slots() or over:
        row.full = True
        batch.bound_reached("values compared in one tenant", seen.component, SLOTS)
    if len(values) > 1 and rank in row.slots:
        rule = for_prefix(ConditionKind.DRIFT, slot, seen.component.partition(":")[0])
        if rule is not None:
            _report_drift(batch, seen, rule, name, values)
    return True


def _report_drift(
    batch: LedgerBatch, seen: Sighting, correlation: Correlation, name: str, values: dict[str, Seen]
) -> None:
    """Report a drift; a further value updates the same finding."""
    ordered = sorted(values.values())
    was, now = ordered[0], ordered[-1]
    what, _, place = name.partition(":")
    version, _, file = place.partition(_OF_FILE)
    # In a registry of its own, a tenant's users push and promote each other's models.
    colleague = what.startswith("publisher") and seen.component.partition(":")[2].startswith("@")
    habit = what == Slot.COMMIT and _SERIES.fullmatch(version) is not None
    finding = make_finding(
        correlation.rule,
        locator=(seen.tenant, correlation.rule.id, seen.component, name),
        tenant=seen.tenant,
        component=seen.component,
        version=version or None,
        indicator=indicator_of(seen.component, version or None),
        description=f"{correlation.rule.title}: {file or what} was {was.value}, is {now.value}",
        evidence={
            **({"file": file} if file else {}),
            "was": was.value,
            "is": now.value,
            "values": [value.value for value in ordered],
            "since": from_ms(was.first_ms).isoformat(),
        },
        source=ordered[1].source,
        event_id=ordered[1].event_id,
        occurred_at=from_ms(ordered[1].first_ms),
        systems=tuple(sorted({value.system for value in ordered[1:]})),
        publisher=now.value if now.value.startswith("publisher:") else None,
        severity=Severity.LOW if habit else Severity.MEDIUM if colleague else None,
        confidence=_HABIT if habit else _COLLEAGUE if colleague else None,
    )
    batch.report(finding, correlation.rule, state_of(len(ordered)))


def tenant_row(batch: LedgerBatch, component: str, tenant: str) -> TenantRow:
    """Return a tenant's row of a component, a new one if there is none."""
    key = row_key(TENANT, component, tenant)
    return batch.store.load(key, TenantRow) or TenantRow(tenant=clip(tenant, TEXT_BYTES))


def _note_push(
    batch: LedgerBatch, seen: Sighting, row: TenantRow, prefix: str, version: str | None
) -> bool:
    """Note whether a pushed version was signed; report the first unsigned one.

    The result is computed from all pushes by time: a late one can cause the finding, move it to
    another version, or withdraw it.
    """
    correlation = for_prefix(ConditionKind.ABSENCE, Slot.NONE, prefix)
    # Whether the signature verifies doesn't matter here: a bad one has a finding of its own.
    signed = seen.signed if seen.has_signature is None else seen.has_signature
    if correlation is None or seen.kind != SightingKind.PUSHED or signed is None:
        return False
    rank = stable_rank(version or seen.digest or "")
    entry = (
        to_ms(seen.occurred_at),
        clip(seen.event_id, TEXT_BYTES),
        signed,
        clip(version or "", TEXT_BYTES),
        clip(seen.system, TEXT_BYTES),
        clip(seen.source, TEXT_BYTES),
    )
    known = row.pushes.get(rank)
    if known is not None and known <= entry:
        return False
    before = _first_unsigned(row, correlation.when.minimum)
    row.pushes[rank] = entry
    if _keep_first(row.pushes):
        row.full = True
        batch.bound_reached("pushes compared in one tenant", seen.component, SLOTS)
    row.push_count += 1
    after = _first_unsigned(row, correlation.when.minimum)
    if after is not None and after != before:
        finding = _absence(seen, correlation, after)
        batch.report(finding, correlation.rule, state_of(row.push_count))
    elif after is None and before is not None:
        # A late unsigned push shows that signing was not customary.
        reason = f"{seen.component} was pushed unsigned before"
        gone = _absence(seen, correlation, before)
        batch.take_back(gone, state_of(row.push_count), reason, seen.occurred_at)
    return True


def _keep_first(pushes: dict[str, Push]) -> bool:
    """Keep the earliest pushes, with room reserved for unsigned ones, which decide.

    Returns:
        Whether any was left out.
    """
    left_out = False
    for signed, cap, room in ((True, SLOTS, PUSHES_ROOM), (False, SLOTS // 4, PUSHES_ROOM // 4)):
        kept = {rank: push for rank, push in pushes.items() if push[2] is signed}
        ranks = set(kept)
        if trim(kept, cap, room, lambda rank: (pushes[rank], rank)):
            left_out = True
            for rank in ranks - set(kept):
                del pushes[rank]
    return left_out


def _first_unsigned(row: TenantRow, minimum: int) -> tuple[Push, int] | None:
    """Return the first unsigned push and the count of signed ones before it, if enough."""
    for signed, push in enumerate(sorted(row.pushes.values())):
        if not push[2]:
            return (push, signed) if signed >= minimum else None
    return None


def _absence(seen: Sighting, correlation: Correlation, found: tuple[Push, int]) -> Finding:
    (at, event_id, _, version, system, source), signed = found
    return make_finding(
        correlation.rule,
        locator=(seen.tenant, correlation.rule.id, seen.component),
        tenant=seen.tenant,
        component=seen.component,
        version=version or None,
        indicator=indicator_of(seen.component),
        description=f"{correlation.rule.title}: {signed} versions before it were signed",
        evidence={"signed_before": signed, "was": "signed", "is": "unsigned"},
        source=source,
        event_id=event_id,
        occurred_at=from_ms(at),
        systems=(system,),
    )


def _note_domain(batch: LedgerBatch, seen: Sighting, row: TenantRow) -> bool:
    """Report that a component reached a domain for the first time in this tenant."""
    correlation = for_prefix(ConditionKind.FIRST_SEEN, Slot.NONE, "domain")
    if correlation is None or not seen.name:
        return False
    rank = stable_rank("used-by", seen.name)
    entry = Seen(to_ms(seen.occurred_at), clip(seen.event_id, TEXT_BYTES), "")
    known = row.users.get(rank)
    if known is not None and known <= entry:
        return False
    row.users[rank] = entry
    if trim(row.users, SIGNALS, USERS_ROOM):
        row.full = True
        batch.bound_reached("components that reached one domain", seen.component, SIGNALS)
        if rank not in row.users:
            return False
    finding = make_finding(
        correlation.rule,
        locator=(seen.tenant, correlation.rule.id, seen.component, seen.name),
        tenant=seen.tenant,
        component=seen.name,
        version=None,
        indicator=indicator_of(seen.component),
        description=f"{seen.name} reached {seen.component} for the first time",
        evidence={"domain": seen.component},
        source=seen.source,
        event_id=seen.event_id,
        occurred_at=seen.occurred_at,
        systems=(seen.system,),
    )
    batch.found(finding, state_of(1))
    return True


def note_signal(
    batch: LedgerBatch, component: str, finding: Finding, *, active: bool = True
) -> None:
    """Note a kind of indicator on a component and look for combinations in time.

    Args:
        batch: The batch.
        component: The component.
        finding: The finding.
        active: Whether it still holds: without it, combinations may be withdrawn.
    """
    rules = of_kind(ConditionKind.COMBINATION)
    if not any(
        finding.ioc_type in step.split("|")
        for correlation in rules
        for step in correlation.when.signals
    ):
        return
    if finding.rule_id == PUBLISHING_CHANGED:
        # The signs of one publication are weighed together there, and another account is no sign.
        active = active and (
            "signature" not in finding.evidence and finding.severity.rank >= Severity.MEDIUM.rank
        )
    key = row_key(TENANT, component, finding.tenant)
    row = tenant_row(batch, component, finding.tenant)
    rank = stable_rank(finding.id)
    before = dict(row.signals)
    if active:
        entry = (
            to_ms(finding.occurred_at),
            finding.ioc_type,
            clip(finding.event_id, TEXT_BYTES),
            clip(min(finding.systems, default=""), TEXT_BYTES),
            clip(finding.source, TEXT_BYTES),
        )
        if rank in row.signals and row.signals[rank] <= entry:
            return
        row.signals[rank] = entry
        if trim(row.signals, SIGNALS, SIGNALS_ROOM):
            row.full = True
            batch.bound_reached("signals on one component", component, SIGNALS)
    elif row.signals.pop(rank, None) is None:
        return
    row.push_count += 1
    batch.store.save(key, row)
    for correlation in rules:
        was = combination(correlation.when, before.values())
        chain = combination(correlation.when, row.signals.values())
        if chain is not None:
            found = _combined(finding.tenant, component, correlation, chain)
            batch.report(found, correlation.rule, state_of(row.push_count))
        elif was is not None:
            gone = _combined(finding.tenant, component, correlation, was)
            reason = f"a part of it no longer holds: {finding.ioc_type}"
            batch.take_back(gone, state_of(row.push_count), reason, finding.occurred_at)


def _combined(
    tenant: str, component: str, correlation: Correlation, chain: tuple[Signal, ...]
) -> Finding:
    last = max(chain)
    return make_finding(
        correlation.rule,
        locator=(tenant, correlation.rule.id, component),
        tenant=tenant,
        component=component,
        version=None,
        indicator=indicator_of(component),
        description=f"{correlation.rule.title} on {component}",
        evidence={
            "signals": [
                {"at": from_ms(at).isoformat(), "kind": kind, "event": event}
                for at, kind, event, _, _ in chain
            ]
        },
        source=last[4],
        event_id=last[2],
        occurred_at=from_ms(last[0]),
        systems=tuple(sorted({signal[3] for signal in chain if signal[3]})),
    )

"""How versions of a component were published: account, authentication and signature.

A single change has ordinary reasons: a colleague makes a release, a robot's token is rotated.
Several at once indicate an account takeover.
"""

from __future__ import annotations

from typing import Any, Final

from agents.domain.findings import make_finding
from agents.domain.rules import ConditionKind, Slot
from agents.triage.bounded_sets import clip, stable_rank, trim
from agents.triage.correlation import Correlation, for_prefix
from agents.triage.ledger.batch import LedgerBatch, indicator_of, state_of
from agents.triage.ledger.registry_consistency import moves
from agents.triage.ledger.rows import TEXT_BYTES, Publication, TenantRow, from_ms, to_ms
from schemas.findings import Finding
from schemas.observations import Sighting, SightingKind
from schemas.severity import Severity

PUBLISHING_CHANGED: Final = "TW-LEDGER-PUBLISHING-CHANGED"
PUBLICATIONS: Final = 32
"""The most versions compared in one tenant: the last published."""
PUBLICATIONS_ROOM: Final = 6 * 1024
_Line = list[Publication]
"""What one producer reported, in order of time."""
_COMPARED: Final = frozenset({SightingKind.PUSHED, SightingKind.PULLED})
_STRENGTH: Final = {"oidc": 3, "token": 2, "password": 1}
"""Authentications by resistance to theft: per-run credentials rank above stored ones."""
_SEVERAL: Final = 2
_MANY: Final = 3
_SURE: Final = 0.75
"""Confidence in several changes at once."""
_HABIT: Final = 0.4
"""Confidence in a change of account alone, which is common in teams."""
_SAYS: Final = {
    "account": "another account than before",
    "auth": "a weaker authentication than before",
    "mfa": "without the second factor it had before",
    "signature": "without the signature it had before",
}


def note_publication(batch: LedgerBatch, seen: Sighting, row: TenantRow) -> bool:
    """Note how a version was published; report how it differs from those before it.

    The result is computed from all publications by time: a late one can cause or withdraw a
    finding.

    Args:
        batch: The batch.
        seen: A sighting that may be of a push or pull.
        row: The tenant's row of the component.

    Returns:
        Whether the row changed.
    """
    prefix = seen.component.partition(":")[0]
    changed = for_prefix(ConditionKind.DRIFT, Slot.PUBLISHING, prefix)
    if changed is None or seen.kind not in _COMPARED:
        return False
    entry = _entry(seen)
    version = seen.version if seen.version and not moves(seen.version) else None
    if _is_silent(entry) and not (
        version
        and entry.kind == SightingKind.PULLED
        and for_prefix(ConditionKind.ABSENCE, Slot.NONE, prefix)
    ):
        return False
    place = stable_rank(seen.kind, version or seen.event_id, seen.digest or "" if version else "")
    known = row.publications.get(place)
    if known is not None and (known.first_ms, known.event_id) <= (entry.first_ms, entry.event_id):
        return False
    before = _findings(seen, row, prefix)
    row.publications[place] = entry
    cut = trim(
        row.publications,
        PUBLICATIONS,
        PUBLICATIONS_ROOM,
        lambda key: (-row.publications[key].first_ms, key),
    )
    row.push_count += 1
    after = _findings(seen, row, prefix)
    for identity, (correlation, finding) in after.items():
        if identity not in before or before[identity][1] != finding:
            batch.report(finding, correlation.rule, state_of(row.push_count))
    # Versions before those kept may have been published alike.
    if not cut and not row.full:
        for identity, (_, finding) in before.items():
            if identity not in after:
                reason = f"{seen.component} was published like that before"
                batch.take_back(finding, state_of(row.push_count), reason, seen.occurred_at)
    row.full = row.full or cut
    return True


def _is_silent(entry: Publication) -> bool:
    """Return whether a producer says nothing of how a version was published."""
    return entry.strength == 0 and not entry.account and entry.mfa is None and entry.signed is None


def _entry(seen: Sighting) -> Publication:
    signed = seen.signed if seen.has_signature is None else seen.has_signature
    return Publication(
        first_ms=to_ms(seen.occurred_at),
        event_id=clip(seen.event_id, TEXT_BYTES),
        kind=seen.kind,
        strength=_STRENGTH.get((seen.auth or "").lower(), 0),
        account=clip(seen.account or "", TEXT_BYTES),
        mfa=seen.mfa,
        signed=signed,
        version=clip(seen.version or "", TEXT_BYTES),
        system=clip(seen.system, TEXT_BYTES),
        source=clip(seen.source, TEXT_BYTES),
    )


def _findings(
    seen: Sighting, row: TenantRow, prefix: str
) -> dict[str, tuple[Correlation, Finding]]:
    """Return each publication's differences from those before it, by the finding's id."""
    found: dict[str, tuple[Correlation, Finding]] = {}
    lines: dict[str, _Line] = {}
    ordered = sorted(
        row.publications.values(),
        key=lambda publication: (publication.first_ms, publication.event_id),
    )
    for entry in ordered:
        line = lines.setdefault(entry.source, [])
        for correlation, finding in _differences(seen, line, entry, prefix):
            found.setdefault(finding.id, (correlation, finding))
        if not _is_silent(entry):
            line.append(entry)
    return found


def _habit(line: _Line, entry: Publication, minimum: int) -> tuple[_Line, bool]:
    """Return the publications that one is compared with, and whether they are of its kind alone.

    A producer may say less of pulls than of pushes. So its reports of both are compared only while
    there are too few of one kind, and not if the other kind has the very version.

    Args:
        line: What the producer reported before it.
        entry: The publication.
        minimum: How many have to agree.
    """
    own = [before for before in line if before.kind == entry.kind]
    if len(own) >= minimum or any(
        before.kind != entry.kind and before.version == entry.version for before in line
    ):
        return own, True
    return line, len(own) == len(line)


def _differences(
    seen: Sighting, line: _Line, entry: Publication, prefix: str
) -> list[tuple[Correlation, Finding]]:
    rule = for_prefix(ConditionKind.DRIFT, Slot.PUBLISHING, prefix)
    assert rule is not None
    result: list[tuple[Correlation, Finding]] = []
    absent = for_prefix(ConditionKind.ABSENCE, Slot.NONE, prefix)
    if absent is not None and not entry.signed:
        before, alike = _habit(line, entry, absent.when.minimum)
        signed = before[-absent.when.minimum :]
        if entry.signed is None and (entry.kind != SightingKind.PULLED or not alike):
            # A scan may still find the signature, or the producer names those of pushes only.
            signed = []
        # Pushes are compared with pushes where they are noted.
        if (
            (entry.kind == SightingKind.PULLED or not alike)
            and len(signed) == absent.when.minimum
            and all(publication.signed for publication in signed)
        ):
            result.append((absent, _unsigned(seen, absent, entry, len(before))))
    last = _habit(line, entry, rule.when.minimum)[0][-rule.when.minimum :]
    if len(last) < rule.when.minimum:
        return result
    # In a registry of its own, a tenant's users release each other's models.
    own = seen.component.partition(":")[2].startswith("@")
    changes = _changes(last, entry, own=own)
    if not changes.keys() - {"signature"}:
        return result
    result.append((rule, _finding(seen, rule, entry, changes, own=own)))
    several = for_prefix(ConditionKind.DRIFT, Slot.SEVERAL_PUBLISHING, prefix)
    if len(changes) >= _MANY and several is not None:
        result.append((several, _finding(seen, several, entry, changes, own=False)))
    return result


def _changes(
    last: list[Publication], entry: Publication, *, own: bool
) -> dict[str, tuple[str, str]]:
    """Return the values that earlier publications share and this one changes: was, is."""
    changes: dict[str, tuple[str, str]] = {}
    accounts = {publication.account for publication in last}
    if not own and entry.account and len(accounts) == 1 and "" not in accounts:
        (account,) = accounts
        if account != entry.account:
            changes["account"] = (account, entry.account)
    weakest = min(publication.strength for publication in last)
    if weakest > entry.strength > 0:
        changes["auth"] = (_named(weakest), _named(entry.strength))
    if entry.mfa is False and all(publication.mfa is True for publication in last):
        changes["mfa"] = ("true", "false")
    if entry.signed is False and all(publication.signed is True for publication in last):
        changes["signature"] = ("signed", "unsigned")
    return changes


def _named(strength: int) -> str:
    return next(name for name, value in _STRENGTH.items() if value == strength)


def _finding(
    seen: Sighting,
    correlation: Correlation,
    entry: Publication,
    changes: dict[str, tuple[str, str]],
    *,
    own: bool,
) -> Finding:
    severity, confidence = None, None
    if correlation.when.slot is Slot.PUBLISHING:
        if len(changes) >= _SEVERAL and not own:
            severity, confidence = Severity.HIGH, _SURE
        elif own or changes.keys() == {"account"}:
            severity, confidence = Severity.LOW, _HABIT
    return _made(
        seen,
        correlation,
        entry,
        said=", ".join(_SAYS[name] for name in changes),
        evidence={name: {"was": was, "is": now} for name, (was, now) in sorted(changes.items())},
        severity=severity,
        confidence=confidence,
    )


def _unsigned(seen: Sighting, correlation: Correlation, entry: Publication, signed: int) -> Finding:
    return _made(
        seen,
        correlation,
        entry,
        said=f"{signed} versions before it were signed",
        evidence={"signed_before": signed, "was": "signed", "is": "unsigned"},
    )


def _made(
    seen: Sighting,
    correlation: Correlation,
    entry: Publication,
    *,
    said: str,
    evidence: dict[str, Any],
    severity: Severity | None = None,
    confidence: float | None = None,
) -> Finding:
    """Return the finding of a publication that differs from those before it."""
    return make_finding(
        correlation.rule,
        locator=(seen.tenant, correlation.rule.id, seen.component, entry.kind, entry.version),
        tenant=seen.tenant,
        component=seen.component,
        version=entry.version or None,
        indicator=indicator_of(seen.component),
        description=f"{correlation.rule.title}: {said}",
        evidence=evidence,
        source=entry.source,
        event_id=entry.event_id,
        occurred_at=from_ms(entry.first_ms),
        systems=(entry.system,),
        severity=severity,
        confidence=confidence,
    )

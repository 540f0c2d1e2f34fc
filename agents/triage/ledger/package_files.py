"""Package files: the digests that tenants, and signatures, give one file name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agents.domain.basis import ADVICE_SEVERITY, SEVERAL, affects
from agents.domain.findings import make_finding
from agents.triage.bounded_sets import clip, stable_rank, trim, trim_shared
from agents.triage.correlation import Correlation, for_prefix
from agents.triage.ledger.batch import LedgerBatch, indicator_of, state_of
from agents.triage.ledger.rows import (
    FILE,
    HOLDERS_ROOM,
    TEXT_BYTES,
    VALUES,
    FileRow,
    Seen,
    from_ms,
    value_seen,
)
from agents.triage.store import row_key
from schemas.observations import Sighting

SIGNERS: Final = 32
"""The most trust roots kept per signed digest of a package file."""
MAX_HOLDERS: Final = 32
"""The most tenants kept per digest of a package file."""


def note_file(batch: LedgerBatch, seen: Sighting) -> None:
    """Compare a package file's digest with those that this tenant or k others have by that name."""
    assert seen.filename is not None
    assert seen.digest is not None
    correlation = for_prefix("drift", "filename", seen.component.partition(":")[0])
    assert correlation is not None
    key = row_key(FILE, seen.component, seen.filename)
    row = batch.store.load(key, FileRow) or FileRow()
    digest = clip(seen.digest, TEXT_BYTES)
    holders = row.digests.setdefault(digest, [])
    entry = value_seen(seen, seen.tenant)
    by_tenant = {holder.value: holder for holder in holders}
    known = by_tenant.get(entry.value)
    if known is not None and known <= entry and len(row.digests) == 1:
        return
    by_tenant[entry.value] = min(entry, known) if known is not None else entry
    full = row.full or len(by_tenant) > MAX_HOLDERS or len(row.digests) > VALUES
    if len(by_tenant) > MAX_HOLDERS and _order_of(batch, entry) > max(
        _order_of(batch, holder) for holder in holders
    ):
        kept = holders  # the usual case for popular files: no sorting, no write
    else:
        ranked = {stable_rank(holder.value): holder for holder in by_tenant.values()}
        full = trim(ranked, MAX_HOLDERS, HOLDERS_ROOM, batch.order) or full
        kept = [ranked[rank] for rank in sorted(ranked)]
    before = set(row.digests)
    if kept != holders or full != row.full:
        row.digests[digest] = kept
        row.full = full
        if _keep_digests(batch, row):
            batch.bound_reached("digests of one package file", seen.component, VALUES)
        if kept != holders or set(row.digests) != before:
            batch.store.save(key, row)
    if len({*row.digests, *row.signed, digest}) > 1:
        _report_file(batch, seen, correlation, row, entry)


def note_signed_file(batch: LedgerBatch, seen: Sighting) -> None:
    """Note a package file's digest signed under a trust root; report holders of others.

    Args:
        batch: The batch.
        seen: A sighting of the package whose file is signed.
    """
    correlation = for_prefix("drift", "filename", seen.component.partition(":")[0])
    if correlation is None or not seen.filename or not seen.digest:
        return
    key = row_key(FILE, seen.component, seen.filename)
    row = batch.store.load(key, FileRow) or FileRow()
    digest = clip(seen.digest, TEXT_BYTES)
    known = row.signed.get(digest, [])
    new = [basis for basis in seen.bound_by if basis not in known]
    if not new:
        return
    row.signed[digest] = sorted([*known, *new], key=lambda basis: (basis.tenant, basis.by))
    if len(row.signed) > VALUES or len(row.signed[digest]) > SIGNERS:
        batch.bound_reached("signed digests of one package file", seen.component, VALUES)
        return
    batch.store.save(key, row)
    _report_file(batch, seen, correlation, row, value_seen(seen, seen.tenant))


def _order_of(batch: LedgerBatch, holder: Seen) -> str:
    return batch.order(stable_rank(holder.value))


def _keep_digests(batch: LedgerBatch, row: FileRow) -> bool:
    """Trim the digests of a file name by shares: no tenant evicts another's only digest."""

    def owners(digest: str) -> Iterator[str]:
        for holder in row.digests[digest]:
            yield batch.owner(holder.value)

    def order(digest: str) -> str:
        return batch.order(stable_rank(digest))

    return trim_shared(row.digests, VALUES, VALUES * HOLDERS_ROOM, owners, order)


def _report_file(
    batch: LedgerBatch, seen: Sighting, correlation: Correlation, row: FileRow, latest_entry: Seen
) -> None:
    # A digest elsewhere is only reported if k other organisations have it.
    counted = batch.register.counted
    organisations = {
        digest: {counted(holder.value) for holder in holders} - {None}
        for digest, holders in row.digests.items()
    }
    tenants: dict[str, dict[str, Seen]] = {}
    for digest, holders in row.digests.items():
        for holder in holders:
            tenants.setdefault(holder.value, {})[digest] = holder
    # The tenant of this sighting gets the finding even if the row has no room for it.
    tenants.setdefault(latest_entry.value, {}).setdefault(
        clip(seen.digest or "", TEXT_BYTES), latest_entry
    )
    for tenant, own in sorted(tenants.items()):
        wide = {
            digest
            for digest, holders in organisations.items()
            if len(holders - {counted(tenant)}) >= batch.k
        }
        signed = {
            digest: basis
            for digest, bases in sorted(row.signed.items())
            for basis in bases
            if affects(basis, tenant)
        }
        # Several digests here differ from each other; a single one from others' or a signed one.
        by = None if signed.keys() & own.keys() else next(iter(signed.values()), None)
        if by is not None:
            wide |= signed.keys()
        shown = sorted({*own, *wide})
        if len(shown) < 2:  # noqa: PLR2004 -- two digests make a difference
            continue
        # It differs from the second digest on, or from the first if another is found elsewhere.
        differing = sorted(own.values())[:2]
        latest = differing[-1]
        finding = make_finding(
            correlation.rule,
            locator=(tenant, correlation.rule.id, seen.component, seen.filename or ""),
            tenant=tenant,
            component=seen.component,
            version=seen.version,
            indicator=indicator_of(seen.component, seen.version),
            description=f"{correlation.rule.title}: {seen.filename}",
            evidence={
                "file": seen.filename,
                "is": max(own, key=lambda digest: own[digest]),
                "digests": shown,
                "elsewhere": sorted(wide - set(own)),
                **({"signed": sorted(signed)} if by is not None else {}),
            },
            source=latest.source,
            event_id=latest.event_id,
            occurred_at=from_ms(latest.first_ms),
            systems=tuple(sorted({holder.system for holder in own.values()})),
            # A single digest here can only contradict others' digests.
            severity=None if len(own) > 1 or by is not None else ADVICE_SEVERITY,
            basis=None if len(own) > 1 else by or SEVERAL,
        )
        known = len(differing) + 2 * (by is not None)
        batch.report(finding, correlation.rule, state_of(known))

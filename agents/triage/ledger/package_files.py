"""Package files: the digests that tenants, and signatures, give one file name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

from agents.domain.basis import ADVICE_SEVERITY, SEVERAL, affects
from agents.domain.findings import make_finding
from agents.domain.rules import ConditionKind, Slot
from agents.triage.bounded_sets import clip, clip_or_none, stable_rank, trim, trim_shared
from agents.triage.correlation import Correlation, for_prefix
from agents.triage.ledger.batch import NEVER, LedgerBatch, indicator_of
from agents.triage.ledger.rows import (
    FILE,
    HOLDERS_ROOM,
    KEY_BYTES,
    TEXT_BYTES,
    VALUES,
    FileRow,
    Seen,
    from_ms,
    value_seen,
)
from agents.triage.ledger.standing_roots import note_use, stand, stood
from agents.triage.store import row_key
from schemas.basis import Basis
from schemas.findings import Finding
from schemas.ledger import Revision, RootTurned
from schemas.observations import Sighting

DIGESTS: Final = 32
"""The most digests kept per package file. Without a register of organisations, each tenant is one:
as many invented tenants, each with a digest of its own, displace what k others have. Their bytes
are those of `VALUES` digests with all their holders."""
SIGNERS: Final = 32
"""The most trust roots kept per signed digest of a package file."""
MAX_HOLDERS: Final = 32
"""The most tenants kept per digest of a package file."""


def note_file(batch: LedgerBatch, seen: Sighting) -> None:
    """Compare a package file's digest with those that this tenant or k others have by that name."""
    assert seen.filename is not None
    assert seen.digest is not None
    correlation = for_prefix(ConditionKind.DRIFT, Slot.FILENAME, seen.component.partition(":")[0])
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
    full = row.full or len(by_tenant) > MAX_HOLDERS or len(row.digests) > DIGESTS
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
            batch.bound_reached("digests of one package file", seen.component, DIGESTS)
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
    correlation = for_prefix(ConditionKind.DRIFT, Slot.FILENAME, seen.component.partition(":")[0])
    if correlation is None or not seen.filename or not seen.digest:
        return
    key = row_key(FILE, seen.component, seen.filename)
    row = batch.store.load(key, FileRow) or FileRow()
    digest = clip(seen.digest, TEXT_BYTES)
    known = row.signed.get(digest, [])
    new = [basis for basis in seen.bound_by if basis not in known]
    if not new:
        return
    signers = [basis for basis in (*known, *new) if len(known) < SIGNERS or _stands(batch, basis)]
    row.signed[digest] = sorted(signers, key=lambda basis: (basis.tenant, basis.by, basis.roots))
    if len(row.signed) > VALUES or len(row.signed[digest]) > SIGNERS:
        batch.bound_reached("signed digests of one package file", seen.component, VALUES)
        return
    row.filename, row.version = (
        clip(seen.filename, KEY_BYTES),
        clip_or_none(seen.version, TEXT_BYTES),
    )
    batch.store.save(key, row)
    for basis in new:
        note_use(batch, basis.roots, seen.component, key)
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

    return trim_shared(row.digests, DIGESTS, VALUES * HOLDERS_ROOM, owners, order)


def on_root(batch: LedgerBatch, component: str, key: str, turn: RootTurned) -> None:
    """Withdraw what a file's signed digests showed, or report it, after a trust root turned.

    Args:
        batch: The batch.
        component: The package.
        key: The file's row.
        turn: The trust root, and when it turned.
    """
    correlation = for_prefix(ConditionKind.DRIFT, Slot.FILENAME, component.partition(":")[0])
    row = batch.store.load(key, FileRow)
    if correlation is None or row is None or not row.filename:
        return
    file = _File(component, row.filename, row.version)

    def stood_before(basis: Basis) -> bool:
        return stood(batch, basis.roots, turn.at_ms)

    before = {
        finding.tenant: finding
        for finding, _ in _differences(batch, file, correlation, row, stood_before)
    }
    row.turned_ms = turn.at_ms
    batch.store.save(key, row)
    now = {
        finding.tenant: (finding, revision)
        for finding, revision in _differences(
            batch, file, correlation, row, partial(_stands, batch)
        )
    }
    for tenant in sorted({*before, *now}):
        was = before.get(tenant)
        finding, revision = now.get(tenant, (None, NEVER))
        if was == finding:
            continue
        if was is not None:
            reason = f"the trust root behind a signed digest of {row.filename} was changed"
            batch.take_back(was, (turn.at_ms, 0), reason, from_ms(turn.at_ms))
        if finding is not None:
            batch.report(finding, correlation.rule, revision)


def _stands(batch: LedgerBatch, basis: Basis) -> bool:
    return stand(batch, basis.roots)


class _File(NamedTuple):
    """A file of a package."""

    component: str
    name: str
    version: str | None


def _report_file(
    batch: LedgerBatch, seen: Sighting, correlation: Correlation, row: FileRow, latest_entry: Seen
) -> None:
    # The tenant of this sighting gets the finding even if the row has no room for it.
    latest = (clip(seen.digest or "", TEXT_BYTES), latest_entry)
    file = _File(seen.component, seen.filename or "", seen.version)
    stands = partial(_stands, batch)
    for finding, revision in _differences(batch, file, correlation, row, stands, latest):
        batch.report(finding, correlation.rule, revision)


def _differences(
    batch: LedgerBatch,
    file: _File,
    correlation: Correlation,
    row: FileRow,
    stands: Callable[[Basis], bool],
    latest_seen: tuple[str, Seen] | None = None,
) -> Iterator[tuple[Finding, Revision]]:
    """Yield a finding, with its revision, for each tenant whose digest differs from others'."""
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
    if latest_seen is not None:
        digest, entry = latest_seen
        tenants.setdefault(entry.value, {}).setdefault(digest, entry)
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
            if affects(basis, tenant) and stands(basis)
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
            locator=(tenant, correlation.rule.id, file.component, file.name),
            tenant=tenant,
            component=file.component,
            version=file.version,
            indicator=indicator_of(file.component, file.version),
            description=f"{correlation.rule.title}: {file.name}",
            evidence={
                "file": file.name,
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
        yield finding, (row.turned_ms, known)

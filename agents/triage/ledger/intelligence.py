"""Intelligence against the ledger: retro-hunt, matches of later sightings, and withdrawals."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.checks.packages.intel_match import ADVERSE
from agents.ports import Record
from agents.triage.bounded_sets import clip, clip_or_none, stable_rank, trim
from agents.triage.ledger import indicators, known_good, lineage
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.fact_matches import (
    WHOLE,
    bound_digests,
    digest_keys,
    is_other_digest,
    mark_of_fact,
    match,
)
from agents.triage.ledger.marks import add_mark, lift
from agents.triage.ledger.rows import (
    CHILD,
    COMPONENT,
    FACT,
    FACTS,
    KEY_BYTES,
    NAME_BYTES,
    NAMES_ROOM,
    PAGE,
    SYSTEM,
    UNSPECIFIC,
    ChildRow,
    ComponentRow,
    FactRow,
    Holding,
    Mark,
    SystemRow,
    from_ms,
)
from agents.triage.store import row_key
from schemas.canonical import stable_id
from schemas.findings import Finding
from schemas.integers import within_64_bits
from schemas.intel import IntelFact, VersionRange
from schemas.key_bindings import precedes, signed_at
from schemas.ledger import Derived, FactChange, OperatorAlert

_ESTABLISHED: Final = "is about other bytes, as is now established"
FACT_BYTES: Final = 40_000


def on_fact(batch: LedgerBatch, change: FactChange) -> None:
    """Apply a new, changed or withdrawn fact to earlier sightings, and withdraw what ended.

    The later revision wins, so that a repeated or late record changes nothing. A record that was
    signed before the one in force is a replay of an earlier one: it is refused and reported.
    """
    fact = _bounded(batch, change.fact)
    key = row_key(FACT, change.key, change.fact_key)
    known = batch.store.load(key, FactRow)
    if change.after or change.edges_after or change.indicators_after or change.bound:
        if known is not None and known.revision == change.revision:
            _go_on(batch, msgspec.structs.replace(change, fact=fact))
        return
    if known is not None and known.revision >= change.revision:
        return
    before, signed_ms = (known.fact, known.signed_ms) if known is not None else (None, 0)
    if precedes(change.signed_ms, signed_ms):
        _report_replay(batch, change)
        return
    signed_ms = max(change.signed_ms, signed_ms)
    batch.store.save(key, FactRow(change.fact_key, fact, change.revision, signed_ms))
    row = batch.component_row(change.key)
    rank = stable_rank(change.fact_key)
    if rank not in row.facts:
        row.facts[rank] = change.fact_key
        if trim(row.facts, FACTS, NAMES_ROOM):
            row.full = True
            batch.bound_reached("facts about one component", change.key, FACTS)
    batch.store.save(row_key(COMPONENT, change.key), row)
    if change.key == change.fact_key:
        _report_digests(batch, change, before, fact)
    _retro_hunt(batch, change, row, before, fact)
    _mark_edges(batch, msgspec.structs.replace(change, fact=fact), row)
    _suppress(batch, change, row, before, fact)
    known_good.on_fact(batch, change.key, row, (before, fact))


def _report_replay(batch: LedgerBatch, change: FactChange) -> None:
    batch.send_to_operator(
        OperatorAlert(
            id=stable_id("opa", "replayed-fact", change.fact_key, str(change.signed_ms)),
            kind="replayed-fact",
            subject=clip(change.fact_key, NAME_BYTES),
            detail="a fact that was signed before the one in force was published again",
            runbook="It was refused. Find who can write to the intel topic; if the clock of the "
            "machine that signs is behind, correct it and import again.",
        )
    )


def _go_on(batch: LedgerBatch, change: FactChange) -> None:
    """Continue a search or an update after its last row."""
    row = batch.component_row(change.key)
    if change.bound:
        _clear_version(batch, change, row)
    elif change.after:
        _retro_hunt(batch, change, row, change.before, change.fact)
    elif change.edges_after:
        _mark_named(batch, change, row)
    else:
        _suppress(batch, change, row, change.before, change.fact)


def _suppress(
    batch: LedgerBatch,
    change: FactChange,
    row: ComponentRow,
    before: IntelFact | None,
    fact: IntelFact | None,
) -> None:
    """Withdraw what a warninglist or known-good fact covers; restore what it ceases to cover."""

    def meant(version: str | None, digest: str | None, about_fact: IntelFact | None) -> bool:
        return (
            about_fact is not None
            and about_fact.kind in indicators.SUPPRESSING
            and indicators.is_about(about_fact, version, digest)
        )

    last = ""
    for active in (False, True):

        def about(version: str | None, digest: str | None, *, active: bool = active) -> bool:
            was, now = meant(version, digest, before), meant(version, digest, fact)
            return now if active else was and not now

        if (fact if active else before) is None:
            continue
        last = indicators.suppress(
            batch,
            change.key,
            change.fact_key,
            change.revision,
            active=active,
            about=about,
            after=change.indicators_after,
        )
        if not change.indicators_after:
            lift(batch, change.key, row, change.revision, active=not active, about=about)
    if last:
        going_on = msgspec.structs.replace(change, fact=fact, before=before, indicators_after=last)
        batch.send_to_ledger(change.key, going_on)


def _bounded(batch: LedgerBatch, fact: IntelFact | None) -> IntelFact | None:
    """Return the fact in a size that fits a row."""
    if fact is not None and fact.details is not None:
        fact = msgspec.structs.replace(fact, details=within_64_bits(fact.details))
    if fact is None or len(msgspec.msgpack.encode(fact)) <= FACT_BYTES:
        return fact
    batch.bound_reached("size of one fact", fact.key, FACT_BYTES)
    share = FACT_BYTES // 4
    lean = msgspec.structs.replace(
        fact,
        key=clip(fact.key, KEY_BYTES),
        details=None,
        summary=clip(fact.summary or "", NAME_BYTES),
        sources=tuple(clip(text, NAME_BYTES) for text in fact.sources[:16]),
    )
    versions = sorted(lean.versions, key=stable_rank)[: share // 32]
    digests = sorted(lean.digests, key=stable_rank)[: share // 70]
    return msgspec.structs.replace(
        lean,
        versions=tuple(clip(text, 30) for text in versions),
        digests=tuple(clip(text, 70) for text in digests),
        ranges=tuple(
            VersionRange(
                introduced=clip(text.introduced, 30),
                fixed=clip_or_none(text.fixed, 30),
                last_affected=clip_or_none(text.last_affected, 30),
            )
            for text in lean.ranges[: share // 140]
        ),
    )


def _report_digests(
    batch: LedgerBatch, change: FactChange, before: IntelFact | None, fact: IntelFact | None
) -> None:
    """Send a fact to the rows of the digests it names or named."""
    now = digest_keys(fact)
    for key in sorted(now | digest_keys(before)):
        if key != change.key:
            batch.send_to_ledger(
                key,
                FactChange(
                    key=key,
                    fact_key=change.fact_key,
                    fact=_of_digest(fact, key) if fact is not None and key in now else None,
                    revision=change.revision,
                ),
            )


def _of_digest(fact: IntelFact, key: str) -> IntelFact:
    """Return the part of a fact about one of its digests."""
    return msgspec.structs.replace(
        fact, versions=(), ranges=(), digests=(key.removeprefix("sha256:"),), details=None
    )


def _retro_hunt(
    batch: LedgerBatch,
    change: FactChange,
    row: ComponentRow,
    before: IntelFact | None,
    fact: IntelFact | None,
) -> None:
    if not _adverse(before) and not _adverse(fact):
        return
    page = list(
        batch.store.scan(SYSTEM, change.key, row_type=SystemRow, limit=PAGE, after=change.after)
    )
    for _, system in page:
        for holding in system.holdings.values():
            bound = bound_digests(batch, change.key, holding.version)
            now = match(change.key, change.fact_key, fact, system, holding, bound)
            then = match(change.key, change.fact_key, before, system, holding, bound)
            if now is not None:
                _issue(batch, change.key, row, now, change)
            if then is not None and (now is None or now.id != then.id):
                _take_back(batch, change.key, row, then, change)
    if len(page) == PAGE:
        going_on = msgspec.structs.replace(change, after=page[-1][0], before=before)
        batch.send_to_ledger(change.key, going_on)


def on_holding(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    system: SystemRow,
    holding: Holding,
    *,
    proven: bool,
) -> None:
    """Match a new or changed holding against the facts about its component.

    Args:
        batch: The batch.
        component: The component key.
        row: Its row.
        system: The system's row.
        holding: The holding.
        proven: Whether Tidewatch has now computed its digest, claimed before: findings made before
            it was known are withdrawn.
    """
    for fact_key in row.facts.values():
        known = batch.store.load(row_key(FACT, component, fact_key), FactRow)
        if known is None:
            continue
        bound = bound_digests(batch, component, holding.version)
        found = match(component, fact_key, known.fact, system, holding, bound)
        change = FactChange(
            key=component, fact_key=fact_key, fact=known.fact, revision=known.revision
        )
        if found is not None:
            _issue(batch, component, row, found, change)
        elif proven:
            claimed = msgspec.structs.replace(holding, verified=False)
            said = match(component, fact_key, known.fact, system, claimed, bound)
            if said is not None:
                _take_back(batch, component, row, said, _after(change), _ESTABLISHED)


def on_bound(batch: LedgerBatch, component: str, version: str) -> None:
    """Withdraw findings on a version whose digest is now known.

    Args:
        batch: The batch.
        component: The name.
        version: The version that was bound to a digest.
    """
    row = batch.component_row(component)
    for fact_key in row.facts.values():
        known = batch.store.load(row_key(FACT, component, fact_key), FactRow)
        if known is None or not _adverse(known.fact):
            continue
        change = FactChange(
            key=component,
            fact_key=fact_key,
            fact=known.fact,
            revision=known.revision,
            bound=version,
        )
        _clear_version(batch, change, row)


def _clear_version(batch: LedgerBatch, change: FactChange, row: ComponentRow) -> None:
    """Withdraw a fact's findings on a bound version, a page of systems at a time."""
    version, later = change.bound, _after(change)
    bound = bound_digests(batch, change.key, version)
    page = list(
        batch.store.scan(SYSTEM, change.key, row_type=SystemRow, limit=PAGE, after=change.after)
    )
    for _, system in page:
        for holding in system.holdings.values():
            if holding.version != version:
                continue
            said = match(change.key, change.fact_key, change.fact, system, holding, ())
            holds = match(change.key, change.fact_key, change.fact, system, holding, bound)
            if said is not None and holds is None:
                _take_back(batch, change.key, row, said, later, _ESTABLISHED)
    if not change.after and _named_mark(batch, change, version) is None:
        for mark in tuple(row.marks.values()):
            meant = (mark.cause, mark.version, mark.digest)
            if not mark.path and meant == (change.fact_key, version, None):
                gone = msgspec.structs.replace(mark, active=False, revision=later.revision)
                add_mark(batch, change.key, row, gone)
    if len(page) == PAGE:
        batch.send_to_ledger(change.key, msgspec.structs.replace(change, after=page[-1][0]))


def _after(change: FactChange) -> FactChange:
    """Return a change with a revision after its own, and before that of any later record."""
    first, second = change.revision
    return msgspec.structs.replace(change, revision=(first, second + 1))


def _adverse(fact: IntelFact | None) -> bool:
    return fact is not None and fact.kind in ADVERSE


def _issue(
    batch: LedgerBatch, component: str, row: ComponentRow, finding: Finding, change: FactChange
) -> None:
    batch.found(finding, change.revision)
    if change.fact is None or not is_other_digest(
        component, change.fact, finding.evidence["digest"]
    ):
        add_mark(batch, component, row, mark_of_fact(component, finding, change))


def on_derived(batch: LedgerBatch, edge: Derived) -> None:
    """Note a build; mark its component if a fact names it, held or not."""
    row = batch.store.load(row_key(COMPONENT, edge.key), ComponentRow)
    if row is not None:
        for fact_key in row.facts.values():
            known = batch.store.load(row_key(FACT, edge.key, fact_key), FactRow)
            if known is not None:
                change = FactChange(
                    key=edge.key, fact_key=fact_key, fact=known.fact, revision=known.revision
                )
                mark = _named_mark(batch, change, edge.version)
                if mark is not None:
                    add_mark(batch, edge.key, row, mark)
    lineage.on_derived(batch, edge)


def _mark_edges(batch: LedgerBatch, change: FactChange, row: ComponentRow) -> None:
    """Mark the versions in builds that a fact names; lift the marks of others."""
    for mark in tuple(row.marks.values()):
        if mark.cause == change.fact_key and mark.active and not mark.path:
            meant = f"sha256:{mark.digest}" if mark.digest else mark.version
            if _named_mark(batch, change, None if meant == UNSPECIFIC else meant) is None:
                gone = msgspec.structs.replace(mark, active=False, revision=change.revision)
                add_mark(batch, change.key, row, gone)
    _mark_named(batch, change, row)


def _mark_named(batch: LedgerBatch, change: FactChange, row: ComponentRow) -> None:
    """Mark the versions in builds that a fact names, a page of builds at a time."""
    if change.fact is None or change.fact.kind not in ADVERSE:
        return
    page = list(
        batch.store.scan(CHILD, change.key, row_type=ChildRow, limit=PAGE, after=change.edges_after)
    )
    named = {edge.version for _, child in page for edge in child.edges.values()}
    for version in sorted(named, key=lambda name: name or ""):
        found = _named_mark(batch, change, version)
        if found is not None:
            add_mark(batch, change.key, row, found)
    if len(page) == PAGE:
        going_on = msgspec.structs.replace(change, edges_after=page[-1][0])
        batch.send_to_ledger(change.key, going_on)


def _named_mark(batch: LedgerBatch, change: FactChange, named: str | None) -> Mark | None:
    """Return a fact's mark on what a build names: a version, a digest, or neither."""
    fact = change.fact
    if fact is None or fact.kind not in ADVERSE:
        return None
    digest = named.removeprefix("sha256:") if named and named.startswith("sha256:") else None
    version = None if digest is not None else named
    if named is None and not change.key.startswith("pypi:"):
        # The version built from is unknown: any that is named may be it. Most releases of a package
        # are harmless, so a build without a version matches only where all are bad.
        digest = next((key[7:] for key in sorted(digest_keys(fact))), None)
        version = next(iter(sorted(fact.versions)), None)
    holding = Holding(
        name=None,
        version=version,
        digest=digest,
        first_ms=change.revision[0],
        first_event="",
        last_ms=change.revision[0],
        last_event="",
    )
    nobody = SystemRow(tenant="", system="")
    bound = bound_digests(batch, change.key, version)
    finding = match(change.key, change.fact_key, fact, nobody, holding, bound)
    if finding is None or is_other_digest(change.key, fact, digest):
        return None
    mark = mark_of_fact(change.key, finding, change)
    if named is None and not change.key.startswith(WHOLE):
        mark = msgspec.structs.replace(mark, version=UNSPECIFIC, digest=None)
    return mark


def _take_back(
    batch: LedgerBatch,
    component: str,
    row: ComponentRow,
    finding: Finding,
    change: FactChange,
    why: str = "was withdrawn",
) -> None:
    reason = f"intelligence on {change.fact_key} {why}"
    batch.take_back(finding, change.revision, reason, from_ms(change.revision[0]))
    mark = mark_of_fact(component, finding, change)
    mark.active = False
    add_mark(batch, component, row, mark)


def fact_of(record: Record, fact: IntelFact | None) -> FactChange:
    """Return the change that a record of the intel topic makes."""
    key = clip((record.key or b"").decode("utf-8", "replace"), KEY_BYTES)
    return FactChange(
        key=key,
        fact_key=key,
        fact=fact,
        revision=(record.timestamp_ms, record.offset),
        signed_ms=signed_at(record.headers, record.timestamp_ms),
    )

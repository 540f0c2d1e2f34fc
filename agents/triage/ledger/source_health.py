"""Source health: silence, a rising share of incomplete analyses, dead letters."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from typing import Final

from agents.triage.bounded_sets import Tally, clip
from agents.triage.ledger.batch import LedgerBatch
from agents.triage.ledger.rows import (
    CLOCK,
    DAY_MS,
    HOUR_MS,
    SCAN,
    SOURCE,
    SOURCES,
    TEXT_BYTES,
    ClockRow,
    SourceRow,
    from_ms,
)
from agents.triage.store import row_key
from schemas.canonical import length_prefixed, stable_id
from schemas.ledger import OperatorAlert, SourceOutcome, SourceSeen

HOURS: Final = 64
DAYS: Final = 8
SAMPLE: Final = 64
SAMPLED: Final = 16
"""One event of so many is sampled."""
REGULAR_HOURS: Final = 6
"""Hours in which a source must be heard before its silence is reported."""
LEAST_SILENCE_MS: Final = 6 * HOUR_MS
SILENCE_FACTOR: Final = 3
INCOMPLETE_SHARE: Final = 0.3
INCOMPLETE_RISE: Final = 2.0
LEAST_EVENTS: Final = 10
DEAD_LETTERS: Final = 20
"""Dead letters of one producer in a day from which they are reported."""


def on_source(batch: LedgerBatch, seen: SourceSeen) -> None:
    """Note when a source was heard, and the outcome of its event."""
    key = row_key(SOURCE, seen.tenant, seen.source)
    row = batch.store.load(key, SourceRow) or _new_source(batch, seen)
    hour, day = seen.at_ms // HOUR_MS, seen.at_ms // DAY_MS
    row.last_ms = max(row.last_ms, seen.at_ms)
    if hour not in row.hours:
        row.hours = sorted({*row.hours, hour})[-HOURS:]
    everything, incomplete, dead = row.days.setdefault(str(day), (Tally(), Tally(), Tally()))
    everything.add(seen.event_id, SAMPLE)
    if seen.outcome == SourceOutcome.INCOMPLETE:
        incomplete.add(seen.event_id, SAMPLE)
    elif seen.outcome == SourceOutcome.DEAD_LETTER:
        dead.add(seen.event_id, SAMPLE)
    for old in sorted(row.days, key=int)[:-DAYS]:
        del row.days[old]
    if row.silent_since:
        batch.send_to_operator(_alert(row, "source-recovered", row.silent_since, "heard again"))
        row.silent_since = 0
    batch.store.save(key, row)


def _new_source(batch: LedgerBatch, seen: SourceSeen) -> SourceRow:
    """Return the row of a new source, which evicts its tenant's oldest if there are too many."""
    known = list(batch.store.scan(SOURCE, seen.tenant, row_type=SourceRow, limit=SOURCES))
    if len(known) == SOURCES:
        batch.store.delete(min(known, key=lambda item: (item[1].last_ms, item[0]))[0])
        batch.bound_reached("sources of one tenant", seen.tenant, SOURCES)
    return SourceRow(tenant=clip(seen.tenant, TEXT_BYTES), source=clip(seen.source, TEXT_BYTES))


def usual_interval_ms(hours: list[int]) -> int | None:
    """Return the longest usual gap of a source, None while unknown.

    Args:
        hours: The hours since the epoch in which it was heard, ascending.
    """
    if len(hours) < REGULAR_HOURS:
        return None
    gaps = sorted(after - before for before, after in pairwise(hours))
    return gaps[int(len(gaps) * 0.95) - 1 if len(gaps) > 1 else 0] * HOUR_MS


def look_for_silence(batch: LedgerBatch, now_ms: int) -> None:
    """On a tick, report sources that fell silent or fail often, a page at a time."""
    clock_key = row_key(CLOCK, "ledger")
    clock = batch.store.load(clock_key, ClockRow) or ClockRow()
    page = list(batch.store.scan(SOURCE, row_type=SourceRow, limit=SCAN, after=clock.source))
    following = page[-1][0] if len(page) == SCAN else ""
    if clock.source != following:
        clock.source = following
        batch.store.save(clock_key, clock)
    for key, row in page:
        usual = usual_interval_ms(row.hours)
        if usual is not None and not row.silent_since:
            allowed = max(LEAST_SILENCE_MS, SILENCE_FACTOR * usual)
            if now_ms - row.last_ms > allowed:
                row.silent_since = row.last_ms
                batch.store.save(key, row)
                hours = allowed // HOUR_MS
                batch.send_to_operator(
                    _alert(row, "source-silent", row.last_ms, f"nothing for over {hours} hours")
                )
        _look_at_day(batch, key, row, now_ms // DAY_MS)


def _look_at_day(batch: LedgerBatch, key: str, row: SourceRow, day: int) -> None:
    if str(day) not in row.days:
        return
    everything, incomplete, dead = row.days[str(day)]
    total = everything.count()
    share = incomplete.count() / total if total else 0.0
    before = [row.days[counts] for counts in row.days if int(counts) < day]
    earlier = sum(counts[0].count() for counts in before)
    usual = sum(counts[1].count() for counts in before) / earlier if earlier else 0.0
    if total >= LEAST_EVENTS and share >= max(INCOMPLETE_SHARE, INCOMPLETE_RISE * usual):
        _report_once(
            batch,
            key,
            row,
            kind="incomplete-share",
            day=day,
            detail=f"{share:.0%} could not be analysed",
        )
    if dead.count() >= DEAD_LETTERS:
        _report_once(
            batch, key, row, kind="dead-letters", day=day, detail=f"{dead.count()} unreadable today"
        )


def _report_once(
    batch: LedgerBatch, key: str, row: SourceRow, *, kind: str, day: int, detail: str
) -> None:
    if row.reported.get(kind) == day:
        return
    row.reported[kind] = day
    batch.store.save(key, row)
    batch.send_to_operator(_alert(row, kind, day * DAY_MS, detail))


_RUNBOOK: Final = {
    "source-silent": "Check that the producer runs and may write to its topic.",
    "source-recovered": "Nothing to do; find out what was missed in the meantime.",
    "incomplete-share": "See the assessments' incomplete checks: roots, credentials, limits.",
    "dead-letters": "List them with: tidewatch dead-letters list",
}


def _alert(row: SourceRow, kind: str, since_ms: int, detail: str) -> OperatorAlert:
    return OperatorAlert(
        id=stable_id("opa", kind, row.tenant, row.source, str(since_ms)),
        kind=kind,
        subject=row.source,
        tenant=row.tenant,
        detail=detail,
        since=from_ms(since_ms),
        runbook=_RUNBOOK[kind],
    )


def sampled(event_id: str) -> bool:
    """Return whether an event belongs to the sixteenth that is sampled, by its `stable_rank`."""
    # Computed once for each event: caching its rank would only evict others.
    return sha256(length_prefixed(event_id)).digest()[0] < 256 // SAMPLED

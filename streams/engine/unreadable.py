"""Turns unreadable records into dead letters: a few are kept whole, a run becomes one letter."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from agents.ports import Record
from schemas import dead_letters as reasons
from schemas.canonical import stable_id
from schemas.ledger import OperatorAlert
from streams.kafka.dead_letters import Envelope, dead_letter, range_letter

if TYPE_CHECKING:
    from collections.abc import Sequence

QUIET_SECONDS: Final = 1.0
"""A run ends when it has not grown for this long."""
OPEN_SECONDS: Final = 10.0
"""The longest that a run is held back, with its records unacknowledged."""
OPEN_RECORDS: Final = 100_000
"""Most records of a run."""

PAUSED: Final = "topic-paused"
UNREADABLE: Final = "topic-unreadable"
_RUNBOOK: Final = {
    PAUSED: "See the records with: tidewatch dead-letters list. Have the producer fixed; then "
    "restart the worker to read the topic immediately, or wait.",
    UNREADABLE: "See the records with: tidewatch dead-letters list. Find out who writes them; "
    "give each tenant its own topic (TIDEWATCH_BOUND_TOPICS), which can be paused alone.",
}


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be read, or the placeholder for those of a batch."""

    record: Record
    reason: str
    error: str
    first: int
    """The first offset it represents; the record's own is the last."""
    records: int = 1
    """How many records it represents; 0: not known."""
    whole: bool = True
    """Whether the record's own bytes are available."""


class Run:
    """Consecutive unreadable records of one partition that share one dead letter."""

    def __init__(self, first: Unreadable) -> None:
        """Begin with the first of them."""
        self.first = first.first
        self.last = first.first
        self.records = 0
        self._entries = 0
        self._sample = first
        self._refused: Counter[str] = Counter()
        self._opened = time.monotonic()
        self._added = self._opened
        self.add(first)

    def add(self, further: Unreadable) -> None:
        """Extend the run."""
        self.last = further.record.offset
        self.records += further.records
        self._entries += 1
        self._refused[further.reason] += further.records
        self._added = time.monotonic()

    def due(self, *, quiet: bool = True) -> float:
        """Return when the run ends (monotonic).

        Args:
            quiet: There are no further records to add.
        """
        if self.records >= OPEN_RECORDS:
            return 0.0
        latest = self._opened + OPEN_SECONDS
        return min(self._added + QUIET_SECONDS, latest) if quiet else latest

    def letter(self, app: str, limit: int) -> Envelope:
        """Return the dead letter of the run."""
        sample = self._sample
        reason, error = reasons.UNREADABLE_RUN, f"{sample.reason}: {sample.error}"
        if self._entries == 1:
            reason, error = sample.reason, sample.error
        return range_letter(
            sample.record,
            first=self.first,
            last=self.last,
            records=self.records,
            refused=self._refused,
            reason=reason,
            error=error,
            app=app,
            limit=limit,
        )


class UnreadableRuns:
    """The runs of one topic in one partition.

    The first records of a run are kept whole, each in its own letter: most unreadable records are
    single mistakes, and worth repairing. Those that follow without a readable record between share
    one letter, held back until the run ends, so that a producer of garbage does not fill the topic.
    """

    def __init__(self, app: str, *, whole: int, limit: int) -> None:
        """Keep up to `whole` records of a run, and up to `limit` bytes of each."""
        self._app = app
        self._whole = whole
        self._limit = limit
        self._streak = 0
        self.open: Run | None = None
        """The run at the end of the last chunk, if it has no letter yet."""

    def take(self, entries: Sequence[Unreadable | None]) -> list[Envelope]:
        """Take a chunk's records in order, None for each readable one.

        Returns:
            The letters that are decided; `open` holds the rest.
        """
        if entries and self.open is None and not any(entries):  # nearly always
            self._streak = 0
            return []
        letters: list[Envelope] = []
        singles: list[Unreadable] = []
        for entry in entries:
            if entry is None:
                self._streak = 0
                letters += self.close()
                letters += map(self._single, singles)
                singles.clear()
                continue
            self._streak += entry.records
            if self.open is not None:
                self.open.add(entry)
            elif self._streak > self._whole:
                first, *further = (*singles, entry)
                singles.clear()
                self.open = Run(first)
                for letter in further:
                    self.open.add(letter)
            else:
                singles.append(entry)
        letters += map(self._single, singles)
        return letters

    def close(self) -> list[Envelope]:
        """End the open run; return its letter, if there is one."""
        if self.open is None:
            return []
        run, self.open = self.open, None
        return [run.letter(self._app, self._limit)]

    def _single(self, entry: Unreadable) -> Envelope:
        if entry.whole:
            return dead_letter(
                entry.record,
                reason=entry.reason,
                error=entry.error,
                app=self._app,
                limit=self._limit,
            )
        return range_letter(
            entry.record,
            first=entry.first,
            last=entry.record.offset,
            records=entry.records,
            refused={entry.reason: entry.records},
            reason=entry.reason,
            error=entry.error,
            app=self._app,
            limit=self._limit,
        )


def unreadable_topic_alert(
    group: str,
    topic: str,
    partition: int,
    *,
    offset: int,
    too_much: str,
    tenant: str | None,
    pause_seconds: float,
) -> OperatorAlert:
    """Return the operator's alert of a topic that is almost entirely unreadable.

    Args:
        group: The consumer group that reads it.
        topic: The topic.
        partition: The partition that reached the limit.
        offset: The last offset read there.
        too_much: The limit reached.
        tenant: The tenant of a bound topic, which is paused. Reading continues on a shared topic,
            since no writer may stop it for the others.
        pause_seconds: How long it is paused.
    """
    kind = UNREADABLE if tenant is None else PAUSED
    what = (
        "it is shared, and reading continues"
        if tenant is None
        else f"the topic is not read for {pause_seconds:.0f} s; others are"
    )
    return OperatorAlert(
        id=stable_id("opa", kind, group, topic, str(partition), str(offset)),
        kind=kind,
        subject=topic,
        tenant=tenant,
        detail=f"{too_much} at {topic}-{partition}, up to offset {offset}: {what}",
        runbook=_RUNBOOK[kind],
        figures={"partition": float(partition), "offset": float(offset)},
    )

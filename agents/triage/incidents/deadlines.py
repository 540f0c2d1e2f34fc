"""When time next matters to incidents: commands that wait, and ended incidents to be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agents.triage.incidents.incident_rows import IncidentRows
from agents.triage.incidents.rows import (
    ACTIONS,
    ASKED,
    CLOCK,
    COMMANDS,
    CORE,
    EXPIRY,
    FINDINGS,
    KEEP_DAYS,
    NEVER_MS,
    SEEN,
    SYSTEMS,
    TENANTS,
    WAITING,
    ClockRow,
    CoreRow,
    ExpiryRow,
    WaitingRow,
)
from agents.triage.ledger.rows import DAY_MS
from agents.triage.store import SEPARATOR, Store, row_key

AT_ONCE: Final = 10_000
"""The most rows examined per tick."""
ADOPTED: Final = 500
"""The most incidents examined per record after an upgrade."""
_ALL: Final = "all"
_RETRY_DAYS: Final = 30
"""How long until an incident that is still open is examined again."""


class Deadlines:
    """The clock of one partition and the rows that wait for it."""

    def __init__(self, store: Store) -> None:
        """Read the clock.

        Args:
            store: The batch's rows.
        """
        self._store = store
        self._clock = store.load(row_key(CLOCK, "incidents"), ClockRow) or ClockRow()

    @property
    def now_ms(self) -> int:
        """The last tick, in milliseconds since the epoch."""
        return self._clock.time_ms

    def advance(self, now_ms: int) -> bool:
        """Set the clock; return False if it was already there or later."""
        if now_ms <= self._clock.time_ms:
            return False
        self._clock.time_ms = now_ms
        self._save()
        return True

    def _save(self) -> None:
        self._store.save(row_key(CLOCK, "incidents"), self._clock)

    def due(self) -> Iterator[tuple[str, WaitingRow]]:
        """Yield the parts that are due, with the keys of their rows.

        The rows are only read once the earliest time that one waits for has come: most wait for
        days, and there may be very many.
        """
        clock = self._clock
        if clock.earliest_ms > self.now_ms:
            return
        if not clock.waiting_after:
            clock.round_ms = NEVER_MS
        page = list(
            self._store.scan(WAITING, row_type=WaitingRow, limit=AT_ONCE, after=clock.waiting_after)
        )
        # The next tick continues after these, so that every part gets its turn.
        clock.waiting_after = page[-1][0] if len(page) == AT_ONCE else ""
        clock.round_ms = min((clock.round_ms, *(waiting.due_ms for _, waiting in page)))
        clock.earliest_ms = 0 if clock.waiting_after else clock.round_ms
        self._save()
        for key, waiting in page:
            if waiting.due_ms <= self.now_ms:
                yield key, waiting

    def wait(self, incident: str, tenant: str, due_ms: int | None) -> None:
        """Note when time next matters to a tenant's part; None: it does not."""
        key = row_key(WAITING, incident, tenant)
        known = self._store.load(key, WaitingRow)
        if due_ms is None:
            if known is not None:
                self._store.delete(key)
            return
        if known is None or known.due_ms != due_ms:
            self._store.save(key, WaitingRow(incident=incident, tenant=tenant, due_ms=due_ms))
        clock = self._clock
        if due_ms < max(clock.earliest_ms, clock.round_ms):
            clock.earliest_ms = min(clock.earliest_ms, due_ms)
            clock.round_ms = min(clock.round_ms, due_ms)
            self._save()

    # -- upgrading ---------------------------------------------------------------------------------

    def to_adopt(self) -> Iterator[str]:
        """Yield each incident from before holds were kept once, some at a time."""
        if self._clock.adopted == _ALL:
            return
        found = list(
            self._store.scan(CORE, row_type=CoreRow, limit=ADOPTED, after=self._clock.adopted)
        )
        self._clock.adopted = found[-1][0] if len(found) == ADOPTED else _ALL
        self._store.save(row_key(CLOCK, "incidents"), self._clock)
        for _, core in found:
            yield core.incident

    # -- forgetting --------------------------------------------------------------------------------

    def seen(self, case: IncidentRows, at_ms: int) -> None:
        """Note that a record about an incident was read: it is kept for `KEEP_DAYS` from now."""
        if at_ms // DAY_MS <= case.core.last_ms // DAY_MS:
            return
        if not case.core.last_ms:
            self.look_again(case.incident, at_ms // DAY_MS + KEEP_DAYS)
        case.core.last_ms = at_ms
        case.note_core()

    def look_again(self, incident: str, day: int) -> None:
        """Schedule the day on which to check whether an incident can be forgotten."""
        self._store.save(row_key(EXPIRY, f"{day:08d}", incident), ExpiryRow(incident=incident))

    def to_look_at(self) -> Iterator[str]:
        """Yield, once each, the incidents that may be forgotten by today; some at a time."""
        today = self.now_ms // DAY_MS
        if today <= self._clock.day:
            return
        page = list(self._store.scan(EXPIRY, row_type=ExpiryRow, limit=AT_ONCE))
        due = [(key, entry) for key, entry in page if int(key.split(SEPARATOR)[1]) <= today]
        if len(due) < AT_ONCE:
            # However many are due, the next tick continues: otherwise more would open each day than
            # end.
            self._clock.day = today
            self._save()
        for key, pointer in due:
            self._store.delete(key)
            yield pointer.incident

    def postpone(self, case: IncidentRows) -> bool:
        """Return whether it is too early to forget an incident; if so, check again later."""
        today = self.now_ms // DAY_MS
        due = case.core.last_ms // DAY_MS + KEEP_DAYS
        if not case.core.is_open and due <= today:
            return False
        self.look_again(case.incident, max(due, today + _RETRY_DAYS))
        return True

    def forget(self, incident: str) -> None:
        """Remove all rows of an incident."""
        self._store.delete(row_key(CORE, incident))
        self._store.delete(row_key(SEEN, incident))
        for kind in (FINDINGS, SYSTEMS, ACTIONS, ASKED, WAITING):
            prefix = row_key(kind, incident) + SEPARATOR
            for key in self._store.scan_keys(prefix, TENANTS * COMMANDS):
                self._store.delete(key)

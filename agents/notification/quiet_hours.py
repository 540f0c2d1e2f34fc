"""When a quiet period ends: local clock times of an IANA time zone, as instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from agents.notification.config import DAYS, clock_minutes

if TYPE_CHECKING:
    from datetime import date

    from agents.notification.config import QuietHours, Route
    from schemas.severity import Severity

_ADJOINING: Final = 10
"""Periods that may follow one another without a pause; no week has more."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def quiet_until(quiet: QuietHours, at: datetime) -> datetime | None:
    """Return the end of the quiet period that contains `at`; None outside any.

    Periods that adjoin count as one. A clock time that daylight saving repeats is its first
    occurrence; one that it leaves out is as far after the change.

    Args:
        quiet: The hours.
        at: An instant, with its time zone.
    """
    end: datetime | None = None
    moment = at
    for _ in range(_ADJOINING):
        found = _period_end(quiet, moment)
        if found is None:
            break
        moment = end = found
    return end


def speaks_from(route: Route, severity: Severity, at_ms: int) -> int:
    """Return the first time from `at_ms` on at which a route sends something of a severity.

    Args:
        route: The route, with its quiet hours.
        severity: The severity that may break through.
        at_ms: Milliseconds since the epoch.
    """
    quiet = route.quiet_hours
    if quiet is None:
        return at_ms
    if quiet.break_through is not None and severity.rank >= quiet.break_through.rank:
        return at_ms
    end = quiet_until(quiet, _EPOCH + timedelta(milliseconds=at_ms))
    return at_ms if end is None else (end - _EPOCH) // timedelta(milliseconds=1)


def _period_end(quiet: QuietHours, at: datetime) -> datetime | None:
    """Return the end of the latest period that contains `at`."""
    begins, ends = clock_minutes(quiet.begins), clock_minutes(quiet.ends)
    today = at.astimezone(_zone(quiet.time_zone)).date()
    found: datetime | None = None
    # a period of yesterday may reach into today
    for day in (today - timedelta(days=1), today):
        if DAYS[day.weekday()] not in quiet.days:
            continue
        start = _instant(quiet, day, begins)
        end = _instant(quiet, day + timedelta(days=1) if ends <= begins else day, ends)
        if start <= at < end and (found is None or end > found):
            found = end
    return found


def _instant(quiet: QuietHours, day: date, minutes: int) -> datetime:
    extra, minutes = divmod(minutes, 24 * 60)
    day += timedelta(days=extra)
    local = datetime(
        day.year, day.month, day.day, *divmod(minutes, 60), tzinfo=_zone(quiet.time_zone)
    )
    return local.astimezone(UTC)

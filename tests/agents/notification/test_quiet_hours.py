"""Quiet hours are local clock times of a time zone, whatever daylight saving does to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.notification.config import DAYS, QuietHours
from agents.notification.quiet_hours import quiet_until, speaks_from
from schemas.severity import Severity
from tests.agents.notification.making import config

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time_zone="Europe/Berlin", begins="22:00", ends="07:00")


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ((2026, 1, 14, 21, 59), None),
        ((2026, 1, 14, 22, 0), (2026, 1, 15, 7, 0)),
        ((2026, 1, 15, 6, 59), (2026, 1, 15, 7, 0)),
        ((2026, 1, 15, 7, 0), None),
        # the night in which clocks go forward has an hour less, and one more in autumn
        ((2026, 3, 28, 22, 30), (2026, 3, 29, 7, 0)),
        ((2026, 10, 24, 22, 30), (2026, 10, 25, 7, 0)),
    ],
)
def test_a_quiet_night_ends_at_its_local_hour(at, end):
    found = quiet_until(NIGHT, datetime(*at, tzinfo=BERLIN))
    assert found == (None if end is None else datetime(*end, tzinfo=BERLIN))


def test_a_weekend_is_one_period():
    weekend = QuietHours(
        time_zone="America/New_York", begins="00:00", ends="24:00", days=("sat", "sun")
    )
    zone = ZoneInfo("America/New_York")
    saturday = datetime(2026, 11, 28, 3, 0, tzinfo=zone)
    assert quiet_until(weekend, saturday) == datetime(2026, 11, 30, 0, 0, tzinfo=zone)
    assert quiet_until(weekend, datetime(2026, 11, 27, 23, 59, tzinfo=zone)) is None


def test_skipped_local_time_is_shifted_past_the_change():
    gap = QuietHours(time_zone="Europe/Berlin", begins="02:15", ends="02:45")
    at = datetime(2026, 3, 29, 1, 20, tzinfo=UTC)  # 03:20 local
    assert quiet_until(gap, at) == datetime(2026, 3, 29, 1, 45, tzinfo=UTC)


clocks = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))


@given(
    zone=st.sampled_from(
        ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]
    ),
    begins=clocks,
    ends=clocks,
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 -- given a zone
)
def test_a_quiet_period_ends_after_now_and_is_over_then(zone, begins, ends, days, at):
    if begins == ends:
        return
    quiet = QuietHours(time_zone=zone, begins=begins, ends=ends, days=tuple(days))
    end = quiet_until(quiet, at)
    if end is None:
        return
    assert end > at
    assert quiet_until(quiet, end) is None
    # all between is quiet as well, to the same end
    assert quiet_until(quiet, at + (end - at) / 2) == end
    assert quiet_until(quiet, end - timedelta(seconds=1)) == end


def test_a_severity_breaks_through():
    quiet = """
        [routes.quiet_hours]
        time_zone = "Europe/Berlin"
        from = "22:00"
        until = "07:00"
        break_through = "high"
    """
    (route,) = config(quiet).routes
    night = round(datetime(2026, 1, 14, 23, 0, tzinfo=BERLIN).timestamp() * 1000)
    morning = round(datetime(2026, 1, 15, 7, 0, tzinfo=BERLIN).timestamp() * 1000)
    assert speaks_from(route, Severity.MEDIUM, night) == morning
    assert speaks_from(route, Severity.HIGH, night) == night
    assert speaks_from(route, Severity.MEDIUM, morning) == morning

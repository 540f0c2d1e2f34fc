"""The broker holds fetches back for longer where nothing arrives."""

from __future__ import annotations

from streams.engine.transport import (
    CALM_FETCH_MAX_WAIT_MS,
    CALM_SECONDS,
    FETCH_MAX_WAIT_MS,
    FetchPace,
)


def test_fetches_wait_longer_once_nothing_has_arrived_for_a_while() -> None:
    pace = FetchPace(0.0)
    assert pace.wait_ms(CALM_SECONDS, arrived=False, paused=False) == FETCH_MAX_WAIT_MS
    later = CALM_SECONDS + 0.1
    assert pace.wait_ms(later, arrived=False, paused=False) == CALM_FETCH_MAX_WAIT_MS


def test_one_record_makes_them_short_again() -> None:
    pace = FetchPace(0.0)
    assert pace.wait_ms(100.0, arrived=False, paused=False) == CALM_FETCH_MAX_WAIT_MS
    assert pace.wait_ms(100.1, arrived=True, paused=False) == FETCH_MAX_WAIT_MS
    assert pace.wait_ms(101.0, arrived=False, paused=False) == FETCH_MAX_WAIT_MS


def test_a_partition_that_waits_for_room_keeps_them_short() -> None:
    """It is to be fetched again as soon as there is room, however long that takes."""
    pace = FetchPace(0.0)
    for seconds in range(1, 100):
        assert pace.wait_ms(float(seconds), arrived=False, paused=True) == FETCH_MAX_WAIT_MS

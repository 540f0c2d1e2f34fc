"""What the checks tell the ledger: each thing once a day, and every change of what a system has."""

from __future__ import annotations

from agents.checking import SightingDeduplicator
from tests.agents.triage.stories import BAD, GOOD, MODEL, sighting


def seen(minutes, digest, version):
    return sighting(MODEL, "a", "gpu", minutes, version=version, digest=digest)


def test_the_same_notice_is_published_once_a_day():
    deduplicator = SightingDeduplicator()
    assert deduplicator.is_news(seen(0, GOOD, "r1"))
    assert not deduplicator.is_news(seen(10, GOOD, "r1"))
    assert deduplicator.is_news(seen(24 * 60, GOOD, "r1"))


def test_an_earlier_sighting_is_published_as_well():
    deduplicator = SightingDeduplicator()
    assert deduplicator.is_news(seen(10, GOOD, "r1"))
    assert deduplicator.is_news(seen(0, GOOD, "r1"))


def test_a_rollback_of_the_same_day_is_published():
    deduplicator = SightingDeduplicator()
    assert deduplicator.is_news(seen(0, GOOD, "r1"))
    assert deduplicator.is_news(seen(10, BAD, "r2"))
    assert deduplicator.is_news(seen(20, GOOD, "r1"))
    assert not deduplicator.is_news(seen(30, GOOD, "r1"))


def test_memory_is_bounded():
    deduplicator = SightingDeduplicator(limit=10)
    for number in range(100):
        assert deduplicator.is_news(seen(number, f"{number:064d}", f"r{number}"))
    assert len(deduplicator._last) == 1
    assert len(deduplicator._seen) == 10

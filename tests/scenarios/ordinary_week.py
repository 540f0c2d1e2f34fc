"""A week of ordinary work of 20 tenants: nothing may alert above low."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from streams.demo.ordinary import ordinary_days, tenant_policy
from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Expected

TENANTS = tuple(f"tenant-{number:02}" for number in range(1, 21))
PER_DAY = 12


def events(root):
    story = StoryBuilder("ordinary-week", datetime(2026, 11, 9, 8, tzinfo=UTC), root)
    return list(ordinary_days(list(TENANTS), story, days=7, per_day=PER_DAY))


def intel():
    return [
        IntelFact(key="pypi:litellm", kind=IntelKind.COMPROMISED, versions=("1.82.7", "1.82.8"),
                  sources=("OSV:MAL-2026-2144",), popular=True),
        IntelFact(key="pypi:ultralytics", kind=IntelKind.COMPROMISED,
                  versions=("8.3.41", "8.3.42", "8.3.45", "8.3.46"),
                  sources=("OSV:PYSEC-2024-154",), popular=True),
        IntelFact(key="pypi:torch", kind=IntelKind.WARNINGLIST, sources=("popular",)),
    ]  # fmt: skip


def policies(root):
    return [tenant_policy(tenant, root) for tenant in TENANTS]


expected = Expected(title="a week of ordinary work of 20 tenants", quiet=TENANTS)

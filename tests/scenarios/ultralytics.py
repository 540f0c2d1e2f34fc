"""ultralytics 8.3.41, December 2024: releases built by a compromised workflow carried a miner.

8.3.41 and 8.3.42 were bad, 8.3.43 and 8.3.44 clean, 8.3.45 and 8.3.46 bad again.
Source: OSV PYSEC-2024-154; the index's own report of 2024-12-11.
"""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from streams.demo.story_builder import StoryBuilder, package
from tests.scenarios.expectation import Alert, Expected, fetching

KEY = "pypi:ultralytics"
BAD = ("8.3.41", "8.3.42", "8.3.45", "8.3.46")
INSTALLED = (
    ("drones", "8.3.40"),
    ("retail", "8.3.41"),
    ("traffic", "8.3.41"),
    ("harbour", "8.3.43"),
    ("mining", "8.3.46"),
    ("drones", "8.3.48"),
)


def events(root):
    story = StoryBuilder("ultralytics", datetime(2026, 11, 4, 18, tzinfo=UTC), root)
    found = []
    for tenant, version in INSTALLED:
        packages = [
            package("ultralytics", version, requested=True, requires_dist=["torch>=1.8.0"]),
            package("torch", "2.8.0"),
            package("numpy", "2.3.1"),
        ]
        found.append(
            story.install(
                tenant, "trainer-1", packages, identities=[f"secret-ref:{tenant}-cluster"]
            )
        )
        story.wait(hours=9)
    return found


def intel():
    return [
        IntelFact(
            key=KEY,
            kind=IntelKind.COMPROMISED,
            versions=BAD,
            sources=("OSV:PYSEC-2024-154",),
            confidence=0.95,
            popular=True,
        )
    ]


def policies(root):
    return fetching(root, *{tenant for tenant, _ in INSTALLED})


expected = Expected(
    title="ultralytics 8.3.41 (compromised release, December 2024)",
    intel_after=True,
    alerts=tuple(
        Alert(
            tenant=tenant,
            about=frozenset({KEY, f"{KEY}@{version}"}),
            any_of=frozenset({"known_compromised_package"}),
        )
        for tenant, version in INSTALLED
        if version in BAD
    ),
    quiet=("drones", "harbour"),
)

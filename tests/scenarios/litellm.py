"""litellm 1.82.7 and 1.82.8, 2026: releases with a credential stealer; its neighbours are clean.

Source: OSV MAL-2026-2144.
"""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from streams.demo.story_builder import StoryBuilder, package
from tests.scenarios.expectation import Alert, Expected, fetching

KEY = "pypi:litellm"
BAD = ("1.82.7", "1.82.8")
INSTALLED = (
    ("bank", "1.82.6"),
    ("clinic", "1.82.7"),
    ("school", "1.82.9"),
    ("city", "1.82.8"),
    ("bank", "1.82.9"),
)


def events(root):
    story = StoryBuilder("litellm", datetime(2026, 11, 6, 8, tzinfo=UTC), root)
    found = []
    for tenant, version in INSTALLED:
        packages = [
            package("litellm", version, requested=True, requires_dist=["httpx>=0.23.0"]),
            package("httpx", "0.28.1"),
            package("openai", "1.99.0"),
        ]
        identities = [f"secret-ref:{tenant}-model-provider"]
        found.append(story.install(tenant, "gateway-1", packages, identities=identities))
        story.wait(hours=3)
    return found


def intel():
    return [
        IntelFact(
            key=KEY,
            kind=IntelKind.COMPROMISED,
            versions=BAD,
            sources=("OSV:MAL-2026-2144",),
            confidence=0.95,
            popular=True,
        )
    ]


def policies(root):
    return fetching(root, *{tenant for tenant, _ in INSTALLED})


expected = Expected(
    title="litellm 1.82.7 (compromised release, 2026)",
    alerts=tuple(
        Alert(
            tenant=tenant,
            about=frozenset({KEY, f"{KEY}@{version}"}),
            any_of=frozenset({"known_compromised_package"}),
        )
        for tenant, version in INSTALLED
        if version in BAD
    ),
    quiet=("bank", "school"),
)

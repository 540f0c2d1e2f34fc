"""Digests of hostile images are published; who holds the same version rebuilt holds something else.

Source: Docker's advisory on GHSA-69fq-xp46-6x23, March 2026, which names digests beside the tags.
"""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected

IMAGE = "image:registry.example/scanning/scanner"
HOSTILE, REBUILT = digest_of("scanner 0.69.4, hostile"), digest_of("scanner 0.69.4, rebuilt")


def _held(digest):
    return {"component": IMAGE, "revision": "0.69.4", "digests": {"sha256": digest}}


def events(root):
    story = StoryBuilder("rebuilt-version", datetime(2026, 3, 20, 9, tzinfo=UTC), root)
    found = []
    for tenant, digest in (("trawl", HOSTILE), ("lugger", REBUILT)):
        found += [
            story.run(tenant, "scan", stage="evaluation", inputs=[_held(digest)]),
            story.run(tenant, "gate", stage="deployment", inputs=[_held(digest)],
                       outputs=[{"component": "deployment:gate"}]),
        ]  # fmt: skip
        story.wait(hours=3)
    return found


def intel():
    return [
        IntelFact(
            key=f"sha256:{HOSTILE}",
            kind=IntelKind.MALICIOUS,
            sources=("advisory:CVE-2026-33634",),
        )
    ]


def policies(root):
    del root
    return []


expected = Expected(
    title="the same version with another digest (2026)",
    intel_after=True,
    alerts=(
        Alert(
            tenant="trawl",
            about=frozenset({f"sha256:{HOSTILE}"}),
            any_of=frozenset({"malicious_payload"}),
        ),
    ),
    quiet=("lugger",),
    exposed={"trawl": frozenset({"deployment:@trawl/gate"})},
)

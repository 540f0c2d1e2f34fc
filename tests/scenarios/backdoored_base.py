"""Base images hold a backdoored library for months; whoever builds on them inherits it.

Source: CVE-2024-3094 (xz 5.6.0 and 5.6.1), whose library was found in published base images and in
images built on them in August 2025.
"""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected

BASE = "image:registry.example/base/testing"
BAD, GOOD = digest_of("base 20240311"), digest_of("base 20240401")


def _build(story, tenant, digest):
    built = {
        "component": f"image:registry.{tenant}/trainer",
        "revision": "7",
        "digests": {"sha256": digest_of(f"{tenant} trainer {digest}")},
    }
    base = {"component": BASE, "revision": f"sha256:{digest}", "digests": {"sha256": digest}}
    return [
        story.run(tenant, "build", stage="build", inputs=[base], outputs=[built]),
        story.run(tenant, "serve", stage="serving", state="running", inputs=[built],
                   outputs=[{"component": "deployment:trainer"}], criticality=0.8),
    ]  # fmt: skip


def events(root):
    story = StoryBuilder("backdoored-base", datetime(2025, 8, 4, 9, tzinfo=UTC), root)
    found = [*_build(story, "punt", BAD)]
    story.wait(hours=5)
    return [*found, *_build(story, "skiff", GOOD)]


def intel():
    return [
        IntelFact(
            key=f"sha256:{BAD}", kind=IntelKind.MALICIOUS, sources=("advisory:CVE-2024-3094",)
        )
    ]


def policies(root):
    del root
    return []


expected = Expected(
    title="a backdoored base image that others build on (2024)",
    intel_after=True,
    alerts=(
        Alert(
            tenant="punt",
            about=frozenset({f"sha256:{BAD}"}),
            any_of=frozenset({"malicious_payload"}),
        ),
    ),
    quiet=("skiff",),
    exposed={"punt": frozenset({"image:registry.punt/trainer", "deployment:@punt/trainer"})},
)

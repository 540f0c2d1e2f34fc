"""Release tags of a scanner that pipelines pull were pushed again, with a thief of credentials.

A pull by tag gets other content than before, and no push of the tenant reports it.
Source: GHSA-69fq-xp46-6x23 (CVE-2026-33634): Trivy, March 2026.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected

SCANNER = "scanning/scanner"
KEY = f"image:registry.example/{SCANNER}"


def _pull(story, tenant, tag, content):
    return story.push(
        tenant,
        SCANNER,
        kind="image",
        registry="registry.example",
        action="pull",
        revision=f"sha256:{digest_of(content)}",
        tag=tag,
        systems=["ci-1"],
        identities=[f"secret-ref:{tenant}-cloud"],
    )


def events(root):
    story = StoryBuilder("pulled-image-tag", datetime(2026, 3, 16, 9, tzinfo=UTC), root)
    found = []
    for day, content in enumerate(("0.69.3", "0.69.3", "0.69.3", "0.69.3 anew")):
        found += [
            _pull(story, "gantry", "0.69.3", content),
            # What follows the newest, and what moves on to the next release, is meant to change.
            _pull(story, "davit", "latest", f"newest {day}"),
            _pull(story, "bollard", f"0.68.{day}", f"0.68.{day}"),
        ]
        story.wait(days=1)
    return found


def intel():
    return []


def policies(root):
    del root
    return []


expected = Expected(
    title="a release tag that gives another image when pulled (2026)",
    alerts=(Alert(tenant="gantry", about=frozenset({KEY}), any_of=frozenset({"tag_mutation"})),),
    quiet=("davit", "bollard"),
)

"""The release tags of an action were moved to a commit that prints the secrets of a run.

Source: GHSA-mrrh-fwg8-r2c3 (CVE-2025-30066): tj-actions/changed-files, March 2025.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.story_builder import StoryBuilder
from tests.scenarios.expectation import Alert, Expected

ACTION = "service:git.example/owner/changed-files"
CHECKOUT = "service:git.example/owner/checkout"
GOOD, BAD = "a" * 40, "0e58ed8671d6b60d0890c21b07f8835ace038e67"


def _uses(component, revision, commit):
    return {"component": component, "revision": revision, "digests": {"gitCommit": commit}}


def events(root):
    story = StoryBuilder("moved-action-tag", datetime(2025, 3, 10, 9, tzinfo=UTC), root)
    found = []
    for day, action in enumerate((GOOD, GOOD, GOOD, GOOD, BAD)):
        # What another tenant uses moves on as it is meant to: a branch, and the tag of a series.
        moving = f"{day:040x}"
        found += [
            story.run("anvil", "evaluate", inputs=[_uses(ACTION, "v45.0.5", action)],
                       identities=["secret-ref:hub-token"]),
            story.run("kiln", "evaluate", inputs=[_uses(ACTION, GOOD, GOOD)]),
            story.run("loom", "evaluate", inputs=[_uses(CHECKOUT, "main", moving),
                                                   _uses(CHECKOUT, "v4", moving)]),
        ]  # fmt: skip
        story.wait(days=1)
    return found


def intel():
    return []


def policies(root):
    del root
    return []


expected = Expected(
    title="an action whose release tags were moved",
    alerts=(Alert(tenant="anvil", about=frozenset({ACTION}), any_of=frozenset({"tag_mutation"})),),
    quiet=("kiln", "loom"),
)

"""A script that pipelines fetch at each run was changed at its source to send their secrets out.

Whoever pinned its digest sees the change, as the maintainers did.
Source: Codecov's Bash Uploader, January to April 2021.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected

URL = "https://tools.example/v1.2/uploader.sh"
PUBLISHED, CHANGED = digest_of("uploader"), digest_of("uploader, changed")


def _run(story, tenant, digest):
    config = {"data_sources": [{"url": URL, "sha256": PUBLISHED, "verified": True}]}
    return story.run(
        tenant,
        "report",
        config=config,
        data_sources=[{"url": URL, "verified": True, "digests": {"sha256": digest}}],
        identities=[f"secret-ref:{tenant}-ci"],
    )


def events(root):
    story = StoryBuilder("changed-uploader", datetime(2021, 1, 29, 9, tzinfo=UTC), root)
    found = []
    for day in range(3):
        found += [
            _run(story, "brig", CHANGED if day == 2 else PUBLISHED),
            _run(story, "cutter", PUBLISHED),
        ]
        story.wait(days=1)
    return found


def intel():
    return []


def policies(root):
    del root
    return []


expected = Expected(
    title="a fetched script that was changed at its source (2021)",
    alerts=(
        Alert(
            tenant="brig",
            about=frozenset({"domain:tools.example", "dataset:tools.example/v1.2/uploader.sh"}),
            any_of=frozenset({"data_hash_drift", "hash_mismatch"}),
        ),
    ),
    quiet=("cutter",),
)

"""Data that changed under its name: a lapsed domain bought again, a dataset swapped in place.

Source: N. Carlini et al., "Poisoning Web-Scale Training Datasets is Practical", IEEE S&P 2024.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected

SITE = "https://images.gallery.example/set.tar"
TICKETS = "dataset:desk/tickets"


def _crawled(content, registered_at):
    digests = {"sha256": digest_of(content)}
    return {"url": SITE, "verified": True, "digests": digests, "registered_at": registered_at}


def _trained(story, tenant, content, score):
    return story.run(
        tenant,
        "train-support",
        stage="fine-tuning",
        inputs=[
            {
                "component": f"dataset:{tenant}/tickets",
                "revision": "v7",
                "digests": {"sha256": digest_of(content)},
            }
        ],
        evaluation={"suite": "behaviour", "score": score, "baseline": 0.91, "passed": score > 0.8},
    )


def events(root):
    story = StoryBuilder("split-view", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    found = []
    for day in range(3):
        found += [
            story.run("atlas", "crawl", stage="crawl",
                       data_sources=[_crawled("gallery", "2011-02-01T00:00:00Z")]),
            _trained(story, "desk", "tickets v7", 0.91),
            _trained(story, "help", "help tickets", 0.91 - day / 1000),
        ]  # fmt: skip
        story.wait(days=1)
    found += [
        story.run("atlas", "crawl", stage="crawl",
                   data_sources=[_crawled("another gallery", "2026-11-04T00:00:00Z")]),
        _trained(story, "desk", "tickets v7, swapped", 0.61),
        _trained(story, "help", "help tickets", 0.9),
    ]  # fmt: skip
    return found


def intel():
    return []


def policies(root):
    del root
    return []


expected = Expected(
    title="data that changed under its name",
    alerts=(
        Alert(
            tenant="atlas",
            about=frozenset({"dataset:images.gallery.example/set.tar"}),
            any_of=frozenset({"data_hash_drift"}),
        ),
        Alert(tenant="desk", about=frozenset({TICKETS}), any_of=frozenset({"data_hash_drift"})),
    ),
    quiet=("help",),
)

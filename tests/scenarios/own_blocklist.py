"""One tenant's policy blocks a source that others use legitimately: only it is alerted."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.policy import Policy
from streams.demo.story_builder import StoryBuilder, digest_of
from tests.scenarios.expectation import Alert, Expected

HOST = "dumps.books.example"


def events(root):
    story = StoryBuilder("own-blocklist", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    books = {"sha256": digest_of("books")}
    source = {"url": f"https://{HOST}/books.tar", "verified": True, "digests": books}
    found = []
    for tenant in ("publisher", "reader", "archive", "college"):
        made = {"component": f"dataset:{tenant}/books", "revision": "1", "digests": books}
        found.append(
            story.run(tenant, "crawl", stage="crawl", data_sources=[source], outputs=[made])
        )
        found.append(
            story.run(tenant, "train", stage="pre-training", inputs=[made],
                       outputs=[{"component": f"model:registry.{tenant}.example/m/reader"}])
        )  # fmt: skip
    return found


def intel():
    return []


def policies(root):
    del root
    return [Policy(tenant="publisher", blocked_sources=(HOST,))]


expected = Expected(
    title="a source that only one tenant blocks",
    alerts=(
        Alert(
            tenant="publisher",
            about=frozenset({f"domain:{HOST}"}),
            any_of=frozenset({"blocked_source_used"}),
        ),
    ),
    quiet=("reader", "archive", "college"),
)

"""Dependency confusion through an internal index that merges the public one (2021, 2026).

Nothing but the internal index is asked; it answers with the public package of an internal name.
Source: A. Birsan, "Dependency Confusion", 2021-02-09.
"""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.policy import Internal, Policy, Trusted
from streams.demo.story_builder import INDEX, StoryBuilder, package
from tests.scenarios.expectation import Alert, Expected

INNER = "https://packages.rail.example/simple"
STORE = "https://wheels.store.example/rail"


def _own(version, **fields):
    url = f"{STORE}/rail_timetable-{version}-py3-none-any.whl"
    return package("rail-timetable", version, **{"index_url": INNER, "url": url, **fields})


def events(root):
    story = StoryBuilder("merged-index", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    asked = {"index_url": INNER, "identities": ["secret-ref:rail-ci"]}
    found = []
    for day in range(3):
        found.append(story.install("rail", "ci-1", [_own(f"1.{day}.0")], **asked))
        story.wait(days=1)
    public = package("rail-timetable", "99.9.9", index_url=INNER)
    found.append(story.install("rail", "ci-2", [public], locked=False, **asked))
    # To others the name says nothing: what one tenant calls its own is no verdict on them.
    found.append(story.install("trams", "ci-1", [package("rail-timetable", "99.9.9")]))
    return found


def intel():
    return []


def policies(root):
    del root
    own = Internal(prefixes=("rail-",), indexes=(INNER,))
    return [Policy(tenant="rail", internal=own, trusted=Trusted(indexes=(INDEX, INNER)))]


expected = Expected(
    title="dependency confusion through an index that merges",
    alerts=(
        Alert(
            tenant="rail",
            about=frozenset({"pypi:rail-timetable"}),
            any_of=frozenset({"dependency_confusion"}),
        ),
    ),
    quiet=("trams",),
)

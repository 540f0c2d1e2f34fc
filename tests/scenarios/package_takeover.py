"""ctx, May 2022: a dormant package was taken over and its old release uploaded again.

The same file name then had another content; new releases sent environment variables out.
Source: Python Package Index advisory PYSEC-2022-199.
"""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.intel import IntelFact, IntelKind
from streams.demo.story_builder import StoryBuilder, digest_of, package
from tests.scenarios.expectation import Alert, Expected

KEY = "pypi:ctx"
AGAIN = digest_of("ctx 0.1.2, uploaded again")


def events(root):
    story = StoryBuilder("package-takeover", datetime(2026, 11, 2, 9, tzinfo=UTC), root)
    old = package("ctx", "0.1.2", uploaded_at="2014-12-19T00:00:00Z")
    again = package("ctx", "0.1.2", hashes={"sha256": AGAIN}, uploaded_at="2026-11-04T00:00:00Z")
    found = [
        story.install("shop", "ci-1", [old], identities=["secret-ref:shop-cloud"]),
        story.install("tools", "ci-1", [package("ctx-tools", "2.0"), package("rich", "14.0.0")]),
    ]
    story.wait(days=3)
    found += [
        story.install("shop", "ci-2", [again], locked=False,
                       identities=["secret-ref:shop-cloud"]),
        story.install("broker", "ci-1", [package("ctx", "0.2.6")], locked=False,
                       identities=["secret-ref:broker-cloud"]),
    ]  # fmt: skip
    return found


def intel():
    return [
        IntelFact(
            key=KEY,
            kind=IntelKind.COMPROMISED,
            versions=("0.2.2", "0.2.6"),
            digests=(AGAIN,),
            sources=("OSV:PYSEC-2022-199",),
        )
    ]


def policies(root):
    del root
    return []


expected = Expected(
    title="ctx, a package taken over (2022)",
    intel_after=True,
    alerts=(
        Alert(
            tenant="shop",
            about=frozenset({KEY, f"sha256:{AGAIN}"}),
            any_of=frozenset({"package_hash_mismatch", "known_compromised_package"}),
        ),
        Alert(
            tenant="broker",
            about=frozenset({KEY}),
            any_of=frozenset({"known_compromised_package"}),
        ),
    ),
    quiet=("tools",),
)

"""What is read from a feed: facts, withdrawals, and what could not be used."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from agents.checks.packages.intel_match import ADVERSE, is_about_every_version, is_open
from agents.checks.packages.popularity import is_popular
from schemas.components import split_key
from schemas.errors import TidewatchError
from schemas.intel import IntelFact, IntelKind, VersionRange

SHOWN_PROBLEMS: Final = 20
DIGESTS_LIMIT: Final = 1000
"""Digests of one fact; further ones still are facts under their own keys."""
_WORST: Final = {
    IntelKind.MALICIOUS: 5,
    IntelKind.BLOCKED: 4,
    IntelKind.COMPROMISED: 3,
    IntelKind.WARNINGLIST: 2,
    IntelKind.KNOWN_GOOD: 1,
    IntelKind.WITHDRAWN: 0,
}


class InvalidFeedError(TidewatchError):
    """A feed that can't be imported: unreadable, of another kind, or beyond the limits."""


class Feed(msgspec.Struct):
    """The facts of one feed by component key."""

    facts: dict[str, IntelFact] = {}
    withdrawn: dict[str, tuple[str, ...]] = {}
    """Keys whose records the source took back, with those records' names."""
    records: int = 0
    """Records read."""
    skipped: dict[str, int] = {}
    """Records that are fine but not of use, by reason."""
    malformed: int = 0
    problems: list[str] = []
    """The first malformed records, and why."""
    complete: bool = False
    """It is all its source has to say: what is absent from it is taken back."""

    def add(self, fact: IntelFact) -> None:
        """Take in a fact, merged with what is known of its component."""
        known = self.facts.get(fact.key)
        self.facts[fact.key] = fact if known is None else merge(known, fact)

    def skip(self, reason: str) -> None:
        """Count a record that is not of use."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def refuse(self, where: str, why: str) -> None:
        """Count a record that can't be read."""
        self.malformed += 1
        if len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(f"{where}: {why}"[:300])


def merge(left: IntelFact, right: IntelFact) -> IntelFact:
    """Return the two facts of one component as one: all versions, digests and sources.

    A fact about every version of a name keeps saying so, and one about some releases does not
    come to say so by the other's kind; the order of the two does not matter.
    """
    first, second = sorted((left, right), key=lambda fact: (-_WORST[fact.kind], fact.sources))
    every = is_about_every_version(first) or (
        second.kind in ADVERSE and is_about_every_version(second)
    )
    ranges = {
        (one.introduced, one.fixed or "", one.last_affected or ""): one
        for fact in (first, second)
        for one in fact.ranges
        if every or not is_open(one)
    }
    versions = {*first.versions, *second.versions}
    if every:
        ranges = {("0", "", ""): VersionRange()}
        if first.kind is IntelKind.COMPROMISED:
            # Beside a list, an open range of a good package would not be believed.
            versions = set()
    times: list[datetime] = [one for one in (left.modified, right.modified) if one is not None]
    return IntelFact(
        key=first.key,
        kind=first.kind,
        versions=tuple(sorted(versions)),
        ranges=tuple(ranges[key] for key in sorted(ranges)),
        digests=tuple(sorted({*first.digests, *second.digests}))[:DIGESTS_LIMIT],
        sources=tuple(sorted({*first.sources, *second.sources})),
        confidence=max(first.confidence, second.confidence),
        modified=max(times, default=None),
        popular=first.popular or second.popular,
        summary=first.summary or second.summary,
        details={**(second.details or {}), **(first.details or {})} or None,
    )


def with_popularity(fact: IntelFact) -> IntelFact:
    """Return the fact marked as about a popular package, where it is.

    Such a fact from a single source without a digest match is never acted on by itself: a
    poisoned feed would name good software.
    """
    prefix, name = split_key(fact.key)
    if prefix != "pypi" or fact.popular or not is_popular(name, top=5000):
        return fact
    return msgspec.structs.replace(fact, popular=True)


class Changes(msgspec.Struct, frozen=True):
    """What has to be published for the topic to say what a feed says."""

    facts: tuple[IntelFact, ...]
    tombstones: tuple[str, ...]
    unchanged: int


def changes(known: dict[str, IntelFact], feed: Feed, *, source: str) -> Changes:
    """Return what a feed changes in what is known.

    Args:
        known: The facts on the topic by key.
        feed: The feed.
        source: Prefix of its records' names in `sources` (`OSV:`): only facts that rest on this
            source alone are taken back when the feed no longer has them.
    """
    publish: list[IntelFact] = []
    tombstones: list[str] = []
    same = 0
    for key in sorted(feed.facts):
        fact, before = feed.facts[key], known.get(key)
        if before is not None and not rests_on(before, source):
            fact = merge(fact, before)
        if fact == before:
            same += 1
        else:
            publish.append(fact)
    gone: Iterable[str] = set(feed.withdrawn)
    if feed.complete:
        gone = {*gone, *(key for key, fact in known.items() if rests_on(fact, source))}
    for key in sorted(set(gone) - feed.facts.keys()):
        before = known.get(key)
        if before is None:
            continue
        if rests_on(before, source):
            tombstones.append(key)
            continue
        taken = set(feed.withdrawn.get(key, ()))
        left = tuple(name for name in before.sources if name not in taken)
        if not left:
            tombstones.append(key)
        elif left != before.sources:
            publish.append(msgspec.structs.replace(before, sources=left))
    return Changes(tuple(publish), tuple(tombstones), same)


def rests_on(fact: IntelFact, source: str) -> bool:
    """Tell whether a fact has no other source than the one of this prefix."""
    return bool(fact.sources) and all(name.startswith(source) for name in fact.sources)

"""The content of a feed: its facts, its withdrawals, and the records it could not use."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from agents.checks.packages.intel_match import ADVERSE, is_about_every_version, is_open
from agents.checks.packages.popularity import is_popular
from schemas.components import ComponentKind, split_key
from schemas.errors import TidewatchError
from schemas.intel import IntelFact, IntelKind, VersionRange

SHOWN_PROBLEMS: Final = 20
DIGESTS_LIMIT: Final = 1000
"""Most digests kept in one fact; each further digest remains a fact under its own key."""
_WORST: Final = {
    IntelKind.MALICIOUS: 5,
    IntelKind.BLOCKED: 4,
    IntelKind.COMPROMISED: 3,
    IntelKind.WARNINGLIST: 2,
    IntelKind.KNOWN_GOOD: 1,
    IntelKind.WITHDRAWN: 0,
}


class InvalidFeedError(TidewatchError):
    """A feed that can't be imported: unreadable, of an unknown format, or beyond the limits."""


class Feed(msgspec.Struct):
    """The facts of one feed by component key."""

    facts: dict[str, IntelFact] = {}
    withdrawn: dict[str, tuple[str, ...]] = {}
    """Keys whose records the source withdrew, with the names of those records."""
    records: int = 0
    """Records read."""
    skipped: dict[str, int] = {}
    """Valid records that hold no usable fact, counted by reason."""
    malformed: int = 0
    problems: list[str] = []
    """The first malformed records, each with its error."""
    complete: bool = False
    """True for a full snapshot: facts absent from it are withdrawn."""

    def add(self, fact: IntelFact) -> None:
        """Add a fact, merged with the existing fact of the same component."""
        known = self.facts.get(fact.key)
        self.facts[fact.key] = fact if known is None else merge(known, fact)

    def skip(self, reason: str) -> None:
        """Count a valid record that holds no usable fact."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def refuse(self, where: str, why: str) -> None:
        """Count a record that can't be read."""
        self.malformed += 1
        if len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(f"{where}: {why}"[:300])


def merge(left: IntelFact, right: IntelFact) -> IntelFact:
    """Merge two facts of one component: all versions, digests and sources.

    A fact about every version stays one; a fact about some releases does not become one through
    the kind of the other. The order of the arguments does not matter.
    """
    first, second = sorted((left, right), key=lambda fact: (-_WORST[fact.kind], fact.sources))
    every = is_about_every_version(first) or (
        second.kind in ADVERSE and is_about_every_version(second)
    )
    ranges = {
        (span.introduced, span.fixed or "", span.last_affected or ""): span
        for fact in (first, second)
        for span in fact.ranges
        if every or not is_open(span)
    }
    versions = {*first.versions, *second.versions}
    if every:
        ranges = {("0", "", ""): VersionRange()}
        if first.kind is IntelKind.COMPROMISED:
            # Matching ignores an open range of a compromised package that also lists versions.
            versions = set()
    times: list[datetime] = [time for time in (left.modified, right.modified) if time is not None]
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
    """Return the fact, marked `popular` if it names a popular package.

    A popular package needs a second source or a digest match before containment: a poisoned feed
    would name good software.
    """
    prefix, name = split_key(fact.key)
    if prefix != ComponentKind.PYPI or fact.popular or not is_popular(name, top=5000):
        return fact
    return msgspec.structs.replace(fact, popular=True)


class Changes(msgspec.Struct, frozen=True):
    """The records to publish so that the topic matches a feed."""

    facts: tuple[IntelFact, ...]
    tombstones: tuple[str, ...]
    unchanged: int


def changes(known: dict[str, IntelFact], feed: Feed, *, source: str) -> Changes:
    """Return the changes that a feed makes to the known facts.

    Args:
        known: The facts on the topic by key.
        feed: The feed.
        source: Prefix of its records' names in `sources` (`OSV:`). Only facts from this source
            alone are withdrawn when the feed no longer has them.
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
    """Return whether all sources of a fact have this prefix."""
    return bool(fact.sources) and all(name.startswith(source) for name in fact.sources)

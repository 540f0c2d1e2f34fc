"""Decides whether a fact of intelligence is about a given version or digest."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final

from packaging.version import Version

from agents.checks.packages.versions import CACHE_SIZE, parse_version
from schemas.intel import IntelFact, IntelKind, VersionRange

ADVERSE: Final = frozenset({IntelKind.MALICIOUS, IntelKind.COMPROMISED, IntelKind.BLOCKED})
"""Kinds of adverse facts."""
_WHOLE_NAME: Final = frozenset({IntelKind.MALICIOUS, IntelKind.BLOCKED, IntelKind.WARNINGLIST})
"""Kinds that cover every version if no version, range or digest is given."""


@lru_cache(CACHE_SIZE)
def _known_versions(versions: tuple[str, ...]) -> tuple[frozenset[str], frozenset[Version]]:
    parsed = frozenset(version for version in map(parse_version, versions) if version is not None)
    return frozenset(text.strip().lower() for text in versions), parsed


def is_open(bounds: VersionRange) -> bool:
    """Return whether a range holds every version."""
    return bounds.introduced == "0" and bounds.fixed is None and bounds.last_affected is None


def _in_range(version: Version, bounds: VersionRange) -> bool | None:
    if bounds.introduced != "0":
        low = parse_version(bounds.introduced)
        if low is None:
            return None
        if version < low:
            return False
    if bounds.fixed is not None:
        high = parse_version(bounds.fixed)
        return None if high is None else version < high
    if bounds.last_affected is not None:
        last = parse_version(bounds.last_affected)
        # A local build of the last bad release counts as that release.
        return None if last is None else version <= last or Version(version.public) == last
    return True


def is_about_every_version(fact: IntelFact) -> bool:
    """Return whether a fact condemns every release of a name.

    A malicious package is malicious in every version if its record names none, or an open range;
    a good package with bad releases is bad in those alone, even if a source added an open range
    to the versions it lists.
    """
    if not fact.versions and not fact.ranges:
        # Only packages are so widely shared that bad releases must be separated from good ones: a
        # domain, a vendor or a dataset that was broken into is not to be trusted at all.
        broken_into = fact.kind is IntelKind.COMPROMISED and not fact.key.startswith("pypi:")
        return not fact.digests and (
            broken_into or fact.kind in _WHOLE_NAME | {IntelKind.KNOWN_GOOD}
        )
    if not any(is_open(bounds) for bounds in fact.ranges):
        return False
    return fact.kind is not IntelKind.COMPROMISED or not fact.versions


def matches(fact: IntelFact, version: str | None, digests: Collection[str] = ()) -> bool | None:
    """Return whether `fact` applies to a version or digest of its component.

    Args:
        fact: A fact of the component that was seen (or of its digest's own key).
        version: The version seen, None if it is not known.
        digests: SHA-256 digests seen, in hex, with or without a `sha256:` prefix.

    Returns:
        True if it does, False if it does not, None if the arguments do not suffice to decide.

    Source: OSV schema 1.7, evaluation of `affected`; PEP 440 for equality and order.
    """
    if fact.kind is IntelKind.WITHDRAWN:
        return False
    if fact.key.startswith("sha256:"):
        return True
    if fact.digests and digests:
        known = {text.removeprefix("sha256:").lower() for text in fact.digests}
        if any(text.removeprefix("sha256:").lower() in known for text in digests):
            return True
    if is_about_every_version(fact):
        return True
    if not fact.versions and not fact.ranges:
        # Only digests are named: without one to compare, the answer is unknown.
        return False if fact.digests and digests else None
    if version is None:
        return None
    return _version_matches(fact, version)


def _version_matches(fact: IntelFact, version: str) -> bool | None:
    texts, known = _known_versions(fact.versions)
    if version.strip().lower() in texts:
        return True
    parsed = parse_version(version)
    if parsed is None:
        # Text that is not a version cannot be ordered, but it can be looked up in a list.
        return None if fact.ranges else False
    if parsed in known:
        return True
    if parsed.local is not None and parse_version(parsed.public) in known:
        # "==1.2" accepts 1.2+local (PEP 440): a rebuild of a bad release is still that release.
        return True
    unsure = False
    for bounds in fact.ranges:
        if fact.kind is IntelKind.COMPROMISED and fact.versions and is_open(bounds):
            continue
        inside = _in_range(parsed, bounds)
        if inside:
            return True
        unsure = unsure or inside is None
    return None if unsure else False

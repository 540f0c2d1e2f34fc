"""The table of well-known package names and their popularity."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

import msgspec

from agents.checks.packages.versions import canonical_name

WELL_KNOWN_RANK: Final = 1000
"""Rank of names that are well known but not ranked."""
INSTALLED_TARGETS: Final = 3000
"""The number of names, by downloads, that count as worth imitating, besides the curated ones."""
BRAND_RANK: Final = 150
"""Rank given to AI vendors' names, which are imitated whether or not they are packages."""


class NameTable(msgspec.Struct, frozen=True):
    """Names that are known, and the order of popularity of those worth imitating."""

    ranks: dict[str, int]
    """Canonical name to rank, 0 the most popular: the names that others imitate."""
    curated: frozenset[str]
    """Curated names, including the ranked ones."""
    known: frozenset[str]
    """Every name of a known legitimate package: the curated ones and the most installed."""
    brands: frozenset[str]
    """AI vendors and products whose names imitations borrow."""
    bait: frozenset[str]
    """Generic words that are added to a known name."""
    claims: frozenset[str]
    """Words that claim to be the vendor's own, or better than it."""
    affixes: frozenset[str]
    """Words in names of a project's parts: weaker than bait."""
    vendors: frozenset[str]
    """Vendors whose name is put in front of a project's."""
    families: tuple[str, ...]
    """Prefixes under which third parties publish extensions by custom."""
    generic: frozenset[str]
    """Both, and the empty string: the rest of a term that is a number."""
    alone: frozenset[str]
    """Well-known names to which others hardly add words of a release."""
    release: frozenset[str]
    """Words that name a release or form of a project, not what an extension does."""
    words: frozenset[str]
    """Ordinary words: a name that is one is not a typing error."""


def read_names(text: str) -> list[str]:
    """Return the canonical names in a text: separated by blanks, `#` starts a comment line."""
    return [
        canonical_name(name)
        for line in text.splitlines()
        if not line.startswith("#")
        for name in line.split()
    ]


@cache
def name_table() -> NameTable:
    """Return the table, read once."""
    folder = resources.files("agents.checks.packages").joinpath("names")

    def read(file: str) -> list[str]:
        return read_names(folder.joinpath(file).read_text(encoding="utf-8"))

    popular = list(dict.fromkeys(read("popular.txt")))
    brands = read("brands.txt")
    well_known = read("well_known.txt")
    ranks = dict.fromkeys(well_known, WELL_KNOWN_RANK)
    ranks.update((name, rank) for rank, name in enumerate(popular))
    for brand in brands:
        ranks[brand] = min(ranks.get(brand, BRAND_RANK), BRAND_RANK)
    curated = frozenset(ranks) | frozenset(read("known.txt"))
    installed = read("installed.txt")
    for name in installed[:INSTALLED_TARGETS]:
        ranks.setdefault(name, WELL_KNOWN_RANK)
    bait, claims = frozenset(read("bait.txt")), frozenset(read("claims.txt"))
    return NameTable(
        ranks=ranks,
        curated=curated,
        known=curated | frozenset(installed),
        brands=frozenset(brands),
        bait=bait,
        claims=claims,
        affixes=frozenset(read("affixes.txt")),
        vendors=frozenset(read("vendors.txt")),
        generic=bait | claims | {""},
        families=tuple(f"{name}-" for name in read("families.txt")),
        alone=frozenset(read("alone.txt")),
        release=frozenset(read("release.txt")) | {""},
        words=frozenset(read("words.txt")),
    )


def is_popular(name: str, *, top: int = 1000) -> bool:
    """Return whether a name (canonical) is among the `top` most popular."""
    return name_table().ranks.get(name, top) < top

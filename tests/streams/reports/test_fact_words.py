"""A fact reads as what it says: versions, ranges, and nothing of the language it is kept in."""

from __future__ import annotations

import pytest

from schemas.intel import IntelFact, IntelKind, VersionRange
from streams.reports.fact_words import fact_lines, versions_of


def fact(**more) -> IntelFact:
    return IntelFact(key="pypi:acme-features", kind=IntelKind.MALICIOUS, **more)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "all"),
        ({"versions": ("1.0", "1.1")}, "1.0, 1.1"),
        ({"ranges": (VersionRange(fixed="1.3"),)}, "before 1.3"),
        ({"ranges": (VersionRange(introduced="1.0", fixed="1.3"),)}, "from 1.0 before 1.3"),
        ({"ranges": (VersionRange(last_affected="2.0"),)}, "up to 2.0"),
        ({"ranges": (VersionRange(introduced="1.0"),)}, "from 1.0 on"),
        ({"ranges": (VersionRange(),)}, "all"),
        ({"versions": ("3.0",), "ranges": (VersionRange(fixed="1.3"),)}, "3.0, before 1.3"),
    ],
)
def test_versions_and_ranges_are_in_words(more, text):
    assert versions_of(fact(**more)) == text


def test_each_part_has_a_line():
    whole = fact(
        versions=("1.0",),
        sources=("OSV:MAL-1", "list"),
        popular=True,
        summary="steals keys",
        details={"campaign": "tide", "hosts": ["a.example", "b.example"]},
    )
    assert list(fact_lines(whole)) == [
        "key: pypi:acme-features",
        "kind: malicious",
        "versions: 1.0",
        "sources: OSV:MAL-1, list",
        "popular: yes",
        "summary: steals keys",
        "details: campaign: tide; hosts: a.example, b.example",
    ]
    assert "versions: all" in list(fact_lines(fact()))

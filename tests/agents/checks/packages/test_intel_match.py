"""Facts match by PEP 440 and OSV ranges, and only their own subjects."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.checks.packages.intel_match import matches
from agents.checks.packages.versions import VERSION_LIMIT, canonical_version, crowds_out
from agents.intelligence.osv import read_archive
from schemas.intel import IntelFact, IntelKind, VersionRange
from tests.each import each
from tests.samples import osv_archive

DIGEST = "a" * 64
ALL = VersionRange()


def fact(kind=IntelKind.COMPROMISED, **fields):
    return IntelFact(key=fields.pop("key", "pypi:x"), kind=kind, **fields)


@each(
    ("given_fact", "version", "digests", "expected"),
    [
        (fact(versions=("1.82.8",)), "1.82.8.0", (), True),
        (fact(versions=("1.82.8",)), "1.82.8+cpu", (), True),
        (fact(versions=("1.82.8",)), "1.82.8.post1", (), False),
        (fact(versions=("1.82.8",)), "1.82.8rc1", (), False),
        (fact(versions=("1.82.8",)), "1.82.80", (), False),
        (fact(versions=("1.82.8",)), None, (), None),
        (fact(versions=("v1.0",)), "1.0", (), True),
        (fact(versions=("1.0",), ranges=(ALL,)), "2.0", (), False),
        (fact(IntelKind.MALICIOUS, versions=("1.0",), ranges=(ALL,)), "2.0", (), True),
        (fact(IntelKind.MALICIOUS, ranges=(ALL,)), None, (), True),
        (fact(IntelKind.MALICIOUS), "3", (), True),
        (fact(IntelKind.MALICIOUS, versions=("1.0",)), "2.0", (), False),
        (fact(ranges=(VersionRange(introduced="1", fixed="2"),)), "1.9", (), True),
        (fact(ranges=(VersionRange(introduced="1", fixed="2"),)), "2", (), False),
        (fact(ranges=(VersionRange(introduced="1", last_affected="2"),)), "2.0", (), True),
        (fact(ranges=(VersionRange(introduced="1", fixed="2"),)), "odd", (), None),
        (fact(digests=(DIGEST,)), "1", (DIGEST,), True),
        (fact(digests=(DIGEST,)), "1", ("b" * 64,), False),
        (fact(digests=(f"sha256:{DIGEST}",)), "1", (DIGEST.upper(),), True),
        (fact(digests=(DIGEST,)), "1", (), None),
        (fact(IntelKind.WITHDRAWN, versions=("1",)), "1", (), False),
        (fact(key=f"sha256:{DIGEST}"), None, (DIGEST,), True),
        (fact(), "1", (), None),
        (fact(key="domain:labels.example"), None, (), True),
        (fact(key="publisher:vendor/labels"), None, (), True),
        (fact(key="dataset:vendor/labels"), "v7", (), True),
        (fact(key="dataset:vendor/labels", versions=("v6",)), "v7", (), False),
        (fact(key="dataset:vendor/labels", digests=(DIGEST,)), "v7", ("b" * 64,), False),
    ],
)
def test_matches(given_fact, version, digests, expected):
    assert matches(given_fact, version, digests) is expected


def test_litellm_is_bad_in_two_releases_only():
    feed = read_archive(osv_archive())
    litellm = feed.facts["pypi:litellm"]
    versions = ("1.82.7", "1.82.8", "1.82.6", "1.82.9")
    assert [matches(litellm, version) for version in versions] == [True, True, False, False]


def test_a_range_of_compromised_releases_ends_with_its_last():
    widgets = read_archive(osv_archive()).facts["pypi:widget-suite"]
    versions = ("1.9", "2.0", "2.3.1", "2.3.2")
    assert [matches(widgets, version) for version in versions] == [False, True, True, False]


@given(st.text(max_size=VERSION_LIMIT))
def test_any_text_has_a_canonical_form_which_is_its_own(text):
    once = canonical_version(text)
    assert canonical_version(once) == once


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_trailing_zeros_do_not_matter(release):
    text = ".".join(map(str, release))
    assert canonical_version(text) == canonical_version(f"{text}.0")


@each("version", ["99.0.0", "9999.1", "100.5", "999999.0"])
def test_versions_made_to_win_are_reported(version):
    assert crowds_out(version)


@each("version", ["2026.11", "20261120", "26.11", "1.99.99", "x", "98.0"])
def test_ordinary_versions_are_not(version):
    assert not crowds_out(version)

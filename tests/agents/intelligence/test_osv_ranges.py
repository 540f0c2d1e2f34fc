"""OSV's `affected`, read and matched as its schema and PEP 440 have it."""

from __future__ import annotations

import json

from agents.checks.packages.intel_match import matches
from agents.intelligence.feed import Feed
from agents.intelligence.osv import read_record
from schemas.components import component_key
from tests.each import each

GOOD_WITH_BAD = {"kind": "compromised"}


def events(*pairs):
    return [dict([pair.split("=", 1)]) for pair in pairs]


def affected(name="x", *, versions=(), **fields):
    return {
        "package": {"ecosystem": "PyPI", "name": name},
        "versions": list(versions),
        **fields,
    }


def ranged(*pairs, kind="ECOSYSTEM", **fields):
    return affected(ranges=[{"type": kind, "events": events(*pairs)}], **fields)


def read(*parts, feed=None, **fields):
    feed = feed or Feed()
    document = {"id": "MAL-2026-1", "affected": list(parts), **fields}
    read_record(json.dumps(document).encode(), feed)
    return feed


def verdict(feed, version, name="x"):
    fact = feed.facts.get(component_key("pypi", name))
    return False if fact is None else matches(fact, version)


@each(
    ("part", "bad", "good"),
    [
        (ranged("introduced=0"), "0.0.1 1.0 99 1!0 1.0.dev0 1.0+x", ""),
        (ranged("introduced=0", "fixed=1.5"), "0 1.4.99 1.5rc1 1.5.dev0", "1.5 1.5.0 1.5.post1"),
        (ranged("introduced=0", "last_affected=1.5"), "1.5 1.5.0 1.5rc1", "1.5.post1 1.5.1 2"),
        (ranged("introduced=0", "last_affected=1.5"), "1.5+cpu 1.4+cpu", "1.5.1+cpu"),
        (ranged("introduced=1.0", "fixed=2"), "1 1.0 1.9 2rc1", "0.9 1.0rc1 1.0.dev1 2 2.0+x"),
        (ranged("introduced=1", "fixed=2", "introduced=3", "fixed=4"), "1 3.1", "2 2.5 4 0"),
        (ranged("fixed=4", "introduced=3", "fixed=2", "introduced=1"), "1 3.1", "2 2.5 4 0"),
        (ranged("introduced=1", "fixed=2", "introduced=2", "fixed=3"), "1 2 2.9", "3"),
        (ranged("introduced=1", "fixed=1", "introduced=5", "fixed=6"), "5", "0.9 1.1 4 6"),
        (ranged("introduced=1", "last_affected=1"), "1 1.0", "1.0.1 0.9"),
        (ranged("introduced=1", "limit=2"), "1 1.9", "2 3 0"),
        (ranged("introduced=0", "fixed=3", "limit=2"), "1.9", "2 2.5 3"),
        (ranged("introduced=0", "fixed=1", "limit=2"), "0.9", "1 1.5 2"),
        (ranged("introduced=0", "limit=*"), "1 99", ""),
        (ranged("introduced=0", "limit=1", "limit=2"), "1.5", "2"),
        (ranged("introduced=1!1", "fixed=1!2"), "1!1.5", "1.5 2 1!2"),
        (ranged("introduced=1.0", "fixed=2.0"), "1.5", "1!1.5"),
        (ranged("introduced=1.0.0-alpha.1", "fixed=1.0.0"), "1.0.0a1 1.0rc3", "1.0 1.0.dev1"),
        (ranged("introduced=v1.0", "fixed=V2.0"), "1.5", "2.0 0.9"),
        (ranged("introduced=0", kind="SEMVER"), "1.2.3", ""),
        (ranged("introduced=1", "fixed=2", versions=["0.5"]), "0.5 1.5", "0.6 2"),
        (affected(versions=["1.0"]), "1.0 1 1.0.0 1.0+local v1.0", "1.0.1 1.0rc1 1.0.post1 1!1"),
        (affected(versions=["1.0+evil"]), "1.0+evil 1.0+EVIL", "1.0 1.0+good"),
        (affected(versions=["1.0-1"]), "1.0.post1 1.0-1", "1.0"),
        (affected(versions=["2026.11.3"]), "2026.11.3 2026.11.03", "2026.11.30"),
        (affected(versions=["1.0a1"]), "1.0.alpha1 1.0-a.1 1.0A1", "1.0a2 1.0"),
        (affected(versions=["1!2.0"]), "1!2", "2.0"),
        (affected(versions=["not-a-version"]), "not-a-version NOT-A-VERSION", "1.0"),
    ],
)
def test_versions_of_a_record(part, bad, good):
    feed = read(part)
    assert {text: verdict(feed, text) for text in bad.split()} == dict.fromkeys(bad.split(), True)
    assert {text: verdict(feed, text) for text in good.split()} == dict.fromkeys(
        good.split(), False
    )


def test_events_of_one_object_are_two_events():
    part = affected(ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "1", "fixed": "2"}]}])
    feed = read(part)
    assert [verdict(feed, text) for text in ("0.9", "1.5", "2")] == [False, True, False]


def test_commits_say_nothing_of_releases():
    part = affected(
        versions=["1.0"],
        ranges=[{"type": "GIT", "repo": "https://git.example/x", "events": events("introduced=0")}],
    )
    feed = read(part)
    assert [verdict(feed, text) for text in ("1.0", "2.0")] == [True, False]


def test_bounds_that_are_no_versions_leave_the_matter_open():
    feed = read(ranged("introduced=first", "fixed=second"))
    assert verdict(feed, "1.0") is None


def test_a_version_that_is_not_known_is_bad_only_where_all_are():
    assert verdict(read(ranged("introduced=0")), None) is True
    assert verdict(read(affected(versions=["1.0"])), None) is None


def test_a_package_that_is_malicious_is_so_in_versions_it_does_not_list():
    feed = read(ranged("introduced=0", versions=["1.0"]))
    assert verdict(feed, "2.0") is True


def test_a_good_package_with_bad_releases_is_bad_in_those_alone():
    feed = read(ranged("introduced=0", versions=["1.0"]), database_specific=GOOD_WITH_BAD)
    assert [verdict(feed, text) for text in ("1.0", "2.0")] == [True, False]


@each("name", ["Foo.Bar", "foo_bar", "FOO--BAR", "foo-bar"])
def test_names_are_compared_in_canonical_form(name):
    assert verdict(read(affected("foo-_.bar", versions=["1"])), "1", name) is True


def test_packages_of_other_ecosystems_are_not_meant():
    part = affected(versions=["1"])
    part["package"]["ecosystem"] = "npm"
    assert verdict(read(part), "1") is False


def test_every_package_of_a_record_is_meant():
    feed = read(affected("x", versions=["1"]), affected("y", versions=["2"]))
    assert [verdict(feed, "1", "x"), verdict(feed, "1", "y"), verdict(feed, "2", "y")] == [
        True,
        False,
        True,
    ]


def test_a_withdrawn_record_is_not_matched_and_its_neighbour_still_is():
    feed = read(ranged("introduced=0"), withdrawn="2026-01-01T00:00:00Z")
    assert verdict(feed, "1.0") is False
    feed = read(affected(versions=["2.0"]), feed=feed, id="MAL-2026-2")
    assert [verdict(feed, text) for text in ("1.0", "2.0")] == [False, True]


@each("order", [1, -1])
@each(
    ("records", "bad", "good"),
    [
        # One record condemns the name, the other lists releases.
        ([affected(), affected(versions=["1.0"])], "1.0 2.0", ""),
        ([ranged("introduced=0"), affected(versions=["1.0"])], "1.0 2.0", ""),
        ([affected(versions=["1.0"]), affected(versions=["3.0"])], "1.0 3.0", "2.0"),
        ([ranged("introduced=1", "fixed=2"), ranged("introduced=4")], "1.5 4 5", "2 3"),
        ([affected(versions=["1.0"]), ranged("introduced=4", "fixed=5")], "1.0 4.5", "2 5"),
    ],
)
def test_both_records_of_a_package_apply(records, bad, good, order):
    feed = Feed()
    for number, part in enumerate(records[::order]):
        read(part, feed=feed, id=f"MAL-2026-{number}")
    assert [verdict(feed, text) for text in bad.split()] == [True] * len(bad.split())
    assert [verdict(feed, text) for text in good.split()] == [False] * len(good.split())


def test_an_open_range_beside_listed_releases_does_not_grow_by_another_record():
    feed = read(ranged("introduced=0", versions=["1.0"]), database_specific=GOOD_WITH_BAD)
    feed = read(ranged("introduced=4", "fixed=5"), feed=feed, id="MAL-2026-2")
    assert [verdict(feed, text) for text in ("1.0", "4.5", "2.0")] == [True, True, False]


def test_vulnerabilities_are_not_matched_as_malicious():
    for name in ("GHSA-xxxx-yyyy-zzzz", "PYSEC-2026-1", "CVE-2026-1"):
        feed = read(affected(versions=["1.0"]), id=name, aliases=["MAL-2026-9"])
        assert verdict(feed, "1.0") is False

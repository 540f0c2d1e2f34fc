"""Feeds become facts; what is malformed is said; only what changed is published."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.packages.intel_match import is_about_every_version, matches
from agents.intelligence.feed import Feed, InvalidFeedError, changes, merge
from agents.intelligence.lists import read_list
from agents.intelligence.osv import read_archive, read_record, read_single
from agents.intelligence.snapshot import (
    SnapshotManifest,
    check_snapshot,
    require_count,
    signed_bytes,
)
from agents.intelligence.stix import read_bundle
from schemas.intel import IntelFact, IntelKind, VersionRange
from tests.samples import osv_archive, sample

DIGEST = "a" * 64


def record(name="evil", **fields):
    document = {
        "id": "MAL-2026-1",
        "modified": "2026-08-01T00:00:00Z",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
            }
        ],
        **fields,
    }
    return json.dumps(document).encode()


def archive(*records, name="r{}.json"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for number, record in enumerate(records):
            file.writestr(name.format(number), record)
    return buffer.getvalue()


def _changed(raw, at, new):
    at %= len(raw)
    return raw[:at] + new + raw[at + len(new) :]


def test_the_whole_archive_is_read_and_nothing_is_published_twice():
    feed = read_archive(osv_archive())
    assert feed.records == 10
    assert feed.malformed == 0
    assert sum(feed.skipped.values()) == 2
    assert {key: fact.kind for key, fact in feed.facts.items() if key.startswith("pypi:")} == {
        "pypi:claims-toolz": IntelKind.MALICIOUS,
        "pypi:torch-gpu-fast": IntelKind.MALICIOUS,
        "pypi:widget-suite": IntelKind.COMPROMISED,
        "pypi:litellm": IntelKind.COMPROMISED,
        "pypi:ultralytics": IntelKind.COMPROMISED,
        "pypi:zz-bulk-upload-771": IntelKind.BLOCKED,
    }
    assert feed.facts["pypi:claims-toolz"].versions == ("0.1.0", "0.1.1", "0.1.2")
    assert "pypi:fastapi" not in feed.facts
    assert "pypi:fastapi" in feed.withdrawn
    first = changes({}, feed, source="OSV:")
    assert len(first.facts) == len(feed.facts)
    again = changes(feed.facts, feed, source="OSV:")
    assert (again.facts, again.tombstones) == ((), ())


def test_good_packages_with_bad_releases_are_marked_popular():
    feed = read_archive(osv_archive())
    assert feed.facts["pypi:litellm"].popular
    assert feed.facts["pypi:litellm"].kind is IntelKind.COMPROMISED


def test_withdrawn_record_becomes_a_tombstone():
    before = read_single(record()).facts
    feed = read_single(record(withdrawn="2026-09-01T00:00:00Z"))
    assert changes(before, feed, source="OSV:").tombstones == ("pypi:evil",)


def test_record_missing_from_a_whole_archive_is_taken_back():
    before = read_single(record("gone")).facts
    feed = read_archive(archive(record("evil")))
    assert changes(before, feed, source="OSV:").tombstones == ("pypi:gone",)


def test_another_sources_fact_survives_a_withdrawal():
    own = read_list("evil==1.0", IntelKind.BLOCKED, source="list:own").facts["pypi:evil"]
    known = {"pypi:evil": merge(own, read_single(record()).facts["pypi:evil"])}
    feed = read_single(record(withdrawn="2026-09-01T00:00:00Z"))
    change = changes(known, feed, source="OSV:")
    assert change.tombstones == ()
    assert [fact.sources for fact in change.facts] == [("list:own",)]


def test_digests_of_indicators_become_facts_of_their_own():
    affected = [
        {
            "package": {"ecosystem": "PyPI", "name": "evil"},
            "versions": ["1.0"],
            "database_specific": {
                "indicators": {"package_integrity": [{"file": "x.whl", "sha256": DIGEST}]}
            },
        }
    ]
    origins = {"malicious-packages-origins": [{"sha256": "b" * 64}]}
    feed = read_single(record(affected=affected, database_specific=origins))
    assert set(feed.facts) == {"pypi:evil", f"sha256:{DIGEST}"}
    assert feed.facts["pypi:evil"].kind is IntelKind.COMPROMISED


def test_vulnerability_advisories_and_other_ecosystems_are_passed_over():
    feed = read_archive(
        archive(
            record(),
            record(id="PYSEC-2026-1"),
            record(affected=[{"package": {"ecosystem": "npm", "name": "x"}}]),
            b"{not json",
        )
    )
    assert set(feed.facts) == {"pypi:evil"}
    assert sum(feed.skipped.values()) == 2
    assert feed.malformed == 1


@pytest.mark.parametrize(
    "written",
    [
        lambda: b"",
        lambda: b"PK\x03\x04 cut",
        archive,
        lambda: archive(b"{}"),
        lambda: archive(record(affected=[{"package": {"ecosystem": "npm", "name": "x"}}])),
        pytest.param(
            lambda: archive(*[b'{"a":"' + b"0" * 8_000_000 + b'"}'] * 40), marks=pytest.mark.slow
        ),
        lambda: _changed(archive(record("evil")), 50, b"\xff\xff\xff"),
        lambda: _changed(archive(record("evil")), -6, b"\xff\xff\xff\x7f"),
    ],
    ids=[
        *("empty", "cut", "no record", "malformed", "other ecosystem", "bomb"),
        *("damaged record", "directory elsewhere"),
    ],
)
def test_unusable_archives_are_refused_with_a_reason(written):
    with pytest.raises(InvalidFeedError) as error:
        read_archive(written(), "all.zip")
    assert "all.zip" in str(error.value)


def test_stix_indicators_and_their_revocation():
    raw = sample("intel", "stix-bundle.json")
    feed = read_bundle(raw)
    digests = [key for key in feed.facts if key.startswith("sha256:")]
    assert len(digests) == 1
    document = json.loads(raw)
    for entry in document["objects"]:
        entry["revoked"] = True
    taken = read_bundle(json.dumps(document).encode())
    assert set(changes(feed.facts, taken, source="STIX:").tombstones) == set(feed.facts)


def test_blocklist_of_models_hosts_digests_and_releases():
    text = f"# header\ncompromised-org/malicious-model\nevil==1.0\n{DIGEST}\nevil.example\n!!\n"
    feed = read_list(text, IntelKind.BLOCKED, source="list:x")
    assert set(feed.facts) == {
        "model:huggingface/compromised-org/malicious-model",
        "pypi:evil",
        f"sha256:{DIGEST}",
        "domain:evil.example",
    }
    assert feed.malformed == 1


def test_empty_list_is_refused():
    with pytest.raises(InvalidFeedError):
        read_list("# nothing\n", IntelKind.BLOCKED, source="list:x")


def test_snapshot_is_accepted_only_as_signed():
    raw = archive(record())
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    unsigned = SnapshotManifest(
        source="osv",
        count=1,
        sha256=hashlib.sha256(raw).hexdigest(),
        created="2026",
        key_id="k",
    )
    signature = base64.b64encode(key.sign(signed_bytes(unsigned))).decode()
    manifest = msgspec.structs.replace(unsigned, signature=signature)
    document = msgspec.json.encode(manifest)
    assert check_snapshot(raw, document, public, "f") == manifest
    require_count(read_archive(raw), manifest, "f")
    with pytest.raises(InvalidFeedError):
        check_snapshot(raw + b"x", document, public, "f")
    forged = msgspec.json.encode(msgspec.structs.replace(manifest, count=2))
    with pytest.raises(InvalidFeedError):
        check_snapshot(raw, forged, public, "f")
    with pytest.raises(InvalidFeedError):
        require_count(Feed(records=2), manifest, "f")


@given(st.binary(max_size=400))
def test_any_bytes_are_a_record_or_a_problem(raw):
    feed = Feed()
    read_record(raw, feed)
    assert feed.records == 1


@given(st.text(max_size=400))
def test_any_text_is_a_list_or_refused(text):
    try:
        feed = read_list(text, IntelKind.WARNINGLIST, source="list:x")
    except InvalidFeedError:
        return
    assert feed.facts


FACTS = st.builds(
    IntelFact,
    key=st.just("pypi:x"),
    kind=st.sampled_from([IntelKind.MALICIOUS, IntelKind.COMPROMISED, IntelKind.BLOCKED]),
    versions=st.lists(st.sampled_from("123"), max_size=2).map(tuple),
    sources=st.sampled_from([("a",), ("b",)]),
)


@given(FACTS, FACTS)
def test_merging_keeps_every_version_and_source(left, right):
    both = merge(left, right)
    assert set(both.versions) == {*left.versions, *right.versions}
    assert set(both.sources) == {*left.sources, *right.sources}
    assert both.kind is merge(right, left).kind


def test_what_condemns_a_compromised_name_as_a_whole_survives_a_record_that_lists_releases():
    whole = IntelFact(key="pypi:x", kind=IntelKind.COMPROMISED, ranges=(VersionRange(),))
    some = IntelFact(key="pypi:x", kind=IntelKind.COMPROMISED, versions=("1.0",))
    assert is_about_every_version(whole)
    for both in (merge(whole, some), merge(some, whole)):
        assert is_about_every_version(both)
        assert matches(both, "2.0")

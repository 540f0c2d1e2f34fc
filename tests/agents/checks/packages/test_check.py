# ruff: noqa: E501 -- tables of cases read best a line each
"""What the checks of an install find, and what they leave alone."""

from __future__ import annotations

import pytest

from agents.checks.packages.check import check_packages
from schemas.canonical import stable_id
from schemas.intel import IntelFact, IntelKind
from schemas.severity import Status
from streams.adapters import adapt
from tests.agents.checks.packages.installs import (
    ACME,
    DIGEST,
    INSIDE,
    OTHER,
    PUBLIC,
    TENANT,
    above_low,
    checked,
    install,
    knowing,
    rules,
)
from tests.each import each
from tests.samples import sample

LOCKED = {"numpy==2.4.6": [f"sha256:{DIGEST}"]}
COMPROMISED = IntelFact(
    key="pypi:litellm",
    kind=IntelKind.COMPROMISED,
    versions=("1.82.7", "1.82.8"),
    sources=("OSV:x",),
)


def status(outcome, name):
    return {check.name: check.status for check in outcome.checks}.get(name)


@each(
    ("title", "data", "expected"),
    [
        ("digest in the lock", {"packages": [{"name": "numpy", "version": "2.4.6", "hashes": {"sha256": DIGEST}}], "lock": LOCKED}, set()),
        ("digest not in the lock", {"packages": [{"name": "numpy", "version": "2.4.6", "hashes": {"sha256": OTHER}}], "lock": LOCKED}, {"TW-PKG-HASH-MISMATCH"}),
        ("equal version, other spelling", {"packages": [{"name": "NumPy", "version": "2.4.6.0", "hashes": {"sha256": DIGEST.upper()}}], "lock": LOCKED}, set()),
        ("another version than locked", {"packages": [{"name": "numpy", "version": "2.4.7", "hashes": {"sha256": OTHER}}], "lock": LOCKED}, {"TW-PKG-NOT-LOCKED"}),
        ("digest that its requirement does not list", {"packages": [{"name": "numpy", "version": "2.4.6", "hashes": {"sha256": OTHER}}], "requirements": [f"numpy==2.4.6 --hash=sha256:{DIGEST}"]}, {"TW-PKG-HASH-MISMATCH"}),
        ("no SHA-256 at all", {"packages": [{"name": "numpy", "version": "2.4.6", "hashes": {"sha256": "zz"}}]}, {"TW-PKG-HASH-MISMATCH"}),
        ("one file name, two digests", {"packages": [{"name": "numpy", "version": "2.4.6", "filename": "n.whl", "hashes": {"sha256": DIGEST}}, {"name": "numpy", "version": "2.4.6", "filename": "n.whl", "hashes": {"sha256": OTHER}}]}, {"TW-PKG-HASH-MISMATCH"}),
        ("yanked", {"packages": [{"name": "numpy", "version": "2.4.6", "yanked": True}]}, {"TW-PKG-YANKED"}),
        ("direct URL", {"packages": [{"name": "numpy", "version": "2.4.6", "direct": True, "url": "https://files.example/numpy.whl"}]}, {"TW-PKG-DIRECT-URL"}),
        ("branch", {"packages": [{"name": "numpy", "version": "2.4.6", "direct": True, "vcs": {"url": "https://git.example/n.git", "commit_id": "0" * 40, "requested_revision": "main"}}]}, {"TW-PKG-VCS-UNPINNED"}),
        ("no commit", {"packages": [{"name": "numpy", "version": "2.4.6", "direct": True, "vcs": {"url": "https://git.example/n.git"}}]}, {"TW-PKG-VCS-UNPINNED"}),
        ("commit", {"packages": [{"name": "numpy", "version": "2.4.6", "direct": True, "vcs": {"url": "https://git.example/n.git", "commit_id": "0" * 40, "requested_revision": "0" * 40}}]}, set()),
        ("http file", {"packages": [{"name": "numpy", "version": "2.4.6", "url": "http://files.example/numpy.whl"}]}, {"TW-PKG-HTTP"}),
        ("http index", {"index_url": "http://index.example/simple", "packages": [{"name": "numpy", "version": "2.4.6"}]}, {"TW-PKG-HTTP"}),
        ("range", {"requirements": [f"numpy>=2 --hash=sha256:{DIGEST}"]}, {"TW-PKG-UNPINNED"}),
        ("pinned, no hash", {"requirements": ["numpy==2.4.6"]}, {"TW-PKG-NO-HASH"}),
    ],
)  # fmt: skip
def test_hashes_pins_and_references(title, data, expected):
    assert rules(checked(data)) == expected, title


def package(**fields):
    return {"packages": [{"name": "acme-features", "version": "1.4.0", **fields}]}


@each(
    ("title", "data"),
    [
        ("public index", package(index_url=PUBLIC)),
        ("prefix in front of an allowed host", package(index_url="https://packages.acme.example.evil.example/simple")),
        ("allowed host as userinfo", package(index_url="https://packages.acme.example@evil.example/simple")),
        ("allowed host in the path", package(index_url="https://evil.example/packages.acme.example/simple")),
        ("without TLS", package(index_url="http://packages.acme.example/simple")),
        ("without TLS", package(index_url="ftp://packages.acme.example/simple")),
        ("other port", package(index_url="https://packages.acme.example:8443/simple")),
        ("other path on the host", package(index_url="https://packages.acme.example/public/simple")),
        ("climbing path", package(index_url="https://packages.acme.example/simple/../public")),
        ("backslash", package(index_url="https://packages.acme.example\\@evil.example/simple")),
        ("look-alike letters", package(index_url="https://p\u0430ckages.acme.example/simple")),
        ("file of the public index", package(url="https://files.index.example/a/acme_features-1.4.0.whl")),
        ("only the public index was asked", {"index_url": PUBLIC, **package()}),
        ("other spelling of the name", {"packages": [{"name": "Acme_Features", "version": "1.4.0", "index_url": PUBLIC}]}),
        ("a name without the prefix", {"packages": [{"name": "featurestore", "version": "1.4.0", "index_url": PUBLIC}]}),
        ("file of the public index, both asked", {"index_url": INSIDE, "extra_index_urls": [PUBLIC], **package(url="https://files.index.example/a/acme_features-1.4.0.whl")}),
        ("inflated version", package(version="99.0.1", index_url=INSIDE)),
        ("the internal index merges the public one", {"index_url": PUBLIC, **package(index_url=INSIDE, url="https://files.index.example/a/acme_features-1.4.0.whl")}),
        ("the internal index sends to a host that wears its name", package(index_url=INSIDE, url="https://packages.acme.example.evil.example/acme_features-1.4.0.whl")),
        ("the internal index sends to a host behind its name", package(index_url=INSIDE, url="https://packages.acme.example@evil.example/acme_features-1.4.0.whl")),
        ("the internal index sends to letters that look alike", package(index_url=INSIDE, url="https://packages.\u0430cme.example/acme_features-1.4.0.whl")),
        ("the internal index sends where readers differ", package(index_url=INSIDE, url="https://packages.acme.example\\@evil.example/acme_features-1.4.0.whl")),
        ("a mirror serves the internal name", package(index_url="https://mirror.acme.example/simple")),
        ("transitive", {"packages": [{"name": "trainer", "version": "1", "index_url": PUBLIC, "requires_dist": ["acme-features"]}, {"name": "acme-features", "version": "9999.0", "index_url": PUBLIC}]}),
    ],
)  # fmt: skip
def test_dependency_confusion_is_found(title, data):
    found = rules(checked(data, ACME))
    assert found & {"TW-PKG-CONFUSION", "TW-PKG-CONFUSION-VERSION"}, title


def test_ordinary_internal_installs_raise_no_alarm():
    versions = ("0.1.0", "1.4.0", "2026.11.1", "20261120", "26.11", "3.0.0rc1", "1.0+acme.5")
    origins = (
        {"index_url": INSIDE},
        {"index_url": INSIDE + "/"},
        {"index_url": "https://PACKAGES.acme.example./simple"},
        {"index_url": "https://user:secret@packages.acme.example/simple"},
        {"url": "https://packages.acme.example/files/acme_x-1.0.whl"},
        {"url": "file:///wheels/acme_x-1.0.whl"},
        {"url": "https://cdn.acme.example/files/acme_x-1.0.whl"},
        {"index_url": INSIDE, "url": "https://packages.acme.example/files/acme_x-1.0.whl"},
        {"index_url": INSIDE, "url": "https://acme-wheels.s3.store.example/acme_x-1.0.whl?sig=1"},
        {"index_url": INSIDE, "url": "https://cdn.acme.example/files/acme_x-1.0.whl"},
        {"index_url": INSIDE, "url": "https://ci:token@packages.acme.example/files/acme_x-1.0.whl"},
        {"index_url": INSIDE, "url": "https://packages.acme.example:443/acme_x-1.0.whl"},
    )
    names = ("acme-features", "Acme.Train", "acme_serving", "featurestore", "acme-x", "acme-torch")
    wheres = ({"index_url": INSIDE}, {"index_url": INSIDE, "extra_index_urls": [PUBLIC]})
    count = 0
    for name in names:
        for version in versions:
            for origin in origins:
                for where in wheres:
                    data = {**where, "packages": [{"name": name, "version": version, **origin}]}
                    # A credential in a URL is reported wherever the package is from.
                    secret = {"TW-PKG-CREDENTIAL"} if "ecret@" in str(origin) else set()
                    assert rules(checked(data, ACME)) == secret, data
                    count += 1
    assert count > 300


def test_secrets_of_an_index_are_not_shown():
    data = package(index_url="https://user:hunter2@evil.example/simple?token=hunter2")
    outcome = checked(data, ACME)
    assert outcome.detections
    assert "hunter2" not in repr(outcome)


def test_compromised_release_fails_the_check_and_yields_no_detection():
    bad = checked({"packages": [{"name": "LiteLLM", "version": "1.82.8.0"}]}, facts=(COMPROMISED,))
    good = checked({"packages": [{"name": "litellm", "version": "1.82.9"}]}, facts=(COMPROMISED,))
    unsure = checked({"packages": [{"name": "litellm"}]}, facts=(COMPROMISED,))
    assert status(bad, "known_compromised") is Status.FAIL
    assert status(good, "known_compromised") is Status.PASS
    assert status(unsure, "known_compromised") is Status.WARN
    assert rules(bad) == set()


def test_bad_digest_under_any_name_fails_the_check():
    fact = IntelFact(key=f"sha256:{DIGEST}", kind=IntelKind.MALICIOUS)
    data = {"packages": [{"name": "numpy", "version": "1", "hashes": {"sha256": DIGEST}}]}
    assert status(checked(data, facts=(fact,)), "known_compromised") is Status.FAIL


def test_warninglist_silences_a_name():
    fact = IntelFact(key="pypi:reqeusts", kind=IntelKind.WARNINGLIST)
    data = {"packages": [{"name": "reqeusts", "version": "1"}]}
    assert rules(checked(data)) == {"TW-PKG-TYPOSQUAT"}
    assert rules(checked(data, facts=(fact,))) == set()


def test_finding_on_a_transitive_package_shows_its_path_and_roots_once():
    data = {
        "packages": [
            {"name": "vllm", "version": "1", "requested": True, "requires_dist": ["torch>=2"]},
            {"name": "torch", "version": "2", "requires_dist": ["reqeusts; os_name=='posix'"]},
            {"name": "trl", "version": "1", "requested": True, "requires_dist": ["torch"]},
            {"name": "reqeusts", "version": "1"},
        ]
    }
    (found,) = checked(data).detections
    assert found.evidence["path"].endswith("torch → reqeusts")
    assert found.evidence["roots"] == ["trl", "vllm"]


def test_sightings_are_under_name_and_digest_with_ids_of_the_day():
    event = install({"packages": [{"name": "Numpy", "version": "2", "hashes": {"sha256": DIGEST}}]})
    outcome = check_packages(event, knowing())
    by_key = {sighting.component: sighting for sighting in outcome.sightings}
    assert set(by_key) == {"pypi:numpy", f"sha256:{DIGEST}"}
    expected = stable_id("obs", TENANT, "2026-11-20", "pypi:numpy", "2", DIGEST, "h1")
    assert by_key["pypi:numpy"].id == expected
    again = check_packages(
        install(
            {"packages": [{"name": "Numpy", "version": "2", "hashes": {"sha256": DIGEST}}]}, "e-2"
        ),
        knowing(),
    )
    assert [sighting.id for sighting in again.sightings] == [
        sighting.id for sighting in outcome.sightings
    ]


def test_internal_name_is_kept_apart_until_it_comes_from_outside():
    inside = checked(package(index_url=INSIDE), ACME)
    outside = checked(package(index_url=PUBLIC), ACME)
    assert inside.sightings[0].component == f"pypi:@{TENANT}/acme-features"
    assert outside.sightings[0].component == "pypi:acme-features"


def test_malformed_attestation_is_a_finding_and_never_a_pass():
    data = {
        "packages": [
            {
                "name": "numpy",
                "version": "2.4.6",
                "filename": "numpy-2.4.6.tar.gz",
                "hashes": {"sha256": DIGEST},
                "attestations": [{"attestation_bundles": [{"attestations": [{"version": 1}]}]}],
            }
        ]
    }
    outcome = checked(data)
    assert rules(outcome) == {"TW-PKG-ATTESTATION"}
    assert status(outcome, "attestations") is Status.FAIL


def test_attestation_without_a_digest_to_compare_is_incomplete():
    data = {"packages": [{"name": "numpy", "version": "2.4.6", "attestations": [{"version": 1}]}]}
    assert status(checked(data), "attestations") is Status.INCOMPLETE


def test_other_ecosystem_is_incomplete_not_clean():
    outcome = checked({"ecosystem": "npm", "packages": [{"name": "left-pad"}]})
    assert [check.status for check in outcome.checks] == [Status.INCOMPLETE]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("pip-report", "pip-report.training.json"),
        ("pip-report", "pip-report.pip-23.json"),
        ("pylock", "pylock.training.toml"),
        ("uv-lock", "uv.lock"),
        ("requirements", "requirements.hashed.txt"),
        ("cyclonedx", "cyclonedx.uv.json"),
        ("cyclonedx", "cyclonedx.environment.json"),
        ("cyclonedx", "cyclonedx.requirements.json"),
    ],
)
def test_installs_of_popular_packages_yield_nothing_above_low(kind, name):
    raw = sample("packages", name)
    for event in adapt(kind, raw, tenant=TENANT, system="h1", received_ms=1_795_000_000_000):
        outcome = check_packages(event, knowing())
        assert above_low(outcome) == []
        assert outcome.sightings


def test_an_event_full_of_imitations_costs_a_bounded_number_of_findings_and_says_so():
    packages = [
        {"name": f"torch-gpu-{n}", "version": "1", "requires_dist": [f"torch-gpu-{n + 1}"]}
        for n in range(3000)
    ]
    outcome = checked({"packages": packages})
    assert len(outcome.detections) == 500
    (detail,) = [check.detail for check in outcome.checks if check.name == "names"]
    assert "2500 more" in detail


LOCAL = (
    {"editable": True},
    {"editable": True, "direct": True, "url": "file:libs/x"},
    {"direct": True, "url": "file:///srv/x"},
    {"direct": True, "url": "./libs/x"},
    {"direct": True},
)


@pytest.mark.parametrize("origin", LOCAL)
def test_a_local_package_is_not_judged_as_the_public_one_of_its_name(origin):
    knowledge = knowing(facts=(COMPROMISED,))
    data = {
        "packages": [
            {"name": "pandsa", "version": "1", **origin},
            {"name": "litellm", "version": "1.82.7", **origin},
            {"name": "unknown-thing", "version": "9999.0", **origin},
        ]
    }
    outcome = check_packages(install(data), knowledge)
    assert above_low(outcome) == []
    assert status(outcome, "known_compromised") is Status.PASS
    assert not any(sighting.component == "pypi:litellm" for sighting in outcome.sightings)


def test_package_of_a_wheel_folder_may_come_from_an_index():
    data = {"packages": [{"name": "pandsa", "version": "1", "url": "file:///wheels/pandsa-1.whl"}]}
    assert "TW-PKG-TYPOSQUAT" in rules(check_packages(install(data), knowing()))


@each(
    ("version", "found"),
    [("999.0.0", True), ("9.9.9", True), ("99.0", True), ("9.9", False), ("2026.11", False),
     ("311", False), ("1.9.9", False), ("140.0.1", False)],
)  # fmt: skip
def test_inflated_version_of_an_unknown_name_is_reported(version, found):
    data = {"packages": [{"name": "quite-unknown-thing", "version": version}]}
    assert ("TW-PKG-CONFUSION-VERSION" in rules(check_packages(install(data), knowing()))) is found
    data = {"packages": [{"name": "numpy", "version": version}]}
    assert "TW-PKG-CONFUSION-VERSION" not in rules(check_packages(install(data), knowing()))


def test_install_from_a_default_branch_is_low():
    vcs = {"url": "https://git.example/n.git", "commit_id": "0" * 40, "requested_revision": "HEAD"}
    data = {"packages": [{"name": "numpy", "version": "1", "direct": True, "vcs": vcs}]}
    outcome = check_packages(install(data), knowing())
    assert rules(outcome) == {"TW-PKG-VCS-UNPINNED"}
    assert above_low(outcome) == []

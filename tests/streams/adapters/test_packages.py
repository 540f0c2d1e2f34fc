"""Installers' files become package-install events: slim, bounded, the same on every replay."""

from __future__ import annotations

import json

import pytest

from agents.checks.packages.check import check_packages
from agents.domain.knowledge import MemoryKnowledge
from schemas.cloudevents import write_structured
from schemas.errors import TidewatchError, UnreadableRecordError
from schemas.severity import Status
from streams.adapters import adapt
from streams.adapters.manifests.found import PART_BYTES
from streams.adapters.manifests.locks import read_lock
from tests.each import each
from tests.samples import sample

NOW = {"tenant": "t", "system": "h1", "received_ms": 1_795_000_000_000}


def test_pip_report_is_slim_and_keeps_what_matters():
    raw = json.loads(sample("packages", "pip-report.training.json"))
    for entry in raw["install"]:
        entry["metadata"]["description"] = "long " * 5000
    (event,) = adapt("pip-report", json.dumps(raw).encode(), **NOW)
    assert len(write_structured(event)) < 30_000
    by_name = {package.name: package for package in event.data.packages}
    assert len(by_name) == 31
    asked = by_name["sentence-transformers"]
    assert [name for name, package in by_name.items() if package.requested] == [asked.name]
    assert len(asked.hashes["sha256"]) == 64
    assert asked.filename == "sentence_transformers-5.4.1-py3-none-any.whl"
    assert "huggingface-hub>=0.23.0" in asked.requires_dist
    assert not any("extra" in requirement for requirement in asked.requires_dist)
    assert event.data.installer.version == "26.0"


def test_a_report_of_an_older_pip_gives_its_digest_too():
    (event,) = adapt("pip-report", sample("packages", "pip-report.pip-23.json"), **NOW)
    (package,) = event.data.packages
    assert package.requested
    assert not package.yanked
    assert len(package.hashes["sha256"]) == 64


def test_options_supply_what_pip_does_not_record():
    (event,) = adapt(
        "pip-report",
        sample("packages", "pip-report.training.json"),
        **NOW,
        index_url="https://index.example/simple",
        extra_index_urls=("https://x.example/simple",),
        lock=sample("packages", "requirements.hashed.txt"),
        image="registry.example/train:1",
        requirements="sentence-transformers==5.4.1\n",
    )
    assert event.data.index_url == "https://index.example/simple"
    assert event.data.extra_index_urls == ("https://x.example/simple",)
    assert len(event.data.lock) == 31
    assert event.data.image == "registry.example/train:1"
    assert event.data.requirements == ("sentence-transformers==5.4.1",)


def test_the_same_file_gives_the_same_ids():
    raw = sample("packages", "uv.lock")
    assert [event.id for event in adapt("uv-lock", raw, **NOW)] == [
        event.id for event in adapt("uv-lock", raw, **NOW)
    ]
    other = adapt("uv-lock", raw, **{**NOW, "system": "h2"})
    assert other[0].id != adapt("uv-lock", raw, **NOW)[0].id


def test_large_installs_are_split_into_parts_that_belong_together():
    install = [
        {"metadata": {"name": f"p{number}", "version": "1", "requires_dist": ["x" * 900]}}
        for number in range(3000)
    ]
    raw = json.dumps({"version": "1", "install": install}).encode()
    events = adapt("pip-report", raw, **NOW)
    assert len(events) > 1
    assert {event.data.batch.parts for event in events} == {len(events)}
    assert len({event.data.batch.id for event in events}) == 1
    assert [event.data.batch.part for event in events] == list(range(1, len(events) + 1))
    assert sum(len(event.data.packages) for event in events) == 3000
    assert max(len(write_structured(event)) for event in events) < PART_BYTES * 1.2
    assert len({event.id for event in events}) == len(events)


def test_locks_of_three_kinds_say_the_same_of_a_release():
    hashed = read_lock(sample("packages", "requirements.hashed.txt"))
    pylock = read_lock(sample("packages", "pylock.training.toml"))
    uv = read_lock(sample("packages", "uv.lock"))
    entry = "typer==0.24.0"
    assert len(hashed[entry]) == 2
    assert set(hashed[entry]) == set(pylock[entry]) == set(uv[entry])


def test_uv_lock_names_index_and_roots():
    (event,) = adapt("uv-lock", sample("packages", "uv.lock"), **NOW)
    assert {entry.index_url for entry in event.data.packages} == {"https://index.example/simple"}
    assert [entry.name for entry in event.data.packages if entry.requested] == [
        "sentence-transformers"
    ]
    assert any("annotated-doc" in entry.requires_dist for entry in event.data.packages)


def test_cyclonedx_of_uv_has_edges_and_digests():
    (event,) = adapt("cyclonedx", sample("packages", "cyclonedx.uv.json"), **NOW)
    assert len(event.data.packages) == 31
    assert len(event.data.lock) == 31
    assert any(entry.requires_dist for entry in event.data.packages)


def test_cyclonedx_of_cyclonedx_py_has_the_digests_that_its_source_gives():
    (event,) = adapt("cyclonedx", sample("packages", "cyclonedx.environment.json"), **NOW)
    assert len(event.data.packages) == 12
    assert event.data.lock == {}
    assert event.data.installer.name == "cyclonedx-py"
    (event,) = adapt("cyclonedx", sample("packages", "cyclonedx.requirements.json"), **NOW)
    assert {len(digests) for digests in event.data.lock.values()} == {2}


def test_direct_references_of_pip_inspect_are_read():
    document = {
        "version": "1",
        "pip_version": "26.3",
        "installed": [
            {
                "metadata": {"name": "a", "version": "1", "requires_dist": ["b; extra == 'x'"]},
                "direct_url": {
                    "url": "https://git.example/a.git",
                    "vcs_info": {"vcs": "git", "commit_id": "0" * 40},
                },
                "requested": True,
            },
            {"metadata": {"name": "b", "version": "2"}},
        ],
    }
    (event,) = adapt("pip-inspect", json.dumps(document).encode(), **NOW)
    first, second = event.data.packages
    assert first.direct
    assert first.vcs is not None
    assert first.vcs.commit_id == "0" * 40
    assert first.requires_dist == ()
    assert not second.direct


@each("kind", ["pip-report", "pip-inspect", "pylock", "uv-lock", "cyclonedx"])
@each("raw", [b"", b"[]", b"{}", b'{"install": 3}', b"\xff\xfe", b"a = 1\n"])
def test_files_of_another_kind_are_refused(kind, raw):
    with pytest.raises(UnreadableRecordError):
        adapt(kind, raw, **NOW)


def test_a_file_without_a_time_needs_one():
    with pytest.raises(TidewatchError):
        adapt("requirements", b"numpy==1.0", tenant="t", system="h1")


def test_members_of_a_uv_workspace_are_no_packages_and_what_they_need_was_asked_for():
    raw = b"""
version = 1
requires-python = ">=3.11"
[manifest]
members = ["svc-a", "svc-b"]
[[package]]
name = "svc-a"
version = "0.1"
source = { editable = "src/a" }
dependencies = [{ name = "numpy" }]
[package.optional-dependencies]
gpu = [{ name = "torch" }]
[[package]]
name = "svc-b"
version = "0.1"
source = { virtual = "src/b" }
[package.dev-dependencies]
dev = [{ name = "pytest" }]
[[package]]
name = "beside"
version = "0.1"
source = { directory = "../beside" }
""" + b"".join(
        b'[[package]]\nname = "%s"\nversion = "1"\n'
        b'source = { registry = "https://index.example/simple" }\n' % name
        for name in (b"numpy", b"torch", b"pytest", b"deeper")
    )
    (event,) = adapt("uv-lock", raw, **NOW)
    packages = {entry.name: entry for entry in event.data.packages}
    assert packages.keys() == {"beside", "numpy", "torch", "pytest", "deeper"}
    assert {name for name, package in packages.items() if package.requested} == {
        "numpy",
        "torch",
        "pytest",
    }
    assert packages["beside"].url == "file:../beside"


def test_files_that_requirements_name_are_followed_where_they_are_given():
    files = {"requirements/base.txt": "numpy==2.0.0\n", "limits.txt": "scipy<2\n"}
    text = b"-r requirements/base.txt\n-c limits.txt\n-r gone.txt\ntorch==2.0\n"
    (event,) = adapt("requirements", text, **NOW, files=files, path="requirements.txt")
    assert {entry.name for entry in event.data.packages} == {"numpy", "torch"}
    # What was not read is still named: the check says so.
    assert event.data.requirements == ("numpy==2.0.0", "-r gone.txt", "torch==2.0")
    check = next(c for c in check_packages(event, MemoryKnowledge()).checks if c.name == "pinning")
    assert check.status is Status.INCOMPLETE
    assert "gone.txt was not read" in check.detail


def test_an_inventory_of_other_ecosystems_is_refused_with_a_word_on_them():
    document = {"bomFormat": "CycloneDX", "components": [
        {"type": "library", "name": "a", "purl": "pkg:npm/a@1"}, {"type": "library", "name": "b"},
    ]}  # fmt: skip
    with pytest.raises(UnreadableRecordError, match=r"0 packages.*1 package of npm not checked"):
        adapt("cyclonedx", json.dumps(document).encode(), **NOW)

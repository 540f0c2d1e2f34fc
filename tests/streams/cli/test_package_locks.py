"""Installed files are compared with all digests that a lock lists."""

from __future__ import annotations

import json

import pytest

from agents.checks.packages.check import check_packages
from agents.domain.knowledge import MemoryKnowledge
from streams.adapters import adapt

NOW = {"tenant": "t", "system": "h1", "received_ms": 1_795_000_000_000}
WHEEL, SDIST, OTHER_INDEX, STRANGE = (letter * 64 for letter in "abcd")
MISMATCH = "TW-PKG-HASH-MISMATCH"

UV = f"""
version = 1
[[package]]
name = "Foo.Bar"
version = "1.0"
source = {{ registry = "https://index.example/simple" }}
sdist = {{ url = "https://index.example/f/foo_bar-1.0.tar.gz", hash = "sha256:{SDIST}" }}
wheels = [
  {{ url = "https://index.example/f/foo_bar-1.0-cp311-none-any.whl", hash = "sha256:{WHEEL}" }},
  {{ url = "https://index.example/f/foo_bar-1.0-cp312-none-any.whl", hash = "sha256:{"e" * 64}" }},
]
[[package]]
name = "foo-bar"
version = "1.0"
source = {{ registry = "https://other.example/simple" }}
wheels = [{{ url = "https://other.example/f/foo_bar-1.0.whl", hash = "sha256:{OTHER_INDEX}" }}]
"""
PYLOCK = f"""
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "foo-bar"
version = "1.0"
sdist = {{ url = "https://index.example/f/foo_bar-1.0.tar.gz", hashes = {{ sha256 = "{SDIST}" }} }}
wheels = [{{ url = "https://index.example/f/a.whl", hashes = {{ sha256 = "{WHEEL.upper()}" }} }}]
[[packages]]
name = "foo-bar"
version = "1.0"
marker = "sys_platform == 'darwin'"
wheels = [{{ url = "https://other.example/f/b.whl", hashes = {{ sha256 = "{OTHER_INDEX}" }} }}]
"""
HASHED = f"""
foo_bar==1.0 ; sys_platform == 'linux' \\
    --hash=sha256:{WHEEL} \\
    --hash=sha256:{SDIST}
foo-bar==1.0 ; sys_platform == 'darwin' --hash=sha256:{OTHER_INDEX}
"""


def report(digest, version="1.0"):
    entry = {
        "metadata": {"name": "foo-bar", "version": version},
        "download_info": {
            "url": f"https://index.example/f/foo_bar-{version}-cp311-none-any.whl",
            "archive_info": {"hashes": {"sha256": digest}},
        },
    }
    return json.dumps({"version": "1", "install": [entry]}).encode()


def rules(digest, version="1.0", **options):
    (event,) = adapt("pip-report", report(digest, version), **NOW, **options)
    return {detection.rule_id for detection in check_packages(event, MemoryKnowledge()).detections}


@pytest.mark.parametrize("lock", [UV, PYLOCK, HASHED], ids=["uv.lock", "pylock", "requirements"])
def test_every_file_that_a_lock_lists_of_a_release_is_right_and_no_other(lock):
    for digest in (WHEEL, SDIST, OTHER_INDEX):
        assert rules(digest, lock=lock) == set()
    assert rules(STRANGE, lock=lock) == {MISMATCH}
    assert rules(WHEEL, "1.0.0", lock=lock) == set()
    assert rules(WHEEL, "1.1", lock=lock) == {"TW-PKG-NOT-LOCKED"}


@pytest.mark.parametrize(("kind", "lock"), [("uv-lock", UV), ("pylock", PYLOCK)])
def test_a_lock_is_no_mismatch_with_itself(kind, lock):
    (event,) = adapt(kind, lock.encode(), **NOW)
    (digests,) = event.data.lock.values()
    assert {text.lower() for text in digests} >= {f"sha256:{WHEEL}", f"sha256:{OTHER_INDEX}"}
    found = {detection.rule_id for detection in check_packages(event, MemoryKnowledge()).detections}
    assert MISMATCH not in found


def test_a_lock_of_other_algorithms_only_can_not_contradict():
    lock = PYLOCK.replace("sha256", "sha512")
    assert MISMATCH not in rules(STRANGE, lock=lock)


def test_one_file_name_with_two_digests_in_an_install_is_reported():
    both = json.loads(report(WHEEL))
    both["install"] += json.loads(report(SDIST))["install"]
    (event,) = adapt("pip-report", json.dumps(both).encode(), **NOW, lock=UV)
    found = [detection.rule_id for detection in check_packages(event, MemoryKnowledge()).detections]
    assert found == [MISMATCH]


def test_a_requirement_and_a_lock_both_have_to_agree():
    asked = f"foo-bar==1.0 --hash=sha256:{SDIST}\n"
    assert rules(WHEEL, lock=UV, requirements=asked) == {MISMATCH}
    assert rules(SDIST, lock=UV, requirements=asked) == set()

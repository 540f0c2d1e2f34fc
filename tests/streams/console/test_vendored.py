"""Files of others are as they were published, and their licences are beside them."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

from streams.console.routes.static import FOLDER, KINDS

TESTS = Path(__file__).parent / "axe"


@pytest.mark.parametrize("folder", [FOLDER, TESTS], ids=["served", "tests"])
def test_vendored_files_have_their_hash_and_licence(folder):
    listed = tomllib.loads((folder / "vendored.toml").read_text())
    assert listed
    for entry in listed.values():
        raw = (folder / entry["file"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == entry["sha256"]
        assert (folder / entry["licence_file"]).read_text().strip()
        assert entry["version"]


def test_every_file_is_served_or_describes_a_served_one():
    listed = tomllib.loads((FOLDER / "vendored.toml").read_text())
    beside = {"vendored.toml", *(entry["licence_file"] for entry in listed.values())}
    assert {path.name for path in FOLDER.iterdir()} == set(KINDS) | beside

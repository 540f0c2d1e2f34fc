"""File names that contradict the metadata are found; other spellings are not."""

from __future__ import annotations

import pytest

from agents.checks.packages.file_names import contradiction
from tests.each import each


@pytest.mark.parametrize(
    ("filename", "name", "version", "stated"),
    [
        ("evil-1.0-py3-none-any.whl", "torch", "1.0", "the project evil"),
        ("torch-1.0.tar.gz", "torch", "1.1", "the version 1.0"),
        ("torch-1.0+evil-py3-none-any.whl", "torch", "1.0+cpu", "the version 1.0+evil"),
        ("torch-2!1.0-py3-none-any.whl", "torch", "1.0", "the version 2!1.0"),
    ],
)
def test_contradiction_is_stated(filename, name, version, stated):
    assert contradiction(filename, name, version) == stated


@each(
    ("filename", "name", "version"),
    [
        ("Ruamel.Yaml-0.18-py3-none-any.whl", "ruamel-yaml", "0.18.0"),
        ("torch-2.4.0+cpu-cp311-cp311-linux_x86_64.whl", "torch", "2.4.0"),
        ("a-b-c-1.0rc1.tar.gz", "a-b-c", "1.0.rc1"),
        ("torch-1.0-py3-none-any.whl", "torch", None),
        ("torch-1.0-py3-none-any.whl", "torch", "latest"),
        ("download", "torch", "1.0"),
        ("torch.whl", "torch", "1.0"),
        ("v1.0.tar.gz", "torch", "1.0"),
        ("", "torch", "1.0"),
    ],
)
def test_other_spelling_or_missing_metadata_is_no_contradiction(filename, name, version):
    assert contradiction(filename, name, version) is None

"""The generator of the allow-list: which classes of a library it lets pass, from source alone."""

from __future__ import annotations

import zipfile

import pytest

from tests.corpus import libraries

SOURCE = """
import os
from collections import namedtuple
from enum import Enum

class Plain:
    def __init__(self):
        self.a = 1

class Restored(Plain):
    def __setstate__(self, state):
        self.__dict__.update(state)

class Ended(Plain):
    def __del__(self):
        os.remove(self.path)

class Child(Ended):
    pass

class Opens:
    def __setstate__(self, state):
        self.file = open(state["path"])

class Imports:
    def __getattr__(self, name):
        import subprocess
        return subprocess

class Foreign(SomethingElse):
    pass

class Runner:
    pass

class Mode(str, Enum):
    A = "a"

Pair = namedtuple("Pair", ["a", "b"])
Other = namedtuple("Named", ["a"])
"""


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "lib-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lib/models.py", SOURCE)
        archive.writestr("lib/tests/test_models.py", "class Seen: pass\n")
        archive.writestr("lib/broken.py", "class (")
    return path


def test_a_class_counts_when_restoring_it_only_sets_attributes(wheel):
    found = {name: use for _, name, use in libraries.judge(libraries.read_wheel(wheel))}
    assert found == {"Plain": "new", "Restored": "new", "Mode": "call", "Pair": "new"}


def test_tests_of_a_library_are_left_out(wheel):
    assert set(libraries.read_wheel(wheel)) == {"lib.models"}

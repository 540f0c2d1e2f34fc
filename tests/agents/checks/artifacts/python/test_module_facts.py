"""Taint of decoded or fetched values within a module."""

from __future__ import annotations

import ast

import pytest

from agents.checks.artifacts.python.faults import python_faults
from agents.checks.artifacts.python.module_facts import ModuleFacts
from agents.checks.artifacts.python.tree import ModuleTree


def is_tainted(source: str) -> bool:
    """Return whether the value that a module's last line assigns was decoded or fetched."""
    tree = ast.parse(source)
    last = tree.body[-1]
    assert isinstance(last, ast.Assign)
    return ModuleFacts(ModuleTree(tree)).is_tainted(last.value)


@pytest.mark.parametrize(
    "source",
    [
        "import base64\nx = base64.b64decode(y)",
        "import base64\nx = {'k': [f(base64.b64decode(y))]}",
        "import base64\ny = base64.b64decode(z)\nx = y + 'a'",
        "import base64\ndef f():\n    return g(y)\ny = base64.b64decode(z)\nx = y.decode()",
        "x = connection.recv(4096)",
    ],
)
def test_value_derived_from_decoded_or_fetched_data_is_tainted(source):
    assert is_tainted(source)


@pytest.mark.parametrize("source", ["x = f(y)", "import base64\nx = base64.b64encode(y)", "x = 1"])
def test_other_values_are_not_tainted(source):
    assert not is_tainted(source)


def test_a_name_is_tainted_before_the_line_that_decodes_its_value():
    assert is_tainted("import base64\nfor i in r:\n    x = y\n    y = base64.b64decode(z)\nx = y")


def test_a_decoded_value_is_found_behind_any_number_of_others():
    source = f"import base64\nx = [{'0, ' * 5_000}[base64.b64decode(data)]]\nexec(x)"
    assert is_tainted(source.removesuffix("\nexec(x)"))
    faults = python_faults(source)
    assert [(fault.rule_id, fault.line) for fault in faults] == [("TW-MODEL-CODE-DISGUISED", 3)]

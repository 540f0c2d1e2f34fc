"""Python source is parsed without the garbage collector, and no garbage remains."""

from __future__ import annotations

import ast
import gc

import pytest

from agents.checks.artifacts.python.faults import python_faults
from agents.uncollected import uncollected
from tests.each import each

SOURCE = """
import os
KEYS = {"a": os.system}
class Model:
    name = "x" + "y"
    def run(self, command):
        return KEYS["a"](command)
[f(x) for x in "ab"]
exec("import socket")
"""


def _nodes() -> int:
    return sum(isinstance(thing, ast.Module | ast.Call) for thing in gc.get_objects())


def test_the_tree_of_a_judged_module_is_freed_without_the_collector() -> None:
    python_faults(SOURCE)
    gc.collect()
    with uncollected():
        before = _nodes()
        assert python_faults(SOURCE)
        assert _nodes() == before


@each("enabled", [True, False])
def test_the_collector_runs_afterwards_as_before(enabled: bool) -> None:
    collects = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(SyntaxError):
            python_faults("def")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if collects else gc.disable)()

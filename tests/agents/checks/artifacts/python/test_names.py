"""Names looked up by text are resolved, however the text is passed."""

from __future__ import annotations

import ast

import pytest

from agents.checks.artifacts.python.faults import python_faults
from agents.checks.artifacts.python.names import Names
from agents.checks.artifacts.python.tree import ModuleTree
from schemas.severity import Severity
from tests.each import each

LOADS = [
    '__import__("os")',
    '__import__(name="os")',
    '__import__(*["os"])',
    '__import__(**{"name": "os"})',
    'importlib.import_module(name="os")',
    'importlib.import_module(package="x", name="os")',
    'importlib.import_module(*("os", "x"))',
    'pydoc.locate(path="os")',
    'pkgutil.resolve_name(name="os")',
]


@each("loads", LOADS)
@each("call", ['{}.system("id")', 'getattr(*({}, "system"))("id")'])
def test_a_module_that_is_looked_up_is_known_however_its_name_is_passed(loads, call):
    source = f"import importlib, pkgutil, pydoc\n{call.format(loads)}\n"
    assert python_faults(source)


@pytest.mark.parametrize(
    "source",
    [
        'import importlib\nm = importlib.import_module(name="json")\nm.dumps({})\n',
        'import importlib\nm = importlib.import_module(package="os", name=".sub")\nm.system()\n',
        'print("os", name="system", path="os.system")\n',
        'import inspect\ninspect.getattr_static(obj=print, attr="__doc__")\n',
    ],
)
def test_other_names_that_are_passed_say_nothing(source):
    assert not python_faults(source)


@each(
    "source",
    [
        "run = m.system\nimport os\nm = os\nrun('id')\n",
        "run = m['system']\nimport os\nm = os\nrun('id')\n",
        "import os\nrun = table['x']\ntable = {'x': os.system}\nrun('id')\n",
        "import os\nrun = table.get('x')\ntable = {'x': os.system}\nrun('id')\n",
        "k = f('sys')\nf = lambda x: x + 'tem'\nimport os\ngetattr(os, k)('id')\n",
        "run = a(b, 'system')\na = getattr\nimport os as b\nrun('id')\n",
        "run = eval('m.system')\nimport os\nm = os\nrun('id')\n",
    ],
)
def test_a_name_that_is_given_later_is_followed(source):
    assert any(fault.severity is Severity.CRITICAL for fault in python_faults(source)), source


@each("source", ["x = y\nimport os\ny = os\n", "import os\ny = os\nx = y\n"])
def test_assignments_are_gone_through_again_only_if_that_teaches_more(source):
    learnt, rounds = Names(), []
    learnt.values.constants = Counting(rounds)
    learnt.learn(ModuleTree(ast.parse(source)))
    assert learnt.aliases["y"] == "os"
    assert len(rounds) == (2 if source.startswith("x") else 1)


class Counting(dict[str, object]):
    """Constants that count how often learning begins."""

    def __init__(self, rounds: list[int]) -> None:
        """Count in a list."""
        super().__init__()
        self._rounds = rounds

    def clear(self) -> None:
        """Count, and clear."""
        self._rounds.append(1)
        super().clear()

"""Names looked up by text are resolved, however the text is passed."""

from __future__ import annotations

import pytest

from agents.checks.artifacts.python.faults import python_faults
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

"""The threat model names tests that exist, at least one for each actor."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")
ROWS = [
    line
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| actor", "|---"))
]


def test_the_page_has_actors() -> None:
    assert len(ROWS) > 10


@cache
def functions_of(file: str) -> frozenset[str]:
    """Return the functions of a file, which many rows may name."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_control_names_a_test(row: str) -> None:
    named = NAMED.findall(row)
    assert named, "each limit is held by a test"
    for file, test in named:
        assert test in functions_of(file), f"{file} has no {test}"

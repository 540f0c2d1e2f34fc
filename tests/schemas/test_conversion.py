"""Types are learned when modules are imported, not by threads that need them at the same time."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas.conversion import Converter
from tests.at_once import assert_survives_threads

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {"dict", "list", "str", "int", "object", "Any", "datetime", "msgspec.Raw", "_Table"}
"""Types in which there is nothing to learn."""
ALONE = {
    "agents/triage/store.py",  # the event loop's thread decodes all rows
    "schemas/conversion.py",
    "streams/cli/verify.py",  # a command without threads, and a module that it imports when needed
    "streams/demo/story_builder.py",  # as are these
    "streams/reports/contract_pages.py",
}
RULE_FILES = """
import tomllib
from schemas.conversion import Converter
from agents.domain.rules import RULES, Rule
convert = Converter(Rule)
items = [tomllib.loads(path.read_text()) for path in sorted(RULES.rglob("*.toml"))[:16]]
"""


class Point(msgspec.Struct):
    x: int
    name: str = ""


def test_a_converter_returns_the_type_or_says_what_is_wrong() -> None:
    assert Converter(Point)({"x": 1, "name": "a"}) == Point(1, "a")
    with pytest.raises(msgspec.ValidationError, match=r"\$\.x"):
        Converter(Point)({"x": "1"})


def test_threads_convert_to_a_type_at_the_same_time() -> None:
    assert_survives_threads(RULE_FILES, "assert convert(item).id")


def _learning_calls(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the calls in functions of a module that learn a type, with their lines."""
    text = path.read_text()
    if not re.search(r"msgspec\.(convert|json\.decode|msgpack\.decode)\(", text):
        return
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in {"msgspec.json.decode", "msgspec.msgpack.decode"}:
                kinds = [word.value for word in node.keywords if word.arg == "type"]
            elif called == "msgspec.convert":
                kinds = node.args[1:]
            else:
                continue
            names = {
                ast.unparse(part)
                for kind in kinds
                for part in ast.walk(kind)
                if isinstance(part, ast.Name | ast.Attribute)
            }
            if names - PLAIN - {"msgspec"}:
                yield node.lineno, ast.unparse(node)


def test_no_function_learns_a_type() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {call}"
        for room in ("agents", "schemas", "streams")
        for path in sorted((ROOT / room).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in ALONE
        for line, call in _learning_calls(path)
    ]
    assert found == [], "make a decoder or a Converter where the module is imported"

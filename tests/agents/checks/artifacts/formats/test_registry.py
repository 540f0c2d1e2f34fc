"""Each format is declared once, and no other module lists its names."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from agents.checks.artifacts.formats import names
from agents.checks.artifacts.formats.format import Content, Format, Suffix, Trait, endings
from agents.checks.artifacts.formats.registry import ALL, FORMATS, candidates
from agents.checks.artifacts.scanning import BytesSource
from agents.domain.rules import all_rules
from tests.corpus import KINDS, samples
from tests.each import each

ROOT = Path(__file__).resolve().parents[5]
MODEL = Trait.WEIGHTS
WORDS = re.compile(r"(?<=[.(|])\w+")
"""What may be a suffix in a table: it follows a point, or begins a choice of a pattern."""
MOST = 2
"""Suffixes of models that one literal may name: a format's own, and one to distinguish it from."""


def model_suffixes() -> frozenset[str]:
    return frozenset(
        ending.removeprefix(".") for known in ALL for ending in endings(known.suffixes, MODEL)
    )


def declares(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Format"
        for node in ast.walk(tree)
    )


def tables(tree: ast.Module, suffixes: frozenset[str]) -> Iterator[tuple[int, set[str]]]:
    """Yield the literals that list suffixes of models: collections, and patterns of suffixes."""
    for node in ast.walk(tree):
        found: set[str] = set()
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            items = node.keys if isinstance(node, ast.Dict) else node.elts
            found = {
                item.value.removeprefix(".")
                for item in items
                if isinstance(item, ast.Constant)
                and isinstance(item.value, str)
                and item.value.startswith(".")
            }
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for group in re.findall(r"\\\.\(([^()]*)", node.value):
                found |= set(group.split("|"))
        listed = found & suffixes
        if len(listed) > MOST:
            yield node.lineno, listed


def may_list(text: str, suffixes: frozenset[str]) -> bool:
    """Whether a text may have a table; parsing those that have none would take long."""
    return len(suffixes.intersection(WORDS.findall(text))) > MOST


def test_a_literal_table_of_suffixes_is_found():
    code = 'A = (".pt", ".gguf", ".onnx")\nB = r"\\.(pkl|pt|h5)$"\nC = (".pt", ".txt", ".csv")'
    assert may_list(code, model_suffixes())
    found = dict(tables(ast.parse(code), model_suffixes()))
    assert found == {1: {"pt", "gguf", "onnx"}, 2: {"pkl", "pt", "h5"}}


@pytest.mark.parametrize("room", ["agents", "schemas", "streams"])
def test_only_declarations_list_the_suffixes_of_formats(room):
    suffixes = model_suffixes()
    listed = {
        f"{path.relative_to(ROOT)}:{line}": sorted(found)
        for path in sorted((ROOT / room).rglob("*.py"))
        for text in [path.read_text(encoding="utf-8")]
        if may_list(text, suffixes)
        for tree in [ast.parse(text)]
        if not declares(tree)
        for line, found in tables(tree, suffixes)
    }
    assert not listed


def test_every_format_is_named_once():
    declared = [known.name for known in ALL]
    assert len(declared) == len(set(declared))
    assert set(FORMATS) <= set(ALL)


def test_every_module_that_declares_a_format_is_registered():
    room = ROOT / "agents" / "checks" / "artifacts"
    for path in room.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "Format" not in text or not declares(ast.parse(text)):
            continue
        module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        declared = [value for value in vars(module).values() if isinstance(value, Format)]
        assert all(any(known is format_ for known in ALL) for format_ in declared), path


def test_a_format_that_is_tried_has_a_reader_and_others_are_recognised_elsewhere():
    assert all(known.matches and known.parse for known in FORMATS)
    assert not any(known.matches or known.parse for known in ALL[len(FORMATS) :])


def test_endings_are_lower_case_and_patterns_compile():
    for known in ALL:
        for suffix in known.suffixes:
            assert bool(suffix.ending) != bool(suffix.pattern), known.name
            assert suffix.ending == suffix.ending.lower()
            re.compile(suffix.pattern)


def test_a_suffix_has_one_content_and_promises_known_formats():
    contents: dict[str, set[Content]] = {}
    for known in ALL:
        for suffix in known.suffixes:
            if suffix.ending:
                contents.setdefault(suffix.ending, set()).add(suffix.content)
    assert {ending for ending, kinds in contents.items() if len(kinds) > 1} == set()


def test_a_format_names_rules_that_exist_and_that_its_reader_reports():
    known_rules = all_rules()
    for known in ALL:
        assert list(known.rules) == sorted(set(known.rules)), known.name
        assert known.rules == tuple(rule for rule in known.rules if rule in known_rules)


@each("known", [known for known in FORMATS if known.rules])
def test_the_reader_of_a_format_holds_the_rules_that_it_declares(known):
    module = _reader(known)
    siblings = [known for known in FORMATS if _reader(known) == module]
    declared = {rule for sibling in siblings for rule in sibling.rules}
    assert rule_ids(source_of(module)) <= declared
    assert declared <= set().union(*map(rule_ids, sources(module, depth=2)))


def source_of(module: str) -> str:
    return inspect.getsource(import_module(module))


def sources(module: str, depth: int) -> Iterator[str]:
    """Yield the source of a module, and of those of its package that it imports from."""
    source = source_of(module)
    yield source
    if depth:
        room = re.escape(module.rpartition(".")[0])
        for name in re.findall(rf"^from ({room}\.\w+) import", source, re.MULTILINE):
            yield from sources(name, depth - 1)


def rule_ids(source: str) -> set[str]:
    return set(re.findall(r'"(TW-[A-Z0-9-]+)"', source))


def _reader(known: Format) -> str:
    """Return the module that reads a format: of `parse`, or the one that it imports."""
    cells = inspect.getclosurevars(known.parse).nonlocals
    return str(cells.get("module", known.parse.__module__))


def corpus_files() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file of the corpus."""
    for kind in KINDS:
        for name, content in samples(kind):
            yield from content.items() if isinstance(content, dict) else [(name, content)]


def left_out(name: str, content: bytes) -> list[str]:
    """Return the formats that match a file and are not asked."""
    head = content[:8192]
    asked = candidates(name, head)
    assert list(asked) == [known for known in FORMATS if known in asked], "in their order"
    given = (names.file_name(name), head, BytesSource(content))
    return [known.name for known in FORMATS if known not in asked and known.matches(*given)]


def test_no_format_is_left_out_that_matches():
    """Neither by its own name nor by another, whatever the content begins with."""
    count = 0
    for name, content in corpus_files():
        if content:
            count += 1
            for called in (name, "a", "saved_model.pb", "model.TXT"):
                assert left_out(called, content) == []
    assert count > 1000


@pytest.mark.parametrize("rest", [b"", b" \x00", b'{"a": 1}' * 80, b"\n\x01" * 400])
def test_no_format_is_left_out_by_a_name_of_its_own(rest):
    endings_ = sorted({suffix.ending for known in ALL for suffix in known.suffixes})
    for ending in (*endings_, "/MLmodel", "/MLproject", "/Modelfile", ".data-00000-of-00001"):
        for first in range(0, 256, 5):
            assert left_out(f"a/b.c{ending}", bytes((first,)) + rest) == []


def test_names_are_judged_by_the_declarations():
    assert names.is_safe("a/model.safetensors")
    assert not names.may_execute("README.md")
    assert not names.may_execute("LICENSE")
    assert names.may_execute("model.pt")
    assert names.may_execute("model.unheard-of")
    assert names.is_pickle_name("model.pkl.gz")
    assert not names.is_pickle_name("model.gguf")
    assert names.claimed_suffixes("pytorch") == {".bin", ".ckpt", ".pt", ".pth"}
    assert names.promised_formats(".gguf") == {"gguf"}
    assert names.promised_formats(".txt") == frozenset()
    assert names.promised_formats(".unheard-of") is None
    assert Suffix(".gguf").content is Content.CODE

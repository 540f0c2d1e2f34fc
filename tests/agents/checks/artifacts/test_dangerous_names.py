"""What is dangerous to import or call is listed in one file, which each check reads."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from agents.checks.artifacts.dangerous_names import functions, modules, names, prefixes, table
from agents.checks.artifacts.formats.targets import NameTrust, name_trust
from agents.checks.artifacts.pickle.globals import Level, judge
from tests.each import each

ROOM = Path(__file__).resolve().parents[4] / "agents" / "checks" / "artifacts"
MOST = 3
"""Modules that one literal may name: the names of one thing, a pattern of code in text."""
LISTED_MODULES = ("pickle", "config", "pickle-path", "config-path", "code-path", "argument")


def test_each_name_has_one_effect():
    for effects in (table().modules, table().names):
        counts = Counter(name for entries in effects.values() for name in entries)
        assert [name for name, count in counts.items() if count > 1] == []


def test_an_unknown_context_is_refused():
    with pytest.raises(KeyError, match="no context 'pickles'"):
        modules("pickles")


def test_a_module_that_counts_anywhere_counts_for_pickles():
    for context in LISTED_MODULES[1:]:
        decoders = {"base64", "zlib"}  # of the standard library, which pickles judge whole
        assert modules(context) - decoders <= modules("pickle")


def test_a_module_that_is_reached_by_configurations_counts_for_them():
    assert modules("config-path") <= modules("config")
    assert modules("config-path") <= modules("pickle-path") | {"runpy", "pty", "_posixsubprocess"}


@each("module", sorted(modules("config")))
def test_a_configuration_and_a_pickle_that_import_a_module_are_judged_alike(module):
    assert name_trust(f"{module}.anything") is NameTrust.DANGEROUS
    assert judge(module, "anything", 4).level is Level.DANGEROUS


@each("name", ["system", "popen", "Popen", "exec", "execvp", "fork_exec"])
def test_names_that_start_programs_count_in_every_context(name):
    for context in ("config", "keras", "bytecode"):
        assert name in names(context)


def test_functions_are_matched_by_their_whole_name():
    spawn = functions("spawn")
    assert spawn.match("os.system")
    assert spawn.match("subprocess.Popen")
    assert not spawn.match("os.systematic")
    assert not spawn.match("my.os.system")
    assert functions("spawn", "load").match("pickle.loads")
    assert all(functions(kind) for kind in table().functions)
    assert all(prefixes(context) for context in table().prefixes)


def listed(tree: ast.Module, known: frozenset[str]) -> list[tuple[int, set[str]]]:
    """Return the literals that list dangerous modules: collections of texts, and patterns."""
    found = []
    for node in ast.walk(tree):
        texts: set[str] = set()
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            texts = {
                item.value
                for item in node.elts
                if isinstance(item, ast.Constant) and isinstance(item.value, str)
            }
        elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            for group in re.findall(r"\(\??:?([\w|]+)\)", text):
                texts |= set(group.split("|"))
        if len(texts & known) > MOST:
            found.append((node.lineno, texts & known))
    return found


def test_a_literal_list_is_found():
    code = (
        'A = ("os", "sys", "pty", "nt", "shutil", "socket")\nB = r"^(os|sys|pty|nt|imp|runpy)[.]"'
    )
    lines = [line for line, _ in listed(ast.parse(code), modules("config"))]
    assert lines == [1, 2]


def test_only_the_data_file_lists_dangerous_modules():
    known = modules("config")
    for path in sorted(ROOM.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        # what has no more such words in all of it has no list of them: parsing takes long
        if sum(name in text for name in known) > MOST:
            assert listed(ast.parse(text), known) == [], path

"""Skips Python modules that contain no word of a judged name, as most modules.

A full name is judged only if its parts are words of the module: names, attributes, imports, or
texts by which something is looked up. If no judged name can be formed from them, the module is not
walked again.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Final, NamedTuple

from agents.checks.artifacts.dangerous_names import modules, table
from agents.checks.artifacts.python.module_facts import ModuleFacts
from agents.checks.artifacts.python.names import lookup_arguments
from agents.checks.artifacts.python.shell_commands import is_piped_to_a_shell
from agents.checks.artifacts.python.spellings import ANY, spellings
from agents.checks.artifacts.python.tree import ModuleTree
from agents.checks.shell.risk import serves_another

JUDGED_KINDS: Final = (
    "spawn", "evaluate", "decode", "network", "load", "native", "hook", "run-file",
)  # fmt: skip
"""Kinds of functions that are judged by their full names, wherever they are called."""
JUDGED_NAMES: Final = (
    r"__import__",
    r"compile",
    r"open",
    r"marshal\.load\w*",
    r"types\.(CodeType|FunctionType)\w*",
    r"sys\.path\.(insert|append)",
    r"sys\.(meta_path|path_hooks)",
    r"pickle\.Unpickler",
    r"site\.addsitedir",
    r"shutil\.rmtree",
    r"os\.removedirs",
    r"socket\.\w+",
)
"""Other full names that are judged, as patterns like those of the data file."""
JUDGED_ENDS: Final = ("methodcaller", "spec_from_file_location", "Path")
"""Possible endings of the last part of a judged name."""
JUDGED_WORDS: Final = frozenset((
    "__subclasses__", "f_builtins", "__globals__", "func_globals", "__code__", "func_code", "recv",
    "write_text", "write_bytes", "rename",
))  # fmt: skip
"""Attributes that are judged on any object."""
_BUILTINS: Final = frozenset(("builtins", "__builtins__", "__builtin__", "__import__"))
"""Modules whose functions are judged by their bare names."""
_HIDING: Final = frozenset(("getattr", "__dict__", "vars"))
"""Functions that look up names which the module does not contain."""
_LOOKING_UP: Final = frozenset((
    "__import__", "import_module", "_gcd_import", "load_module", "resolve_name", "locate", "eval",
    "getattr", "__getattribute__", "getattr_static", "attrgetter", "itemgetter", "__dict__",
    "modules", "globals", "locals", "vars", "dir",
))  # fmt: skip
"""Words of lookups by a text that is an argument."""


class _Parts(NamedTuple):
    """The parts of a full name, as words and pieces of words."""

    words: frozenset[str]
    """Parts that are words."""
    pieces: tuple[str, ...]
    """Substrings, for parts of which only a piece is known."""


class _Judged(NamedTuple):
    """The words without which no full name is judged."""

    together: dict[str, tuple[_Parts, ...]]
    """The parts that a name of several has, by one word of each."""
    alone: frozenset[str]
    """Names of one part."""


def may_be_judged(tree: ModuleTree, facts: ModuleFacts) -> bool:
    """Return whether anything in a module may be judged; False only if nothing can be.

    Args:
        tree: The module.
        facts: What its names mean.
    """
    return _names_judged(tree, facts) or _texts_judged(tree, facts)


def _names_judged(tree: ModuleTree, facts: ModuleFacts) -> bool:
    names = {name.id for name in tree.of(ast.Name)}
    for imported in tree.of(ast.Import):
        names.update(alias.name for alias in imported.names)
    words = names | {attribute.attr for attribute in tree.of(ast.Attribute)}
    for taken in tree.of(ast.ImportFrom):
        words.add(taken.module or "")
        words.update(alias.name for alias in taken.names)
    if _are_judged(names, words):
        return True  # whatever is looked up besides
    texts = set(_keys(tree, facts, words))
    if texts <= words and judged_words().alone.isdisjoint(texts):
        return False
    return _are_judged(names | texts, words | texts)


def _are_judged(names: AbstractSet[str], words: AbstractSet[str]) -> bool:
    """Return whether a name that is judged can be formed.

    Args:
        names: Names that stand alone, and texts by which something is looked up.
        words: These, attributes, and what is imported from modules.
    """
    judged = judged_words()
    if not judged.alone.isdisjoint(names):
        return True
    every = set(words)
    every.update(part for word in words if "." in word for part in word.split("."))
    if "np" in every:
        every.add("numpy")
    every.update([word.lstrip("_") for word in every if word[:1] == "_"])
    if not _BUILTINS.isdisjoint(every):
        every.add("builtins")  # under its real name, not the alias by which it is looked up
    if not (_BUILTINS.isdisjoint(every) or judged.alone.isdisjoint(every)):
        return True
    if not JUDGED_WORDS.isdisjoint(every):
        return True
    if not (_HIDING.isdisjoint(every) or modules("hidden-lookup").isdisjoint(every)):
        return True
    if any(word.endswith(JUDGED_ENDS) for word in every):
        return True
    together = judged.together
    return any(
        parts.words <= every and all(_is_in(piece, every) for piece in parts.pieces)
        for word in every & together.keys()
        for parts in together[word]
    )


def _is_in(piece: str, words: AbstractSet[str]) -> bool:
    return any(piece in word for word in words)


def _keys(tree: ModuleTree, facts: ModuleFacts, words: AbstractSet[str]) -> Iterator[str]:
    """Yield the texts by which the module looks something up."""
    for subscript in tree.of(ast.Subscript):
        key = facts.names.values.value(subscript.slice)
        if isinstance(key, str):
            yield key
    if _LOOKING_UP.isdisjoint(words) and not any(
        word.rpartition(".")[2] in _LOOKING_UP for word in words if "." in word
    ):
        return
    for call in tree.of(ast.Call):
        for argument in lookup_arguments(call):
            text = facts.constant(argument)
            if isinstance(text, str):
                yield text
                yield text.strip().replace(":", ".")


def _texts_judged(tree: ModuleTree, facts: ModuleFacts) -> bool:
    """Return whether the module holds a text that is judged, or gives a call such a command."""
    if any(
        "/dev/tcp/" in constant.value
        for constant in tree.of(ast.Constant)
        if isinstance(constant.value, str)
    ):
        return True
    return any(
        is_piped_to_a_shell(command) or serves_another(command)
        for call in tree.of(ast.Call)
        if (command := facts.command(call))
    )


@cache
def judged_words() -> _Judged:
    """Return the words without which no full name is judged, from the patterns of the names."""
    together: dict[str, list[_Parts]] = {}
    alone: set[str] = set()
    patterns = [pattern for kind in JUDGED_KINDS for pattern in table().functions[kind]]
    for name in spellings((*patterns, *JUDGED_NAMES)):
        if "." not in name and ANY not in name:
            alone.add(name)
            continue
        parts = [part for part in name.split(".") if part]
        words = frozenset(part for part in parts if ANY not in part)
        if not words:
            raise ValueError(f"a judged name without a whole word: {name!r}")
        pieces = [piece for part in parts if ANY in part for piece in part.split(ANY) if piece]
        found = _Parts(words, tuple(dict.fromkeys(pieces)))
        together.setdefault(max(words, key=len), []).append(found)
    return _Judged({word: tuple(sets) for word, sets in together.items()}, frozenset(alone))

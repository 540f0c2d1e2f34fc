"""Resolves the expressions of one module: names, constants, commands, decoded values."""

from __future__ import annotations

import ast
import builtins
import itertools
import re
from collections.abc import Collection, Iterator
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, Final

from agents.checks.artifacts.python.calls import DECODE, NETWORK
from agents.checks.artifacts.python.names import MAX_KEPT, Names
from agents.checks.artifacts.python.tree import ModuleTree

_NO_WORD: Final = re.compile(r"\W")
MAX_VALUE: Final = 1000
"""The most nodes of one value to look at, the outer ones first."""


_TARGETED: Final = (ast.Assign, ast.AnnAssign, ast.NamedExpr)
_LISTS: Final = (ast.List, ast.Tuple)
_SCRIPTED: Final = re.compile(r"-\w{0,4}c$|/[ck]$|-(?:Enc\w*)?Command$|--command$")
"""Options of a shell whose value is a script."""
_GIVING: Final = frozenset((*_TARGETED, ast.withitem, ast.For))
"""Nodes that give a name a value."""
_VERSION_FILES: Final = ("version", "about", "_meta", "__init__")


def _holds_a_version(path: str) -> bool:
    """Return whether a path is of a file that a setup script evaluates to learn its version."""
    stem, dot, end = path.removesuffix("\n").rpartition(".")
    if not dot or end != "py":
        return False
    last = _NO_WORD.split(stem)[-1]
    return any(name in last for name in _VERSION_FILES)


def _names_given(node: ast.AST) -> tuple[set[str], ast.AST] | None:
    """Return the plain names that a node gives a value, and the value."""
    if isinstance(node, _TARGETED):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        value = node.value
    elif isinstance(node, ast.withitem) and node.optional_vars:
        targets, value = [node.optional_vars], node.context_expr
    elif isinstance(node, ast.For):
        targets, value = [node.target], node.iter
    else:
        return None
    plain = {target.id for target in targets if isinstance(target, ast.Name)}
    return None if value is None else (plain, value)


def _is_made_of(value: ast.AST, names: Collection[str]) -> bool:
    """Return whether a value is made from the value of one of some names."""
    return any(
        isinstance(inner, ast.Name) and inner.id in names
        for inner in itertools.islice(ast.walk(value), MAX_VALUE)
    )


@lru_cache(maxsize=8192)  # modules call the same functions
def _yields_taint(name: str) -> bool:
    """Return whether a function, by its full name, returns what it decoded or fetched."""
    return bool(DECODE.match(name) or NETWORK.match(name) or name.endswith(".recv"))


class ModuleFacts:
    """What the names of a module refer to, and which values were decoded, fetched or are files."""

    def __init__(self, tree: ModuleTree) -> None:
        """Learn from a module.

        Args:
            tree: Its syntax tree.
        """
        self._tree = tree
        self.names = Names()
        self._tainted: set[str] = set()
        self._holds_taint: dict[ast.AST, bool] | None = None
        """Of a part of the tree, whether anything in it was decoded or fetched."""
        self._texts: dict[ast.AST | None, str | bytes | None] = {}
        self.names.learn(tree)

    @cached_property
    def _given(self) -> list[tuple[set[str], ast.AST]]:
        """The values that names are given, with those names, in the order of the tree."""
        given = (_names_given(node) for node in self._tree.nodes if type(node) in _GIVING)
        return [pair for pair in given if pair is not None]

    @cached_property
    def _beside(self) -> set[str]:
        """The names of values that derive from the module's location."""
        beside = {"__file__"}
        for _ in range(2):  # a name may be used before the line that gives it the value
            for names, value in self._given:
                if names and _is_made_of(value, beside):
                    beside |= names
        return beside

    def _learn_taint(self) -> dict[ast.AST, bool]:
        """Find the names of what was decoded or fetched; few modules need them."""
        known: dict[ast.AST, bool] = {}
        self._holds_taint = known
        for _ in range(2):  # as above
            for names, value in self._given:
                if not names <= self._tainted and self.is_tainted(value):
                    self._tainted |= names
                    known.clear()
        return known

    def constant(self, node: ast.AST | None) -> str | bytes | None:
        """Return the text that an expression of constants makes, or none."""
        if node not in self._texts:
            self._texts[node] = self.names.values.text(node)
        return self._texts[node]

    def is_beside(self, node: ast.AST) -> bool:
        """Return whether a value derives from the module's location."""
        return _is_made_of(node, self._beside)

    def is_tainted(self, node: ast.AST) -> bool:
        """Return whether a value was decoded or fetched."""
        known = self._learn_taint() if self._holds_taint is None else self._holds_taint
        waiting = [node]
        while waiting:  # each part is read once, however many values it is part of
            part = waiting[-1]
            children = self._tree.children(part)
            unread = [child for child in children if child not in known]
            if unread:
                waiting += unread
                continue
            known[part] = any(known[child] for child in children) or self._taints(part)
            waiting.pop()
        return known[node]

    def _taints(self, node: Any) -> bool:  # noqa: ANN401 -- a node of any kind
        """Return whether a part of the tree, by itself, was decoded or fetched."""
        kind = type(node)
        if kind is ast.Name:
            return node.id in self._tainted
        if kind is not ast.Call:
            return False
        name = self.names.dotted(node.func)
        if _yields_taint(name) if len(name) < MAX_KEPT else _yields_taint.__wrapped__(name):
            return True
        return name.split(".", 1)[0] in self._tainted

    def is_known(self, node: ast.AST) -> bool:
        """Return whether a function belongs to what the module imports, assigns or is given."""
        while isinstance(node, ast.Attribute):
            node = node.value
        if isinstance(node, ast.Name):
            root = node.id
            return (
                root in self.names.assigned or root in self.names.aliases or hasattr(builtins, root)
            )
        return not (isinstance(node, ast.Call) and isinstance(node.func, ast.Call | ast.Subscript))

    def command(self, node: ast.Call) -> str:
        """Return the command that a call is given, with unknown parts left out."""
        words: list[str] = []
        for argument in node.args:
            items = argument.elts if isinstance(argument, _LISTS) else (argument,)
            for item in items:
                if type(item) is ast.Name and item.id not in self.names.values.constants:
                    continue  # as most are
                part = self.constant(item)
                if part is not None:
                    words.append(part if isinstance(part, str) else part.decode("latin-1"))
                elif (
                    isinstance(item, ast.Attribute) and self.names.dotted(item) == "sys.executable"
                ):
                    words.append("python")
        for keyword in node.keywords:
            if keyword.arg in ("args", "cmd", "command", "bash_command", "commands", "create"):
                part = self.constant(keyword.value)
                words.append(part if isinstance(part, str) else "")
        return " ".join(words)

    def scripts(self, node: ast.Call) -> Iterator[str]:
        """Yield the texts that a list of arguments gives to a shell: `["bash", "-c", text]`."""
        for argument in node.args:
            if not isinstance(argument, _LISTS):
                continue
            words = [self.constant(item) for item in argument.elts]
            for option, text in pairwise(words):
                if isinstance(option, str) and isinstance(text, str) and _SCRIPTED.match(option):
                    yield text

    def is_assembled(self, node: ast.AST) -> bool:
        """Return whether a value is assembled by functions that make text of other values."""
        return any(
            isinstance(inner, ast.Call)
            and self.names.dotted(inner.func)
            in ("chr", "getattr", "map", "bytes", "open.read", "ord")
            for inner in ast.walk(node)
        ) and not any(
            isinstance(inner, ast.Constant) and _holds_a_version(str(inner.value))
            for inner in ast.walk(node)
        )

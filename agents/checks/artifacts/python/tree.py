"""Goes through the syntax tree of Python source, past the parts that hold nothing."""

from __future__ import annotations

import ast
from typing import Final

_LEAVES: Final = frozenset(
    ("asname", "attr", "conversion", "ctx", "id", "is_async", "kind", "level", "lineno", "module",
     "op", "ops", "rest", "simple", "tag", "type_comment")
)  # fmt: skip
"""Fields that hold names, numbers, or operators and contexts, which are nodes without content."""
_FIELDS: Final[dict[type[ast.AST], tuple[str, ...]]] = {}
"""The other fields of each kind of node that was met."""


class Tree:
    """The tree of a module, gone through once."""

    def __init__(self, root: ast.Module) -> None:
        """Go through a module.

        Args:
            root: The module.
        """
        self.root = root
        self.nodes: list[ast.AST] = [root]
        """Every node but operators and contexts, the outer ones first."""
        self._within: dict[int, list[ast.AST]] = {}
        for node in self.nodes:
            inner = self._within[id(node)] = _children(node)
            self.nodes += inner

    def children(self, node: ast.AST) -> list[ast.AST]:
        """Return the nodes directly within one of the tree's, but for operators and contexts."""
        known = self._within.get(id(node))
        return _children(node) if known is None else known  # a node that was made is not the tree's


def _children(node: ast.AST) -> list[ast.AST]:
    kind = type(node)
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
    found: list[ast.AST] = []
    for name in fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            found.append(value)
        elif type(value) is list:
            found += [item for item in value if isinstance(item, ast.AST)]
    return found

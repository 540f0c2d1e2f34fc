"""Walks the syntax tree of Python source, without the parts that hold nothing."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Final, TypeVar, cast

_Kind = TypeVar("_Kind", bound=ast.AST)

_LEAVES: Final = frozenset(
    ("arg", "asname", "attr", "conversion", "ctx", "id", "is_async", "kind", "kwd_attrs", "level",
     "lineno", "module", "op", "ops", "rest", "simple", "tag", "type_comment")
)  # fmt: skip
"""Fields that hold names, numbers, or operators and contexts, which are nodes without content."""
_MIXED: Final = frozenset(("keys", "kw_defaults", "name", "names", "value"))
"""Fields whose content may be something other than nodes: gaps, names, values."""
EMPTY: Final = frozenset((ast.Name, ast.Constant, ast.alias))
"""Kinds of nodes, half of all, that contain no other node."""
_FIELDS: Final[dict[type[ast.AST], tuple[str, ...]]] = {}
"""The other fields of each kind of node that was met."""


class ModuleTree:
    """The tree of a module, walked once."""

    def __init__(self, root: ast.Module) -> None:
        """Walk a module.

        Args:
            root: The module.
        """
        self.root = root
        self.nodes: list[ast.AST] = [root]
        """Every node but operators and contexts, the outer ones first."""
        self._within: dict[ast.AST, list[ast.AST]] = {}
        self._kinds: dict[type[ast.AST], list[ast.AST]] = {}
        nodes, within, kinds = self.nodes, self._within, self._kinds
        for node in nodes:
            kind = type(node)
            known = kinds.get(kind)
            if known is None:
                kinds[kind] = [node]
            else:
                known.append(node)
            if kind not in EMPTY:
                within[node] = inner = _children(node)
                nodes += inner

    def of(self, kind: type[_Kind]) -> Sequence[_Kind]:
        """Return the nodes of one kind, in their order."""
        return cast("Sequence[_Kind]", self._kinds.get(kind, ()))

    def children(self, node: ast.AST) -> list[ast.AST]:
        """Return the nodes directly within one of the tree's, but for operators and contexts."""
        known = self._within.get(node)
        return _children(node) if known is None else known  # made-up nodes are not in the tree


def _children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes directly within a node, but for operators and contexts."""
    if isinstance(node, ast.Attribute):  # each of these as below, for the most common kinds
        return [node.value]
    if isinstance(node, ast.Call):
        return [node.func, *node.args, *node.keywords]
    kind = type(node)
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
    found: list[ast.AST] = []
    for name in fields:
        value = getattr(node, name, None)
        if value is None:
            continue
        if type(value) is list:
            found += (
                [item for item in value if isinstance(item, ast.AST)] if name in _MIXED else value
            )
        elif name not in _MIXED or isinstance(value, ast.AST):
            found.append(value)
    return found

"""Walks the syntax tree of Python source, without the parts that hold nothing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

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
        self.imports: list[ast.Import | ast.ImportFrom] = []
        """The imports, in their order."""
        self.functions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
        """The functions with a name, in their order."""
        self._kinds: defaultdict[type[ast.AST], list[Any]] = defaultdict(list)
        self._kinds[ast.Import] = self._kinds[ast.ImportFrom] = self.imports
        self._kinds[ast.FunctionDef] = self._kinds[ast.AsyncFunctionDef] = self.functions
        nodes, within, kinds, known = self.nodes, self._within, self._kinds, _KNOWN
        for node in nodes:
            kind = type(node)
            kinds[kind].append(node)
            if kind in EMPTY:
                continue
            find = known.get(kind, _children_of_any)
            within[node] = inner = find(node)
            nodes += inner

    def of(self, kind: type[_Kind]) -> Sequence[_Kind]:
        """Return the nodes of one kind, in their order."""
        found = self._kinds.get(kind, ())
        if found is self.imports or found is self.functions:
            return [node for node in found if isinstance(node, kind)]
        return cast("Sequence[_Kind]", found)

    def children(self, node: ast.AST) -> list[ast.AST]:
        """Return the nodes directly within one of the tree's, but for operators and contexts."""
        known = self._within.get(node)
        return _children(node) if known is None else known  # made-up nodes are not in the tree


def _children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes directly within a node, but for operators and contexts."""
    return _KNOWN.get(type(node), _children_of_any)(node)


def _children_of_any(node: ast.AST) -> list[ast.AST]:
    """Return the nodes within a node of a kind without a way of its own."""
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


def _of_arguments(node: ast.arguments) -> list[ast.AST]:
    found: list[ast.AST] = [*node.posonlyargs, *node.args]
    if node.vararg is not None:
        found.append(node.vararg)
    if node.kwonlyargs:
        found += node.kwonlyargs
        found += [default for default in node.kw_defaults if default is not None]
    if node.kwarg is not None:
        found.append(node.kwarg)
    found += node.defaults
    return found


def _optional(part: ast.AST | None) -> list[ast.AST]:
    return [] if part is None else [part]


_KNOWN: Final[dict[type[ast.AST], Callable[[Any], list[ast.AST]]]] = {
    ast.Attribute: lambda node: [node.value],
    ast.Call: lambda node: [node.func, *node.args, *node.keywords],
    ast.Assign: lambda node: [*node.targets, node.value],
    ast.arg: lambda node: _optional(node.annotation),
    ast.Expr: lambda node: [node.value],
    ast.Tuple: lambda node: node.elts,
    ast.List: lambda node: node.elts,
    ast.Subscript: lambda node: [node.value, node.slice],
    ast.If: lambda node: [node.test, *node.body, *node.orelse],
    ast.arguments: _of_arguments,
    ast.keyword: lambda node: [node.value],
    ast.Compare: lambda node: [node.left, *node.comparators],
    ast.Return: lambda node: _optional(node.value),
    ast.BinOp: lambda node: [node.left, node.right],
    ast.Import: lambda node: node.names,
    ast.ImportFrom: lambda node: node.names,
    ast.UnaryOp: lambda node: [node.operand],
    ast.BoolOp: lambda node: node.values,
    ast.JoinedStr: lambda node: node.values,
}
"""The ways of the kinds that are most, each equal to that of any other kind, and sooner."""

"""Determines when each node of a Python module runs, and which only name things."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Final, NamedTuple, cast

from agents.checks.artifacts.python.tree import EMPTY, ModuleTree

IMPORTED, METHOD, FUNCTION, MAIN = "on import", "in a method", "in a function", "as a script"
_FUNCTIONS: Final = frozenset((ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_NAMED_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_REFERENCES: Final = (ast.Name, ast.Attribute)


class Placement:
    """When each node of a module runs.

    Nodes of one function body run together. The bodies are found once; when they run is
    computed again as more functions turn out to be called by importing the module.
    """

    def __init__(self, tree: ModuleTree, nodes: Collection[ast.AST]) -> None:
        """Find the bodies of a module.

        Args:
            tree: The module's tree.
            nodes: Those to return; a set.
        """
        self._bodies = [_Body(-1, "", guarded=False, in_class=False)]
        self._nodes: list[tuple[ast.AST, int]] = []
        self._find(tree, nodes)

    def _find(self, tree: ModuleTree, nodes: Collection[ast.AST]) -> None:
        found, bodies, children = self._nodes, self._bodies, tree.children
        of_class: set[ast.AST] = set()
        """Functions, and main guards with such, that are directly within a class."""
        stack: list[ast.AST | int] = [tree.root]
        body = 0
        while stack:
            node = stack.pop()
            kind = type(node)
            if kind is int:  # all of the inner body is done
                body = cast("int", node)
                continue
            if node in nodes:
                found.append((cast("ast.AST", node), body))
            if kind in EMPTY:
                continue
            if kind in _FUNCTIONS:
                function = cast("_Function", node)
                stack += getattr(function, "decorator_list", ())
                stack += function.args.defaults
                stack += [given for given in function.args.kw_defaults if given is not None]
                if isinstance(function, ast.Lambda):
                    stack.append(function.body)
                    continue
                bodies.append(
                    _Body(body, function.name, guarded=False, in_class=function in of_class)
                )
                stack.append(body)
                stack += function.body
                body = len(bodies) - 1
            elif kind is ast.If and _is_main_guard(cast("ast.If", node).test):
                guarded = cast("ast.If", node)
                bodies.append(_Body(body, "", guarded=True, in_class=False))
                # what is pushed last is gone through first
                inner = len(bodies) - 1
                stack += [body, *guarded.body, inner, *guarded.orelse]
                if guarded in of_class:
                    of_class.update(guarded.orelse)
            else:
                within = children(cast("ast.AST", node))
                stack += within
                if kind is ast.ClassDef:
                    of_class.update(within)

    def nodes(self, called_on_import: Collection[str]) -> list[tuple[ast.AST, str]]:
        """Return the nodes, with when each runs.

        Args:
            called_on_import: Names of functions of the module that importing it calls.
        """
        when = self._when(called_on_import)
        return [(node, when[body]) for node, body in self._nodes]

    def imported_calls(self, called_on_import: Collection[str]) -> list[ast.Call]:
        """Return the calls that run on import.

        Args:
            called_on_import: As above.
        """
        when = self._when(called_on_import)
        return [node for node, body in self._calls if when[body] == IMPORTED]

    @cached_property
    def _calls(self) -> list[tuple[ast.Call, int]]:
        return [(node, body) for node, body in self._nodes if isinstance(node, ast.Call)]

    def _when(self, called_on_import: Collection[str]) -> list[str]:
        """Return when each body runs."""
        when: list[str] = []
        for body in self._bodies:
            around = when[body.around] if body.around >= 0 else IMPORTED
            if body.around < 0:
                when.append(IMPORTED)
            elif body.guarded or around == MAIN:
                when.append(MAIN)
            elif body.name in called_on_import:
                when.append(IMPORTED)
            else:
                when.append(METHOD if body.in_class or around == METHOD else FUNCTION)
        return when


class _Body(NamedTuple):
    """Statements that run together: of the module, of a function, or behind a main guard."""

    around: int
    """Which body it is in; negative for the module itself."""
    name: str
    guarded: bool
    in_class: bool


def passed_over(nodes: Sequence[ast.AST]) -> set[ast.AST]:
    """Return the nodes that use no function as a value: calls, annotations, bases, aliases."""
    found: set[ast.AST] = set()
    shared = {
        statement for node in nodes if isinstance(node, ast.ClassDef) for statement in node.body
    }
    for node in nodes:
        skipped: list[ast.AST | None]
        if isinstance(node, ast.Call):
            skipped = [node.func]
            if isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "issubclass"):
                skipped += node.args
            skipped += [keyword.value for keyword in node.keywords if keyword.arg == "type"]
        elif isinstance(node, ast.Attribute):
            skipped = [node.value]
        elif isinstance(node, ast.ClassDef):
            skipped = [*node.bases]
        elif isinstance(node, ast.AnnAssign):
            skipped = [node.annotation, *ast.walk(node.annotation)]
        elif isinstance(node, ast.arg) and node.annotation:
            skipped = [*ast.walk(node.annotation)]
        elif isinstance(node, _NAMED_FUNCTIONS) and node.returns:
            skipped = [*ast.walk(node.returns)]
        elif isinstance(node, ast.Assign) and isinstance(node.value, _REFERENCES):
            plain = all(isinstance(target, ast.Name) for target in node.targets)
            if not plain or node in shared:
                continue
            skipped = [node.value]  # an alias, which is followed
        else:
            continue
        found.update(child for child in skipped if child is not None)
    return found


def _is_main_guard(test: ast.expr) -> bool:
    """Return whether a condition holds only for the program itself, whatever else it requires."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(isinstance(part, ast.Compare) and _is_main_guard(part) for part in test.values)
    if not isinstance(test, ast.Compare) or [type(operator) for operator in test.ops] != [ast.Eq]:
        return False
    sides = (test.left, test.comparators[0])
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides) and any(
        isinstance(side, ast.Constant) and side.value == "__main__" for side in sides
    )

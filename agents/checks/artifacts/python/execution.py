"""Determines when each node of a Python module runs, and which only name things."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from agents.checks.artifacts.python.tree import EMPTY, ModuleTree

IMPORTED, METHOD, FUNCTION, MAIN = "on import", "in a method", "in a function", "as a script"
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_NAMED_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_REFERENCES: Final = (ast.Name, ast.Attribute)


class Placement:
    """When each node of a module runs.

    Nodes of one function body run together. The bodies are found once; when they run is
    computed again as more functions turn out to be called by importing the module.
    """

    def __init__(self, tree: ModuleTree, kinds: Collection[type[ast.AST]]) -> None:
        """Find the bodies of a module.

        Args:
            tree: The module's tree.
            kinds: Kinds of nodes to return.
        """
        self._bodies = [_Body(-1, "", guarded=False, in_class=False)]
        self._nodes: list[tuple[ast.AST, int]] = []
        self._find(tree, kinds)

    def _find(self, tree: ModuleTree, kinds: Collection[type[ast.AST]]) -> None:
        found, bodies, children = self._nodes, self._bodies, tree.children
        stack: list[tuple[ast.AST, int, bool]] = [(tree.root, 0, False)]
        while stack:
            node, body, in_class = stack.pop()
            kind = type(node)
            if kind in kinds:
                found.append((node, body))
            if kind in EMPTY:
                continue
            if isinstance(node, _FUNCTIONS):
                outer = [
                    *getattr(node, "decorator_list", []),
                    *node.args.defaults,
                    *(default for default in node.args.kw_defaults if default is not None),
                ]
                stack += [(child, body, False) for child in outer]
                if isinstance(node, ast.Lambda):
                    stack.append((node.body, body, False))
                else:
                    bodies.append(_Body(body, node.name, guarded=False, in_class=in_class))
                    stack += [(child, len(bodies) - 1, False) for child in node.body]
            elif isinstance(node, ast.If) and _is_main_guard(node.test):
                bodies.append(_Body(body, "", guarded=True, in_class=False))
                stack += [(child, len(bodies) - 1, False) for child in node.body]
                stack += [(child, body, in_class) for child in node.orelse]
            else:
                is_class = kind is ast.ClassDef
                stack += [(child, body, is_class) for child in children(node)]

    def nodes(self, called_on_import: Collection[str]) -> list[tuple[ast.AST, str]]:
        """Return the nodes, with when each runs.

        Args:
            called_on_import: Names of functions of the module that importing it calls.
        """
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
        return [(node, when[body]) for node, body in self._nodes]


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
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and isinstance(test.ops[0], ast.Eq)
    )

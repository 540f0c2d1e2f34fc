"""Tells when each node of a Python module runs, and which only name what they mention."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Final

from agents.checks.artifacts.python.tree import Tree

IMPORTED, METHOD, FUNCTION, MAIN = "on import", "in a method", "in a function", "as a script"
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_NAMED_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_REFERENCES: Final = (ast.Name, ast.Attribute)


def placed(tree: Tree, called_on_import: set[str]) -> Iterator[tuple[ast.AST, str]]:
    """Yield every node with when it runs.

    Args:
        tree: Of a module.
        called_on_import: Names of functions of the module that importing it calls.
    """
    stack: list[tuple[ast.AST, str, bool]] = [(tree.root, IMPORTED, False)]
    while stack:
        node, where, in_class = stack.pop()
        yield node, where
        if isinstance(node, _FUNCTIONS):
            name = getattr(node, "name", "")
            inner = METHOD if in_class else FUNCTION
            if isinstance(node, ast.Lambda):
                inner = where
            if where == MAIN:
                inner = MAIN
            elif name in called_on_import:
                inner = IMPORTED
            elif where == METHOD:
                inner = METHOD
            outer = [
                *getattr(node, "decorator_list", []),
                *node.args.defaults,
                *(default for default in node.args.kw_defaults if default is not None),
            ]
            stack.extend((child, where, False) for child in outer)
            body = [node.body] if isinstance(node, ast.Lambda) else node.body
            stack.extend((child, inner, False) for child in body)
            continue
        if isinstance(node, ast.If) and _is_main_guard(node.test):
            stack.extend((child, MAIN, False) for child in node.body)
            stack.extend((child, where, in_class) for child in node.orelse)
            continue
        is_class = isinstance(node, ast.ClassDef)
        stack += [(child, where, is_class) for child in tree.children(node)]


def passed_over(nodes: Sequence[ast.AST]) -> set[int]:
    """Return ids of nodes that use no function as a value: calls, annotations, bases, aliases."""
    found: set[int] = set()
    shared = {
        id(statement) for node in nodes if isinstance(node, ast.ClassDef) for statement in node.body
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
            if not plain or id(node) in shared:
                continue
            skipped = [node.value]  # an alias, which is followed
        else:
            continue
        found.update(id(child) for child in skipped if child is not None)
    return found


def _is_main_guard(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and isinstance(test.ops[0], ast.Eq)
    )

"""Values that a Python program writes out: texts and lists of them, found without running it."""

from __future__ import annotations

import ast
from typing import Final

from agents.checks.artifacts.python.syntax import parse_source
from streams.adapters.payload import refuse

_MAX_DEPTH: Final = 20
_STEPS: Final = 200_000
"""Expressions of a program that are looked at, each time that a name leads to them."""
_STEP: Final = 64
"""Characters of a text that count as one more."""
_UNKNOWN: Final = "$computed"
"""Stands for a part of a text that is not written out, as a shell's variable does."""


class AssignedNames(dict[str, ast.expr]):
    """What a module assigns to its names, each once; and how many more steps are taken in it.

    Names that name others several times stand for texts of any length.
    """

    steps: int = _STEPS

    def spent(self, amount: int) -> bool:
        """Take steps, and return whether none were left."""
        self.steps -= amount
        return self.steps < 0


def parsed(raw: bytes, name: str) -> ast.Module:
    """Return the syntax tree of a program.

    Args:
        raw: The program.
        name: The file's usual name, for the error.

    Raises:
        UnreadableRecordError: it is no Python.
    """
    try:
        return parse_source(raw.decode("utf-8-sig"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise refuse(f"not {name}: no Python ({type(error).__name__})") from error


def assigned(tree: ast.Module) -> AssignedNames:
    """Return the values of the names that the module assigns exactly once and never changes."""
    values: dict[str, ast.expr] = {}
    changed: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        elif isinstance(node, ast.AugAssign):
            targets, value = [node.target], None
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            targets, value = [node.func.value], None  # such as names.append(…)
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Subscript):
                target, value = target.value, None  # noqa: PLW2901 -- the name that is changed
            if not isinstance(target, ast.Name):
                continue
            if value is None or target.id in values:
                changed.add(target.id)
            else:
                values[target.id] = value
    return AssignedNames({name: value for name, value in values.items() if name not in changed})


def text_of(node: ast.expr, names: AssignedNames, depth: int = 0) -> str | None:
    """Return the text of an expression, None if it is not written out or takes too many steps.

    A part of an f-string that is not written out stands as a shell's variable would.

    Args:
        node: The expression.
        names: The values of names.
        depth: How many names and operators lead here.
    """
    if depth > _MAX_DEPTH or names.spent(1):
        return None
    if isinstance(node, ast.Constant):
        text = node.value
        return text if isinstance(text, str) and not names.spent(len(text) // _STEP) else None
    if isinstance(node, ast.Name) and node.id in names:
        return text_of(names[node.id], names, depth + 1)
    if isinstance(node, ast.JoinedStr):
        parts = [
            text_of(part.value if isinstance(part, ast.FormattedValue) else part, names, depth + 1)
            for part in node.values
        ]
        return "".join(_UNKNOWN if part is None else part for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = (text_of(side, names, depth + 1) for side in (node.left, node.right))
        return None if left is None or right is None else left + right
    return None


def texts_of(node: ast.expr, names: AssignedNames, depth: int = 0) -> list[str] | None:
    """Return the texts of a list, or of one text; None as `text_of` does.

    Args:
        node: The expression.
        names: The values of names.
        depth: How many names and operators lead here.
    """
    if depth > _MAX_DEPTH or names.spent(1):
        return None
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        found: list[str] = []
        for item in node.elts:
            value = item.value if isinstance(item, ast.Starred) else item
            inner = texts_of(value, names, depth + 1)
            if inner is None or (value is item and isinstance(item, ast.List | ast.Tuple)):
                return None
            found += inner
        return found
    if isinstance(node, ast.Name) and node.id in names:
        return texts_of(names[node.id], names, depth + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = (texts_of(side, names, depth + 1) for side in (node.left, node.right))
        if left is not None and right is not None:
            return left + right
    text = text_of(node, names, depth + 1)
    return None if text is None else [text]

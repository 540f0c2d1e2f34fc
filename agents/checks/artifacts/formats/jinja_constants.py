"""Evaluates the constant expressions of a Jinja syntax tree within bounds; nothing is rendered."""
# ruff: noqa: PLR2004 -- bounds are given where they are used

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from jinja2 import nodes

MAX_FOLDED: Final = 4096
"""Characters of a constant that is assembled from parts."""
MAX_VALUES: Final = 32
"""The most values of one name or expression; the rest is left out."""
MAX_FOLD_DEPTH: Final = 120
_Value = TypeVar("_Value")


def range_length(node: nodes.Node) -> int:
    """Return how many values a `range` of constants has, 0 for anything else."""
    if not (isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name)):
        return 0
    if node.node.name != "range":
        return 0
    bounds = [integer(argument) for argument in node.args]
    if not bounds or any(bound is None for bound in bounds):
        return 0
    try:
        return _length(range(*[bound for bound in bounds if bound is not None][:3]))
    except ValueError:
        return 0


def _length(values: range) -> int:
    if not values.step or (values.stop - values.start) * values.step <= 0:
        return 0
    return abs(values.stop - values.start) // abs(values.step)


def integer(node: nodes.Node) -> int | None:
    """Return the integer that a constant expression evaluates to, None for anything else."""
    if isinstance(node, nodes.Const) and isinstance(node.value, int):
        return node.value
    if isinstance(node, nodes.Neg):
        inner = integer(node.node)
        return None if inner is None else -inner
    if isinstance(node, nodes.Pow | nodes.Mul):
        left, right = integer(node.left), integer(node.right)
        if left is None or right is None:
            return None
        if isinstance(node, nodes.Mul):
            return left * right
        if abs(right) > 64 or abs(left) > 1 << 32:
            return 1 << 62
        return int(left**right) if right >= 0 else 0
    return None


def is_built(node: nodes.Node) -> bool:
    """Return whether an expression assembles a string that may begin with an underscore."""
    sums: list[nodes.Node] = []
    first = node
    while isinstance(first, nodes.Concat | nodes.Add):
        sums.append(first)
        first = first.nodes[0] if isinstance(first, nodes.Concat) else first.left
    if sums and isinstance(first, nodes.Const) and str(first.value)[:1] not in ("", "_"):
        return False  # every sum begins with it
    for part in sums:
        if isinstance(part, nodes.Concat):
            return True
        assert isinstance(part, nodes.Add)
        sides = (part.left, part.right)
        if any(isinstance(side, nodes.Const) and isinstance(side.value, str) for side in sides):
            return True
        if is_built(part.right):
            return True
    if isinstance(first, nodes.Filter):
        return first.name in ("join", "format", "replace", "reverse", "urlencode", "string", "list")
    if isinstance(first, nodes.Mod):
        return isinstance(first.left, nodes.Const) and isinstance(first.left.value, str)
    return False


class ConstantFolding:
    """The possible values of a template's expressions, from constants and known names."""

    def __init__(self, known: dict[str, list[str]], effort: int) -> None:
        """Start with the known texts of names, which may grow until `settle`.

        Args:
            known: Texts that names may hold.
            effort: The most characters to assemble; beyond that, nothing more is followed.
        """
        self._known = known
        self._effort = effort
        self._settled: dict[int, list[object]] = {}
        self.cut = False
        """Whether an expression has more values than are followed."""

    @property
    def exhausted(self) -> bool:
        """Whether the effort ran out before everything was followed."""
        return self._effort < 0

    def settle(self, all_nodes: Sequence[nodes.Node]) -> None:
        """Fold each node once, inner nodes first.

        Args:
            all_nodes: The template's nodes, outer before inner.
        """
        for node in reversed(all_nodes):
            if isinstance(node, nodes.Expr | nodes.TemplateData):
                self._settled[id(node)] = self._results(node, 0)

    def texts(self, node: nodes.Node | None) -> list[str]:
        """Return the strings that an expression may evaluate to."""
        if node is None:
            return []
        return [
            value
            for value in self._each(node, 0)
            if isinstance(value, str) and len(value) <= MAX_FOLDED
        ]

    def _each(self, node: nodes.Node | None, depth: int) -> list[object]:
        if node is None or depth > MAX_FOLD_DEPTH:
            return []
        known = self._settled.get(id(node))
        return self._results(node, depth) if known is None else known

    def _results(self, node: nodes.Node, depth: int) -> list[object]:
        if self._effort < 0:
            return []
        results: list[object] = []
        try:
            for value in self._first(self._fold(node, depth)):
                self._effort -= 1 + (len(value) if isinstance(value, str | list) else 0)
                results.append(value)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError):
            return results  # the template engine would refuse it too
        return results

    def _first(self, values: Iterator[_Value]) -> Iterator[_Value]:
        yield from itertools.islice(values, MAX_VALUES)
        if next(values, None) is not None:
            self.cut = True

    def _fold(self, node: nodes.Node, depth: int) -> Iterator[object]:
        """Yield the possible values of an expression: strings, numbers and lists of strings."""

        def each(inner: nodes.Node | None) -> list[object]:
            return self._each(inner, depth + 1)

        if isinstance(node, nodes.Const):
            yield node.value
        elif isinstance(node, nodes.TemplateData):
            yield node.data
        elif isinstance(node, nodes.Name):
            yield from self._known.get(node.name, [])
        elif isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
            yield from self._known.get(
                node.attr, []
            )  # namespace(part="...") is remembered by its key
        elif isinstance(node, nodes.List | nodes.Tuple):
            parts = [each(item) for item in node.items]
            if parts and all(parts):
                yield [part[0] for part in parts]
        elif isinstance(node, nodes.Concat):
            parts = [each(item) for item in node.nodes]
            for chosen in self._first(itertools.product(*parts)):
                yield "".join(str(part) for part in chosen)[: MAX_FOLDED + 1]
        elif isinstance(node, nodes.Add | nodes.Mod | nodes.Mul):
            for left, right in itertools.product(each(node.left), each(node.right)):
                yield from _operate(node, left, right)
        elif isinstance(node, nodes.CondExpr):
            yield from each(node.expr1)
            yield from each(node.expr2)
        elif isinstance(node, nodes.Getitem):
            yield from _subscript(node, each)
        elif isinstance(node, nodes.Filter) and node.node is not None:
            arguments = [each(argument) for argument in node.args]
            if all(arguments):
                for value in each(node.node):
                    yield from _apply(node.name, value, [argument[0] for argument in arguments])
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
            arguments = [each(argument) for argument in node.args]
            if all(arguments):
                for value in each(node.node.node):
                    yield from _apply(node.node.attr, value, [a[0] for a in arguments], method=True)


def _operate(node: nodes.BinExpr, left: object, right: object) -> Iterator[object]:
    if isinstance(node, nodes.Add):
        if isinstance(left, str) and isinstance(right, str):
            yield (left + right)[: MAX_FOLDED + 1]
        elif isinstance(left, list) and isinstance(right, list):
            yield (left + right)[:MAX_FOLDED]
    elif isinstance(node, nodes.Mod) and isinstance(left, str):
        yield _percent(left, right if isinstance(right, list) else [right])
    elif isinstance(node, nodes.Mul):
        for text, times in ((left, right), (right, left)):
            if isinstance(text, str) and isinstance(times, int) and 0 <= times <= MAX_FOLDED:
                yield (text * times)[: MAX_FOLDED + 1] if len(text) < MAX_FOLDED else text


def _subscript(
    node: nodes.Getitem, each: Callable[[nodes.Node | None], list[object]]
) -> Iterator[object]:
    if isinstance(node.arg, nodes.Slice):
        start, stop, step = (
            integer(part) if part else None
            for part in (node.arg.start, node.arg.stop, node.arg.step)
        )
        for value in each(node.node):
            if isinstance(value, str | list):
                yield value[start:stop:step]
        return
    index = integer(node.arg)
    for value in each(node.node):
        if index is not None and isinstance(value, str | list):
            yield value[index]


_WIDTH: Final = re.compile(r"%[-+ #0]*(\d{4,}|\*)|\{[^{}]*:\D?\d{4,}")


def _percent(text: str, values: list[object]) -> str:
    if _WIDTH.search(text):
        raise ValueError("a width that fills memory")
    return (text % tuple(values))[: MAX_FOLDED + 1]


def _braces(text: str, values: list[object]) -> str:
    plain = [value for value in values if isinstance(value, str | int)]
    if _WIDTH.search(text) or re.search(r"\{[^{}]*[.\[]", text):
        raise ValueError("a width or an attribute")
    return text.format(*plain)[: MAX_FOLDED + 1]


def _apply(
    name: str, value: object, arguments: list[object], *, method: bool = False
) -> Iterator[object]:
    """Yield the result of a filter or method that builds strings, on a constant."""
    if isinstance(value, list) and name == "join" and not method:
        yield str(arguments[0] if arguments else "").join(str(part) for part in value)
    elif isinstance(value, list) and name in ("first", "last") and value:
        yield value[0 if name == "first" else -1]
    elif isinstance(value, list) and name in ("reverse", "list"):
        yield value[::-1] if name == "reverse" else value
    elif not isinstance(value, str):
        if name == "string":
            yield str(value)
    elif name == "format":
        yield _braces(value, arguments) if method else _percent(value, arguments)
    elif name == "join" and method and arguments and isinstance(arguments[0], list):
        yield value.join(str(part) for part in arguments[0])
    elif name == "join" and not method:
        yield str(arguments[0] if arguments else "").join(value)
    elif name == "replace" and len(arguments) > 1:
        yield value.replace(str(arguments[0]), str(arguments[1]))[: MAX_FOLDED + 1]
    elif name in ("lower", "upper", "title", "capitalize", "strip", "trim", "swapcase"):
        yield getattr(value, "strip" if name == "trim" else name)()
    elif name == "reverse":
        yield value[::-1]
    elif name == "list":
        yield list(value)
    elif name in ("string", "safe", "e", "escape") or (name == "decode" and method):
        yield value

"""Evaluates constant expressions of Python source, without running any of it.

Names that code hides are assembled: joined, reversed, shifted, decoded, by functions of its own.
Only operations on plain values are followed, each within bounds. Over 500 lines, since all steps of
an evaluation share its bounds.
"""
# ruff: noqa: PLR2004 -- bounds and codes of characters are literal where they are used

from __future__ import annotations

import ast
import binascii
import lzma
import operator
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from agents.checks.artifacts.python.builtin_functions import (
    FUNCTIONS,
    MAX_BITS,
    MAX_LENGTH,
    UnfoldableError,
    bounded,
    recode,
    sequence,
)

MAX_STEPS: Final = 20_000
"""Operations of one expression."""
MAX_TOTAL: Final = 1_000_000
"""Operations of one module."""
MAX_CALLS: Final = 8
"""Functions of the source within functions."""
UNKNOWN: Final = object()
"""A value that is unknown until the code runs."""

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
# Compared by identity, since most nodes are of one of them: half as long as `isinstance`.
_NAME: Final = ast.Name
_ATTRIBUTE: Final = ast.Attribute
_SUBSCRIPT: Final = ast.Subscript
_BINARY_OPERATION: Final = ast.BinOp
_CALL: Final = ast.Call
_FAULTS: Final = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, binascii.Error, zlib.error,
    lzma.LZMAError, OSError, EOFError, MemoryError, RecursionError,
)  # fmt: skip
"""Errors of operations on incompatible constants."""
_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.BitXor: operator.xor,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.FloorDiv: operator.floordiv,
    ast.RShift: operator.rshift,
}
_COMPARED: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_METHODS: Final = frozenset(
    [
        "lower",
        "upper",
        "swapcase",
        "title",
        "capitalize",
        "casefold",
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "rsplit",
        "splitlines",
        "partition",
        "rpartition",
        "removeprefix",
        "removesuffix",
        "hex",
        "translate",
        "get",
        "values",
        "keys",
        "items",
        "startswith",
        "endswith",
        "isalpha",
        "isupper",
        "islower",
        "isdigit",
        "isalnum",
        "index",
        "find",
        "count",
        "copy",
        "to_bytes",
    ]
)
_CALLED: Final = frozenset((*FUNCTIONS, "map", "filter"))
"""Full names of the functions that are followed."""
_CALLED_ATTRIBUTES: Final = frozenset((
    *_METHODS, "join", "decode", "encode", "replace", "format",
    *(name.rpartition(".")[2] for name in _CALLED),
    "__call__", "__func__", "__wrapped__",  # parts that no full name has
))  # fmt: skip
"""Last parts of calls that may be followed."""
_SIZED: Final = frozenset((str, bytes, bytearray, list))
"""Kinds of values of which each 256 items are a step."""
_WIDE: Final = re.compile(r"\d{4,}|\*")
"""Widths in a format that would make a text of any length."""


class _Returned(Exception):  # noqa: N818 -- no error: how a followed function gives its value
    """A function gives its value."""

    def __init__(self, value: object) -> None:
        self.value = value


class Values:
    """The constant values of one module's expressions."""

    def __init__(self, dotted: Callable[[ast.AST], str]) -> None:
        """Start empty.

        Args:
            dotted: Gives the full name that an expression refers to, empty when none.
        """
        self.constants: dict[str, Any] = {}
        """By name, or by owner and name."""
        self.functions: dict[str, Function] = {}
        self._dotted = dotted
        self._total = 0
        self._steps = 0
        self._calls = 0

    def value(self, node: ast.AST | None) -> Any:  # noqa: ANN401 -- any plain value
        """Return the value of an expression, or `UNKNOWN`."""
        if node is None or self._total > MAX_TOTAL or self._is_unknown(node):
            return UNKNOWN
        self._steps = 0
        try:
            return self._fold(node, {})
        except (UnfoldableError, *_FAULTS):
            return UNKNOWN
        finally:
            self._total += self._steps

    def _is_unknown(self, node: Any) -> bool:  # noqa: ANN401 -- a node of any kind
        """Return whether an expression is obviously not constant, as most are."""
        kind: type[ast.AST]
        while True:  # by the part that is folded first
            kind = type(node)
            if kind is _NAME:
                return node.id not in self.constants
            if kind is _ATTRIBUTE:
                return not self._is_held(node)
            if kind is _SUBSCRIPT:
                node = node.value
            elif kind is _BINARY_OPERATION:
                node = node.left
            else:
                break
        if kind is _CALL:
            function = node.func
            called = type(function)
            if called is _ATTRIBUTE:
                return function.attr not in _CALLED_ATTRIBUTES
            if called is _NAME:
                return function.id not in self.functions and self._dotted(function) not in _CALLED
            return False
        return kind not in _FOLDS

    def _is_held(self, node: ast.Attribute) -> bool:
        """Return whether an attribute may be of a known value."""
        owner = node.value
        return type(owner) is _NAME and (
            f"self.{node.attr}" in self.constants
            or f"{owner.id}.{node.attr}" in self.constants
            or node.attr == "__doc__"
        )

    def text(self, node: ast.AST | None) -> str | bytes | None:
        """Return the text that an expression evaluates to, or none."""
        found = self.value(node)
        return (
            bytes(found)
            if isinstance(found, bytearray)
            else (found if isinstance(found, str | bytes) else None)
        )

    def follow(self, statement: ast.stmt) -> None:
        """Record the effect of a statement that works on constants only."""
        if self._total > MAX_TOTAL:
            return
        self._steps = 0
        local: dict[str, Any] = {}  # names outside it are looked up among the constants
        try:
            self._run([statement], local)
        except (UnfoldableError, _Returned, *_FAULTS):
            return
        finally:
            self._total += self._steps
        self.constants.update(local)

    # expressions

    def _step(self, count: int = 1) -> None:
        self._steps += count
        if self._steps > MAX_STEPS:
            raise UnfoldableError

    def _fold(self, node: ast.AST, local: dict[str, Any]) -> Any:  # noqa: ANN401 -- any plain value
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise UnfoldableError
        fold = _FOLDS.get(type(node))
        if fold is None:
            raise UnfoldableError
        value = fold(self, node, local)
        kind = type(value)
        if kind in _SIZED:  # the common kinds as `bounded` bounds them
            length = len(value)
            if length >= 256:
                self._step(length >> 8)
                if length > MAX_LENGTH:
                    raise UnfoldableError
            return value
        if kind is int:
            if value.bit_length() > MAX_BITS:
                raise UnfoldableError
            return value
        return value if kind is bool or value is None else bounded(value)

    def _constant(self, node: ast.Constant, _local: dict[str, Any]) -> Any:  # noqa: ANN401
        return node.value

    def _name(self, node: ast.Name, local: dict[str, Any]) -> Any:  # noqa: ANN401
        return self._named(node.id, local)

    def _items(self, node: ast.List | ast.Tuple | ast.Set, local: dict[str, Any]) -> list[Any]:
        if len(node.elts) > MAX_STEPS:
            self._step(MAX_STEPS)  # a step for each at least
        return [self._fold(item, local) for item in node.elts]

    def _table(self, node: ast.Dict, local: dict[str, Any]) -> dict[Any, Any]:
        return {
            self._fold(key, local): self._fold(item, local)
            for key, item in zip(node.keys, node.values, strict=True)
            if key is not None
        }

    def _slice(self, node: ast.Slice, local: dict[str, Any]) -> slice:
        return slice(
            *(
                None if part is None else self._fold(part, local)
                for part in (node.lower, node.upper, node.step)
            )
        )

    def _choice(self, node: ast.IfExp, local: dict[str, Any]) -> Any:  # noqa: ANN401
        return self._fold(node.body if self._fold(node.test, local) else node.orelse, local)

    def _comparison(self, node: ast.Compare, local: dict[str, Any]) -> bool:
        compare = _COMPARED.get(type(node.ops[0])) if len(node.ops) == 1 else None
        if compare is None:
            raise UnfoldableError
        return compare(self._fold(node.left, local), self._fold(node.comparators[0], local))

    def _inner(self, node: ast.NamedExpr | ast.Starred, local: dict[str, Any]) -> Any:  # noqa: ANN401
        return self._fold(node.value, local)

    def _named(self, name: str, local: dict[str, Any]) -> Any:  # noqa: ANN401
        if name in local:
            return local[name]
        if name in self.constants:
            return self.constants[name]
        raise UnfoldableError

    def _attribute(self, node: ast.Attribute, _local: dict[str, Any]) -> Any:  # noqa: ANN401
        if isinstance(node.value, ast.Name):
            for key in (f"{node.value.id}.{node.attr}", f"self.{node.attr}"):
                if key in self.constants:
                    return self.constants[key]
        if node.attr == "__doc__" and isinstance(node.value, ast.Name):
            function = self.functions.get(node.value.id)
            if function is not None and not isinstance(function, ast.Lambda):
                return ast.get_docstring(function) or ""
        raise UnfoldableError

    def _joined(self, node: ast.JoinedStr, local: dict[str, Any]) -> str:
        if len(node.values) > MAX_STEPS:
            raise UnfoldableError
        return "".join(self._part(part, local) for part in node.values)

    def _part(self, part: ast.expr, local: dict[str, Any]) -> str:
        """Return a part of a formatted text, with NUL for unknown values."""
        try:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            return str(self._fold(inner, local))
        except (UnfoldableError, *_FAULTS):
            return "\x00"

    def _binary(self, node: ast.BinOp, local: dict[str, Any]) -> Any:  # noqa: ANN401
        left, right = self._fold(node.left, local), self._fold(node.right, local)
        kind = type(node.op)
        if kind is ast.Mult:
            sizes = [side for side in (left, right) if isinstance(side, int)]
            length = max(
                (len(side) for side in (left, right) if hasattr(side, "__len__")), default=1
            )
            if len(sizes) == 1 and sizes[0] * length > MAX_LENGTH:
                raise UnfoldableError
            return left * right
        if kind is ast.Mod:
            if isinstance(left, str | bytes):
                shown = left if isinstance(left, str) else left.decode("latin-1")
                if _WIDE.search(shown):
                    raise UnfoldableError
                right = tuple(right) if isinstance(right, list) else right
            return left % right
        if kind is ast.LShift:
            if right > 64:
                raise UnfoldableError
            return left << right
        operation = _BINARY.get(kind)
        if operation is None:
            raise UnfoldableError
        return operation(left, right)

    def _unary(self, node: ast.UnaryOp, local: dict[str, Any]) -> Any:  # noqa: ANN401
        value = self._fold(node.operand, local)
        if isinstance(node.op, ast.Not):
            return not value
        if isinstance(node.op, ast.USub):
            return -value
        return ~value if isinstance(node.op, ast.Invert) else +value

    def _item(self, node: ast.Subscript, local: dict[str, Any]) -> Any:  # noqa: ANN401
        whole = self._fold(node.value, local)
        key = self._fold(node.slice, local)
        if isinstance(whole, str | bytes | bytearray | list | tuple | dict):
            return whole[key]
        raise UnfoldableError

    def _comprehension(
        self,
        node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp,
        local: dict[str, Any],
    ) -> Any:  # noqa: ANN401
        scopes = [local]
        for generator in node.generators:
            inner: list[dict[str, Any]] = []
            for scope in scopes:
                for item in sequence(self._fold(generator.iter, scope)):
                    self._step()
                    bound = dict(scope) if len(scope) < 100 else scope
                    self._bind(generator.target, item, bound)
                    if all(self._fold(test, bound) for test in generator.ifs):
                        inner.append(bound)
            scopes = inner
        if isinstance(node, ast.DictComp):
            return {self._fold(node.key, s): self._fold(node.value, s) for s in scopes}
        return [self._fold(node.elt, scope) for scope in scopes]

    def _bind(self, target: ast.expr, item: Any, local: dict[str, Any]) -> None:  # noqa: ANN401
        if isinstance(target, ast.Name):
            local[target.id] = item
        elif isinstance(target, ast.Tuple | ast.List):
            for name, part in zip(target.elts, sequence(item), strict=True):
                self._bind(name, part, local)
        else:
            raise UnfoldableError

    # calls

    def _call(self, node: ast.Call, local: dict[str, Any]) -> Any:  # noqa: ANN401
        function = node.func
        if isinstance(function, ast.Lambda):
            return self._enter(function, [self._fold(argument, local) for argument in node.args])
        if isinstance(function, ast.Name) and function.id in self.functions:
            return self._enter(
                self.functions[function.id], [self._fold(argument, local) for argument in node.args]
            )
        name = self._dotted(function)
        if name in ("map", "filter") and len(node.args) >= 2:
            return self._mapped(name, node, local)
        if name in FUNCTIONS:
            arguments = [self._fold(argument, local) for argument in node.args]
            return FUNCTIONS[name](*arguments)
        if isinstance(function, ast.Attribute):
            return self._method(function, node, local)
        raise UnfoldableError

    def _mapped(self, name: str, node: ast.Call, local: dict[str, Any]) -> list[Any]:
        columns = [sequence(self._fold(argument, local)) for argument in node.args[1:]]
        rows = list(zip(*columns, strict=False))
        self._step(len(rows))
        results = [self._apply(node.args[0], list(row)) for row in rows]
        if name == "map":
            return results
        return [row[0] for row, kept in zip(rows, results, strict=True) if kept]

    def _apply(self, function: ast.expr, arguments: list[Any]) -> Any:  # noqa: ANN401
        if isinstance(function, ast.Lambda):
            return self._enter(function, arguments)
        if isinstance(function, ast.Name) and function.id in self.functions:
            return self._enter(self.functions[function.id], arguments)
        name = self._dotted(function)
        if name not in FUNCTIONS:
            raise UnfoldableError
        return FUNCTIONS[name](*arguments)

    def _method(self, function: ast.Attribute, node: ast.Call, local: dict[str, Any]) -> Any:  # noqa: ANN401
        owner = self._fold(function.value, local)
        if function.attr == "join" and isinstance(owner, str | bytes) and node.args:
            return owner.join(sequence(self._fold(node.args[0], local)))
        arguments = [self._fold(argument, local) for argument in node.args]
        if function.attr in ("decode", "encode"):
            codec = arguments[0] if arguments else "utf-8"
            return recode(owner, str(codec))
        if function.attr == "replace" and len(arguments) > 1:
            if len(owner) * (len(arguments[1]) + 1) > MAX_LENGTH:
                raise UnfoldableError
            return owner.replace(*arguments[:2])
        if function.attr == "format" and isinstance(owner, str):
            if _WIDE.search(owner):
                raise UnfoldableError
            keywords = {
                keyword.arg: self._fold(keyword.value, local)
                for keyword in node.keywords
                if keyword.arg is not None
            }
            return owner.format(*arguments, **keywords)
        plain = isinstance(owner, str | bytes | bytearray | dict | int | list)
        if function.attr in _METHODS and plain:
            return getattr(owner, function.attr)(*arguments)
        raise UnfoldableError

    # functions of the source itself

    def _enter(self, function: Function, arguments: list[Any]) -> Any:  # noqa: ANN401
        if self._calls >= MAX_CALLS:
            raise UnfoldableError
        names = [parameter.arg for parameter in (*function.args.posonlyargs, *function.args.args)]
        local = dict(zip(names, arguments, strict=False))
        defaults = function.args.defaults
        for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
            if name not in local:
                local[name] = self._fold(default, {})
        self._calls += 1
        try:
            if isinstance(function, ast.Lambda):
                return self._fold(function.body, local)
            self._run(function.body, local)
        except _Returned as returned:
            return returned.value
        finally:
            self._calls -= 1
        return None

    def _run(self, body: Sequence[ast.stmt], local: dict[str, Any]) -> None:
        for statement in body:
            self._step()
            if isinstance(statement, ast.Return):
                value = None if statement.value is None else self._fold(statement.value, local)
                raise _Returned(value)
            if isinstance(statement, ast.Assign):
                value = self._fold(statement.value, local)
                for target in statement.targets:
                    self._bind(target, value, local)
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                self._bind(statement.target, self._fold(statement.value, local), local)
            elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
                held = ast.BinOp(statement.target, statement.op, statement.value)
                local[statement.target.id] = self._fold(held, local)
            elif isinstance(statement, ast.For) and not statement.orelse:
                for item in sequence(self._fold(statement.iter, local)):
                    self._bind(statement.target, item, local)
                    self._run(statement.body, local)
            elif isinstance(statement, ast.While) and not statement.orelse:
                while self._fold(statement.test, local):
                    self._run(statement.body, local)
            elif isinstance(statement, ast.If):
                chosen = statement.body if self._fold(statement.test, local) else statement.orelse
                self._run(chosen, local)
            elif isinstance(statement, ast.Expr):
                self._expression(statement.value, local)
            elif not isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass):
                raise UnfoldableError

    def _expression(self, node: ast.expr, local: dict[str, Any]) -> None:
        """Follow the effect of an expression on a list: no other effect is possible here."""
        if isinstance(node, ast.Constant):
            return
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.attr in ("append", "extend")
            and len(node.args) == 1
        ):
            name = node.func.value.id
            held = self._named(name, local)
            item = self._fold(node.args[0], local)
            if isinstance(held, list | bytearray):
                added = [item] if node.func.attr == "append" else list(sequence(item))
                local[name] = bounded(
                    [*held, *added] if isinstance(held, list) else held + bytes(added)
                )
                return
        raise UnfoldableError


_FOLDS: Final[dict[type[ast.AST], Callable[[Values, Any, dict[str, Any]], Any]]] = {
    ast.Constant: Values._constant,  # noqa: SLF001 -- what the class does with each kind of node
    ast.Name: Values._name,  # noqa: SLF001
    ast.Attribute: Values._attribute,  # noqa: SLF001
    ast.BinOp: Values._binary,  # noqa: SLF001
    ast.JoinedStr: Values._joined,  # noqa: SLF001
    ast.List: Values._items,  # noqa: SLF001
    ast.Tuple: Values._items,  # noqa: SLF001
    ast.Set: Values._items,  # noqa: SLF001
    ast.Dict: Values._table,  # noqa: SLF001
    ast.Subscript: Values._item,  # noqa: SLF001
    ast.Slice: Values._slice,  # noqa: SLF001
    ast.UnaryOp: Values._unary,  # noqa: SLF001
    ast.IfExp: Values._choice,  # noqa: SLF001
    ast.Compare: Values._comparison,  # noqa: SLF001
    ast.NamedExpr: Values._inner,  # noqa: SLF001
    ast.ListComp: Values._comprehension,  # noqa: SLF001
    ast.GeneratorExp: Values._comprehension,  # noqa: SLF001
    ast.SetComp: Values._comprehension,  # noqa: SLF001
    ast.DictComp: Values._comprehension,  # noqa: SLF001
    ast.Starred: Values._inner,  # noqa: SLF001
    ast.Call: Values._call,  # noqa: SLF001
}
"""How each kind of node is folded."""

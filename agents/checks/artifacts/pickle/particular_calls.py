"""Explains why a call that is harmless only with particular arguments is not harmless."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from agents.checks.artifacts.pickle import expressions
from agents.checks.artifacts.pickle.carried_code import (
    BINDS,
    OF_PYTHON,
    SHOWING,
    WRAPPERS,
    is_carried,
    is_cell,
    wrapping_fault,
)
from agents.checks.artifacts.pickle.globals import binding_fault, code_in
from agents.checks.artifacts.pickle.symbols import Global, Mapping, Result

Allowed = Callable[..., bool]
"""Takes a value and uses; returns whether it is an import listed for one of them."""

_BUILTINS: Final = frozenset(("builtins", "__builtin__"))
_TYPING: Final = frozenset(("typing", "typing_extensions", "types", "collections.abc"))
_CONSTANTS: Final = (str, bytes, int, float, bool, type(None))
_TYPE_NAMES: Final = frozenset(
    (
        "bool", "bytes", "bytearray", "complex", "dict", "ellipsis", "float", "frozenset", "int",
        "list", "object", "range", "set", "slice", "str", "tuple", "type", "NoneType",
        "unicode", "long", "xrange", "NotImplementedType", "EllipsisType", "OrderedDict", "deque",
        "defaultdict", "SuperType",
        "BuiltinMethodType", "BuiltinFunctionType", "WrapperDescriptorType", "MethodWrapperType",
        "MethodDescriptorType", "ClassMethodDescriptorType", "GetSetDescriptorType",
    )
)  # fmt: skip
"""Data types in dill's own table of names; the others there make functions and code."""
_EXCEPTION: Final = re.compile(
    r"[A-Z]\w*(Error|Exception|Warning|Interrupt|Exit|Iteration)|Exception"
)
_ELSEWHERE: Final = {
    "OrderedDict": ("collections", "OrderedDict"),
    "deque": ("collections", "deque"),
    "defaultdict": ("collections", "defaultdict"),
    "PartialType": ("functools", "partial"),
    "ItemGetterType": ("operator", "itemgetter"),
    "AttrGetterType": ("operator", "attrgetter"),
    "SimpleNamespace": ("types", "SimpleNamespace"),
}
"""The modules of types that dill has names of its own for."""
_PLAIN_TYPES: Final = frozenset(
    (
        "bool", "bytes", "bytearray", "complex", "dict", "enumerate", "float", "frozenset", "int",
        "list", "map", "object", "range", "reversed", "set", "slice", "str", "tuple", "zip",
    )
)  # fmt: skip
_SLOT: Final = re.compile(r"<(?:slot wrapper|method) '(\w+)' of '(\w+)' objects>")
"""The repr of a method of a built-in type, by which dill looks it up."""
_OF_CODE: Final = frozenset(("CodeType", "CellType", "LambdaType", "FunctionType", "ModuleType"))
"""Types that make functions: harmless as types, and each call is judged."""
_SHOWN: Final = frozenset(("__qualname__", "__name__", "__module__", "__doc__"))
_RANGE: Final = re.compile(r"range\(-?\d{1,20}(?:, -?\d{1,20}){1,2}\)")
"""The repr of a range, which dill evaluates."""
MAX_PARTS: Final = 1000


def is_class(found: Global) -> bool:
    """Return whether an import is a class, by its name: Python's own may be lower-case."""
    last = found.name.rsplit(".", 1)[-1]
    small = found.module in _BUILTINS | _SMALL.keys() and last in _SMALL.get(
        found.module, _TYPE_NAMES
    )
    return last.lstrip("_")[:1].isupper() or small


_DATES: Final = frozenset(("date", "datetime", "time", "timedelta", "timezone", "tzinfo"))
_SMALL: Final = {
    "datetime": _DATES,
    "_datetime": _DATES,
    "collections": frozenset(("deque", "defaultdict")),
}
"""Classes of other modules with lower-case names."""


def constants(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a call with other arguments than constants."""
    waiting: list[object] = list(args)
    for _ in range(MAX_PARTS):
        if not waiting:
            return ""
        value = waiting.pop()
        if isinstance(value, tuple | list) and not isinstance(value, Mapping):
            waiting.extend(value)
        elif isinstance(value, Result):
            if not allowed(value.callee) or not isinstance(value.args, tuple | type(None)):
                return "its argument is the result of a call"
        elif not isinstance(value, _CONSTANTS):
            return "its arguments are not all constants"
    return "it has more arguments than can be read"


def subscripted_type(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a call that subscripts or joins anything but types of `typing`."""
    waiting: list[object] = list(args)
    if not args or not _is_type(args[0]):
        return "it looks up an item of any object"
    for _ in range(MAX_PARTS):
        if not waiting:
            return ""
        value = waiting.pop()
        if isinstance(value, tuple | list) and not isinstance(value, Mapping):
            waiting.extend(value)
        elif isinstance(value, Global):
            if not allowed(value) and not value.name[:1].isupper():
                return "its parameter is not a type"
        elif isinstance(value, Result):
            if not _is_type(value):
                return "its parameter is the result of a call"
        elif not isinstance(value, _CONSTANTS):
            return "its parameter is not a type"
    return "it has more parameters than can be read"


def _is_type(value: object) -> bool:
    if isinstance(value, Result):
        callee = value.callee
        return isinstance(callee, Global) and (
            callee.name == "_make_typevar" or (callee.module, callee.name) in _MAKE_TYPES
        )
    return (
        isinstance(value, Global)
        and value.name != "__dict__"
        and (value.module in _TYPING | _BUILTINS or value.name[:1].isupper())
    )


_MAKE_TYPES: Final = frozenset(
    (
        ("_functools", "reduce"), ("functools", "reduce"), ("__builtin__", "reduce"),
        ("operator", "getitem"),
        ("_operator", "getitem"), ("operator", "or_"),
        ("_operator", "or_"), ("types", "GenericAlias"), ("builtins", "type"),
        ("__builtin__", "type"), ("dill._dill", "_load_type"),
    )
)  # fmt: skip


def array_parts(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a call by which dill makes an array without NumPy's function."""
    if len(args) < 3 or not isinstance(args[0], Global):  # noqa: PLR2004 -- function, arguments, state
        return "it calls an object that is not imported"
    if args[0].name != "_reconstruct" or not allowed(args[0]):
        return "it calls its first argument"
    parts = args[1]
    if not isinstance(parts, tuple) or not parts or not isinstance(parts[0], Global):
        return "it makes an array of a class that is not imported"
    return ""


def union(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a call that joins anything but types, as `int | None` is written."""
    joins = args[0] if args else None
    if not isinstance(joins, Global) or joins.name != "or_" or not args[1:]:
        return "it calls its first argument"
    parts = args[1]
    return (
        subscripted_type(parts, allowed) if isinstance(parts, tuple) else "it does not join types"
    )


def type_name(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a call by which dill looks up a type other than a data type."""
    del allowed
    known = _TYPE_NAMES | _OF_CODE | OF_PYTHON | WRAPPERS | {BINDS}
    name = args[0] if len(args) == 1 else None
    if isinstance(name, str) and (name in known or _EXCEPTION.fullmatch(name)):
        return ""
    return "it looks up a type that makes functions or code"


def plain_type(args: tuple[Any, ...]) -> tuple[str, str] | None:
    """Return the module and name of a plain type that dill looks up, None for any other.

    Args:
        args: The arguments of the lookup.
    """
    name = args[0] if len(args) == 1 else None
    if not isinstance(name, str):
        return None
    if name in _PLAIN_TYPES or _EXCEPTION.fullmatch(name):
        return "builtins", name
    return _ELSEWHERE.get(name)


def wrapped(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a descriptor of anything but functions of the pickle itself."""
    del allowed
    return wrapping_fault(args)


def attribute(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a call that sets more than the shown name or closure of carried code."""
    if len(args) == 3 and is_cell(args[0]) and args[1] == "cell_contents":  # noqa: PLR2004 -- as setattr has
        return _cell_fault(args[2], allowed)
    # dill refers to a class of `__main__` by name if the class holds instances of itself
    own = isinstance(args[0], Global) and args[0].module == "__main__" if args else False
    if len(args) == 3 and (own or is_carried(args[0])) and args[1] in _SHOWN:  # noqa: PLR2004 -- as setattr has
        return "" if isinstance(args[2], str | None) else "it sets a value that is not text"
    return "it sets any attribute of any object"


def _cell_fault(value: object, allowed: Allowed) -> str:
    """Return why a closure may not hold a value, or an empty string.

    Results of calls were judged with the call, including the call by which dill makes the cell.
    """
    plain = isinstance(value, Global) and (value.evaluate is None or is_class(value))
    if isinstance(value, Result) or (plain and allowed(value)):
        return ""
    return wrapping_fault((value,))


def singleton(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a call that evaluates more than the name of one of Python's constants."""
    del allowed
    if args in (("NotImplemented",), ("Ellipsis",), ("None",)):
        return ""
    counted = len(args) == 1 and isinstance(args[0], str) and _RANGE.fullmatch(args[0])
    return "" if counted else "it evaluates text"


def kept(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of any call of objects that dill saves with a function's module."""
    del args, allowed
    return "only its own module calls it"


def slot(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a call that evaluates more than the repr of a built-in type's method."""
    del allowed
    shown = _SLOT.fullmatch(args[2]) if len(args) == 3 and isinstance(args[2], str) else None  # noqa: PLR2004 -- type, name, text
    if shown is None or shown[2] not in _TYPE_NAMES or args[1] != shown[1]:
        return "it evaluates text"
    fine = shown[1] in SHOWING or not binding_fault(shown[1])
    return "" if fine else "it looks up any attribute of a type"


def type_variable(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a type variable that is bound to anything but types."""
    waiting: list[object] = list(args)
    for _ in range(MAX_PARTS):
        if not waiting:
            return ""
        value = waiting.pop()
        if isinstance(value, tuple):
            waiting.extend(value)
        elif not isinstance(value, _CONSTANTS) and not (_is_type(value) and allowed(value)):
            return "it is bound to an object that is not a type"
    return "it has more arguments than can be read"


def attributes(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a getter of other than public attributes."""
    del allowed
    for name in args:
        parts = name.split(".") if isinstance(name, str) else [""]
        if any(part.startswith("_") or binding_fault(part) for part in parts):
            return "it gets an attribute that is not a public attribute of data"
    return "" if args else "it gets nothing"


def method(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a method caller with other arguments than constants."""
    if not args or (why := binding_fault(args[0])):
        return why if args else "it calls nothing"
    if args[0].startswith("_"):
        return "the name is not that of a method"
    text = code_in(args[1:], function=True)
    return f"it gives {text!r}" if text else constants(args[1:], allowed)


def iterated(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of an iterator over other than plain data and its iterators."""
    for value in args:
        if isinstance(value, Result):
            callee = value.callee
            data = isinstance(callee, Global) and (callee.module, callee.name) in _ITERABLE
            if not data and not allowed(callee, "iterates", "accumulates"):
                return "it iterates over an object"
        elif not isinstance(value, (*_CONSTANTS, tuple, list)):
            return "it iterates over an unknown object"
    return ""


_ITERABLE: Final = frozenset(
    (
        ("builtins", "bytearray"), ("builtins", "frozenset"), ("builtins", "range"),
        ("builtins", "set"), ("__builtin__", "bytearray"), ("__builtin__", "frozenset"),
        ("__builtin__", "set"), ("__builtin__", "xrange"), ("collections", "OrderedDict"),
        ("collections", "deque"), ("array", "array"),
        ("array", "_array_reconstructor"),
    )
)  # fmt: skip
"""Types of plain data with a fixed order of iteration."""


def accumulated(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of an iterator that calls more than an operator of numbers."""
    calls = args[1:2] or (None,)
    operator = calls[0]
    fine = operator is None or (
        isinstance(operator, Global)
        and allowed(operator)
        and (operator.module in _OPERATORS or operator.name in ("min", "max"))
    )
    given = args[:1] + args[2:]
    if not fine or not isinstance(args[0] if args else None, Result):
        return "it calls its arguments"
    return iterated(given, allowed)


_OPERATORS: Final = frozenset(("operator", "_operator"))


def header(args: tuple[Any, ...], allowed: Allowed) -> str:
    """Return the fault of a call that makes a header from other classes than headers."""
    bases = args[1] if len(args) == 3 else None  # noqa: PLR2004 -- name, bases, value
    if not isinstance(bases, tuple) or not isinstance(args[2], str):
        return "it makes a class"
    own = all(
        isinstance(base, Global) and base.module == "email.headerregistry" and allowed(base, "new")
        for base in bases
    )
    return "" if own else "it makes a class from other classes than headers"


CHECKS: Final[dict[str, Callable[[tuple[Any, ...], Allowed], str]]] = {
    "constants": constants,
    "subscript": subscripted_type,
    "array": array_parts,
    "type-name": type_name,
    "union": union,
    "wraps": wrapped,
    "attribute": attribute,
    "singleton": singleton,
    "kept": kept,
    "slot": slot,
    "type-variable": type_variable,
    "attributes": attributes,
    "accumulates": accumulated,
    "header": header,
    "method": method,
    "expression": expressions.expression,
    "number": expressions.number,
    "symbol": expressions.symbol,
}
"""The checks by use in the allow-list; each returns an empty string for a harmless call."""

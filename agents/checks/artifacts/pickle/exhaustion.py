"""Finds calls that exhaust a reader's memory or time, by their arguments."""

from __future__ import annotations

import re
from math import prod
from typing import Any, Final

from agents.checks.artifacts.pickle.symbols import Global, Result

MAX_OCTETS: Final = 1 << 30
"""Bytes that a call may create: picklers write bytes out, regardless of their number."""
MAX_ITEMS: Final = 1 << 24
"""Length of a range that a call may iterate over: picklers never write a list in this way."""
MAX_CELLS: Final = 1 << 36
"""Items of an array that is created by its shape: 64,000 million."""
MAX_BITS: Final = 1 << 26
"""Digits of a number that a call computes."""
MAX_EXPONENT: Final = 1_000_000
_BUILTINS: Final = frozenset(("builtins", "__builtin__"))
_OCTETS: Final = frozenset(("bytes", "bytearray"))
_ITERATING: Final = frozenset(
    (
        "Counter", "all", "any", "bytearray", "bytes", "deque", "dict", "frozenset", "list", "max",
        "min", "set", "sorted", "sum", "tuple", "OrderedDict", "UserList", "array",
        "_array_reconstructor",
    )
)  # fmt: skip
_RANGES: Final = frozenset(("range", "xrange"))
_DECIMALS: Final = frozenset(("Decimal", "Fraction"))
_EXPONENT: Final = re.compile(r"[eE][+]?(\d[\d_]*)\s*$")


def is_measured(module: str, name: str) -> bool:
    """Return whether the cost of calling a harmless name depends on the arguments."""
    return (
        (module in _BUILTINS and name in _ITERATING | _RANGES)
        or (module == "collections" and name in _ITERATING)
        or (module == "fractions" and name in _DECIMALS)
        or name in ("_reconstruct", "ndarray")
    )


def exhausting(callee: Global, args: object, *, sized: bool = False) -> str:
    """Return why a call would exhaust memory or time, or an empty string.

    Args:
        callee: The callee; its other effects are judged elsewhere.
        args: As on the stack.
        sized: Whether it may create arrays, with its arguments as their shape.
    """
    if not isinstance(args, tuple):
        return ""
    name = callee.name.rsplit(".", 1)[-1]
    first = args[0] if args else None
    if name in _OCTETS and callee.module in _BUILTINS and _number(first) > MAX_OCTETS:
        return f"it makes {first} octets"
    if name in _ITERATING and any(_length(value) > MAX_ITEMS for value in args):
        return "it iterates over an endless range"
    if name in ("pow", "__pow__") and len(args) == 2 and _bits(*args) > MAX_BITS:  # noqa: PLR2004 -- of a third, the result stays small
        return "it computes a number too long to hold"
    if name == "Fraction" and isinstance(first, str):
        exponent = _EXPONENT.search(first)
        if exponent and len(exponent[1]) < 100 and int(exponent[1]) > MAX_EXPONENT:  # noqa: PLR2004 -- digits
            return "it computes a number too long to hold"
    sides = tuple(value for value in args if type(value) is int)
    if any(_cells(value) > MAX_CELLS for value in (*args, sides if sized else ())):
        return "it makes an array too large for any machine"
    return ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _cells(value: object) -> int:
    if not isinstance(value, tuple | list) or not 0 < len(value) <= 64:  # noqa: PLR2004 -- NumPy's most sides
        return 0
    sides = [side for side in value if type(side) is int and side > 0]
    return prod(sides) if len(sides) == len(value) else 0


def _length(value: object) -> int:
    """Return the length of a range that an earlier call made."""
    made = value.callee if isinstance(value, Result) else None
    if not isinstance(made, Global) or made.name not in _RANGES:
        return 0
    bounds: Any = value.args if isinstance(value, Result) else ()
    if not isinstance(bounds, tuple) or not all(type(bound) is int for bound in bounds):
        return 0
    start, stop, step = {1: (0, *bounds, 1), 2: (*bounds, 1), 3: bounds}.get(len(bounds), (0, 0, 1))
    return max((stop - start) // step, 0) if step else 0


def _bits(base: object, exponent: object) -> int:
    if type(base) is not int or type(exponent) is not int or abs(base) < 2:  # noqa: PLR2004 -- 0 and 1 stay
        return 0
    return base.bit_length() * exponent

"""Says why a call makes more of SymPy than an expression of numbers and symbols.

SymPy evaluates text in place of an expression, and the text of unknown objects: `sin("…")` runs
Python. Its own pickles hold neither.

Source: SymPy `core/sympify.py`, `core/basic.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from agents.checks.artifacts.pickle import carried_code
from agents.checks.artifacts.pickle.globals import code_in
from agents.checks.artifacts.pickle.symbols import Mapping, Result

USES: Final = ("expression", "number", "symbol")
"""The use under which the allow-list has these classes."""
_NUMBERS: Final = (int, float, bool, type(None))
_DIGITS: Final = re.compile(r"[0-9a-fA-FxX+\-./_]*")
_MOST: Final = 1000

Judge = Callable[..., bool]
"""Takes a value and uses; returns whether it is an import listed for one of them."""


def expression(args: tuple[Any, ...], allowed: Judge) -> str:
    """Return the fault of an operation on more than numbers and expressions."""

    def is_operand(value: object) -> bool:
        # the code of a function carried by value has been judged
        return isinstance(value, Result) and (
            allowed(value.callee, *USES) or carried_code.makes_class(value.callee)
        )

    return _fault(args, is_operand)


def number(args: tuple[Any, ...], allowed: Judge) -> str:
    """Return the fault of a number whose text has more than digits."""
    del allowed
    return _fault(args, lambda value: isinstance(value, str) and bool(_DIGITS.fullmatch(value)))


def symbol(args: tuple[Any, ...], allowed: Judge) -> str:
    """Return the fault of a symbol whose name is code, or that has more arguments than a name."""
    del allowed
    return _fault(args, lambda value: isinstance(value, str) and not code_in(value, function=False))


def unlisted(args: object) -> str:
    """Return the fault of an expression of an unlisted class: text that is not a name."""
    return _fault(
        (args,),
        lambda value: not isinstance(value, str | bytes) or str(value).isidentifier(),
    )


def _fault(args: tuple[Any, ...], is_fine: Callable[[object], bool]) -> str:
    waiting: list[object] = [args]
    for _ in range(_MOST):
        if not waiting:
            return ""
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value[1::2])  # after each name its value: a precision, an assumption
        elif isinstance(value, tuple | list):
            waiting.extend(value)
        elif not (isinstance(value, _NUMBERS) or is_fine(value)):
            return "an argument is neither a number nor part of an expression"
    return "it has more arguments than can be read"

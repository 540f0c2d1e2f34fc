"""Determines the length of the raw arrays that joblib writes between the opcodes of a pickle."""

from __future__ import annotations

import re
from math import prod
from typing import Any, Final

from agents.checks.artifacts.pickle.symbols import Global, Mapping, Result
from agents.checks.artifacts.scanning import Source

_DTYPE: Final = re.compile(r"[<>|=]?([a-zA-Z?])(\d*)")
TEXT_DTYPE: Final = "_convert_to_stringdtype_kwargs"
_OUTSIDE: Final = re.compile(r"^[/\\\\~]|^[A-Za-z]:|^\w+://|(?:^|[/\\\\])\.\.(?:[/\\\\]|$)|^\$")
_WIDTHS: Final = {
    "?": 1,
    "b": 1,
    "B": 1,
    "h": 2,
    "H": 2,
    "l": 8,
    "L": 8,
    "q": 8,
    "Q": 8,
    "e": 2,
    "d": 8,
}


def item_size(dtype: str) -> int | None:
    """Return the bytes of one item of a NumPy type string, None if it is unknown."""
    match = _DTYPE.fullmatch(dtype)
    if not match:
        return None
    kind, digits = match.groups()
    if kind == "U":
        return 4 * int(digits or 0)
    if digits:
        return int(digits)
    return _WIDTHS.get(kind)


def array_end(state: Any, position: int, source: Source) -> tuple[int, bool]:  # noqa: ANN401
    """Return where the stream continues after a raw array, and whether it is a pickle instead.

    Args:
        state: Of the `NumpyArrayWrapper`: shape, dtype, order, alignment.
        position: Offset behind its BUILD.
        source: The bytes.

    Returns:
        The offset (`position` if the length is unknown), and True when the array holds
        objects, which follow as a pickle of their own.
    """
    if not isinstance(state, Mapping | list):
        return position, False
    fields = {k: v for k, v in zip(state[::2], state[1::2], strict=False) if isinstance(k, str)}
    dtype = fields.get("dtype")
    shape = fields.get("shape")
    made = dtype.callee if isinstance(dtype, Result) else None
    if isinstance(made, Global) and made.name == TEXT_DTYPE:
        return position, True  # text of variable length, which NumPy treats as objects
    if not isinstance(dtype, Result) or not isinstance(dtype.args, tuple) or not dtype.args:
        return position, False
    kind = dtype.args[0]
    if not isinstance(kind, str) or not isinstance(shape, tuple):
        return position, False
    if kind.lstrip("<>|=")[:1] == "O":
        return position, True
    width = item_size(kind)
    if width is None or not all(isinstance(side, int) and side >= 0 for side in shape):
        return position, False
    if isinstance(fields.get("numpy_array_alignment_bytes"), int):
        padding = source.read(position, 1)
        position += 1 + (padding[0] if padding else 0)
    return min(position + prod(shape) * width, source.size), False


def other_file(state: Any) -> str:  # noqa: ANN401
    """Return the path of a joblib array (before 0.10) that is outside the pickle's folder.

    Args:
        state: The state of the `NDArrayWrapper`, or its arguments. joblib joins `filename` to the
            pickle's folder and loads that file, which may be a pickle too.
    """
    waiting = [state]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, str) and _OUTSIDE.search(value):
            return value
        if isinstance(value, Mapping):
            pairs = zip(value[::2], value[1::2], strict=False)
            waiting += [value for key, value in pairs if key == "filename"]
        elif isinstance(value, tuple):
            waiting += value
    return ""

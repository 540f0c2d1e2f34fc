"""Integers that every encoder supports: JSON has no limit, MessagePack ends at 64 bits."""

from __future__ import annotations

from typing import Any

import msgspec

LEAST = -(2**63)
GREATEST = 2**64 - 1


def within_64_bits(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` with each larger integer, at any depth, replaced by its size.

    Args:
        values: Untrusted plain JSON values by name.

    Returns:
        The same object if no integer is too large.
    """
    try:
        msgspec.msgpack.encode(values)
    except OverflowError:
        return {name: _carried(value) for name, value in values.items()}
    return values


def _carried(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    if isinstance(value, int) and not LEAST <= value <= GREATEST:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, dict):
        return {name: _carried(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_carried(inner) for inner in value]
    return value

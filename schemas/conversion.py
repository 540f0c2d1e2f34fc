"""Converts decoded values to types that are learned when their module is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Converter(Generic[T]):
    """`msgspec.convert` to one type, which is learned here.

    msgspec learns a type the first time it decodes or converts to it. Two threads that do so at the
    same time crash the process with a segmentation fault. So converters are made where modules are
    imported, as decoders are, and not where they are used.
    """

    def __init__(self, kind: type[T]) -> None:
        """Learn a type."""
        msgspec.json.Decoder(kind)
        self._kind = kind

    def __call__(self, value: object, *, dec_hook: Callable[[type, Any], Any] | None = None) -> T:
        """Return a value as the type.

        Args:
            value: A value decoded from JSON, TOML or msgpack.
            dec_hook: Converts to types that msgspec does not know.

        Raises:
            msgspec.ValidationError: It is not of the type.
        """
        return msgspec.convert(value, self._kind, dec_hook=dec_hook)

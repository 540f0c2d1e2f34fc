"""Defines the values on the simulated stack of a pickle, and the observer of the stream."""
# ruff: noqa: PLR2004 -- bounds are given where they are used

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec


class Global:
    """A name that the stream imports."""

    __slots__ = (
        "calls",
        "creatable",
        "evaluate",
        "instance",
        "module",
        "name",
        "offset",
        "opcode",
        "quiet",
    )

    def __init__(self, module: str, name: str, offset: int, opcode: str) -> None:
        """Keep the name and its offset."""
        self.module = module
        self.name = name
        self.offset = offset
        self.opcode = opcode
        self.quiet = False
        """Whether calling it is not reported."""
        self.creatable = False
        """Whether making an instance without its constructor (NEWOBJ) is not reported."""
        self.evaluate: Callable[[Any, int], Any] | None = None
        """Returns the result of a call with these arguments at this offset."""
        self.instance = Result(self, None, offset)
        self.calls = 0

    def __str__(self) -> str:
        """Return `module.name`."""
        return f"{self.module}.{self.name}"

    def evidence(self) -> dict[str, Any]:
        """Return the evidence of a finding on the import: where it is, and what it names."""
        return {"offset": self.offset, "opcode": self.opcode, "global": str(self)}


class Result:
    """The result of a call."""

    __slots__ = ("args", "callee", "offset", "state")

    def __init__(self, callee: object, args: object, offset: int) -> None:
        """Keep the callee, its arguments and the offset."""
        self.callee = callee
        self.args = args
        self.offset = offset
        self.state: Any = None


class Blob:
    """A constant too long to hold."""

    __slots__ = ("head", "length", "offset")

    def __init__(self, offset: int, length: int, head: bytes) -> None:
        """Keep its offset and beginning."""
        self.offset = offset
        self.length = length
        self.head = head


class Mapping(list[Any]):
    """A dictionary: keys and values in turn, as they were set."""

    __slots__ = ()


class Members(list[Any]):
    """A set, as it was filled."""

    __slots__ = ()


class Unknown:
    """An unknown value: a persistent object, a buffer, the result of a broken opcode."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        """Keep where it comes from."""
        self.kind = kind


class StreamEnd(msgspec.Struct, frozen=True):
    """How a stream ended."""

    stopped: bool
    """At its STOP."""
    offset: int
    """Of the byte after it."""
    reason: str = ""
    opcodes: int = 0
    result: Any = None


class Observer(Protocol):
    """Receives the effects of a stream, in order."""

    def imported(self, found: Global, protocol: int) -> None:
        """Handle an import; set how its calls are treated."""

    def called(self, callee: object, args: object, offset: int, opcode: str) -> object:
        """Handle a call that is not quiet; return its result, None if unknown."""

    def built(self, target: object, state: object, offset: int, position: int) -> int:
        """Handle BUILD; return where the stream continues (raw data may follow)."""

    def patched(self, target: object, offset: int, opcode: str) -> None:
        """Handle items that are set on anything but a plain container."""

    def constant(self, value: str | bytes, offset: int) -> None:
        """Handle a constant that may hold a file."""

    def anomaly(self, kind: str, offset: int, detail: str) -> None:
        """Handle an anomaly that picklers never write."""


PERSISTENT: Final = Unknown("persistent")
"""The callee that resolves a persistent id to its object."""


def named_class(value: object) -> object:
    """Return the class that a persistent id names, and any other value as it is.

    PyTorch before 1.6 names a class beside its source: ("module", class, file, source).
    """
    if type(value) is Result and value.callee is PERSISTENT:
        pid = value.args
        if type(pid) is tuple and len(pid) > 1 and type(pid[1]) is Global:
            return pid[1]
    return value


def describe(value: object, depth: int = 0) -> str:
    """Return a value of the simulated stack as a short text."""
    if isinstance(value, Global):
        return str(value)
    if isinstance(value, Result):
        return f"{describe(value.callee, depth + 1)}(…)" if depth < 4 else "…"
    if isinstance(value, Unknown):
        return f"<{value.kind}>"
    if isinstance(value, Blob):
        return f"<{value.length} bytes>"
    if isinstance(value, str | bytes):
        return repr(value if len(value) <= 120 else value[:120])
    if isinstance(value, tuple | list):
        if depth >= 2:
            return "(…)"
        inner = ", ".join(describe(item, depth + 1) for item in value[:6])
        return f"({inner}{', …' if len(value) > 6 else ''})"
    return repr(value)[:60]


_TENSORS: Final = frozenset(
    (
        "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter",
        "_rebuild_parameter_with_state", "_rebuild_qtensor", "_rebuild_sparse_tensor",
        "_rebuild_meta_tensor_no_storage", "_rebuild_device_tensor_from_numpy",
        "_rebuild_nested_tensor", "_rebuild_wrapper_subclass", "_reconstruct", "_frombuffer",
        "scalar", "dtype", "device", "Size", "_get_layout",
    )
)  # fmt: skip


def holds_items(made: Result) -> bool:
    """Return whether the result of a call can be a container that is filled with items.

    Picklers never set items on tensors and storages; there it writes to memory (CVE-2026-24747).
    """
    callee = made.callee
    if callee is PERSISTENT:
        return False
    return not (isinstance(callee, Global) and callee.name in _TENSORS)

"""Reads protobuf messages off the wire by a table of fields, bounded and without recursion."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Generic, Literal, TypeVar

import msgspec

from agents.checks.artifacts.readers.window import Window
from agents.checks.artifacts.scanning import BudgetExceededError, CorruptFileError, Scan

MAX_KEPT: Final = 16 << 20
"""Bytes of one text field that are kept; tensors are skipped."""
MAX_DEPTH: Final = 200
"""Messages within messages; the reference parsers stop at 100."""
MAX_VARINT: Final = 10
"""Bytes of the longest varint."""

VARINT, FIXED64, LENGTH, GROUP, GROUP_END, FIXED32 = range(6)

Value = Literal["int", "text", "range"]
"""The kinds of a field that is not a message."""
Kind = TypeVar("Kind", bound=str)
"""The names of a schema's messages, as a `Literal`: the type checker knows no others."""
Schema = Mapping[Kind, Mapping[int, Kind | Value]]
"""Message name to field number to kind of value or name of a message."""


class ProtobufMessage(msgspec.Struct, Generic[Kind]):
    """One message: the fields that its schema names; all others were skipped."""

    kind: Kind
    start: int
    end: int
    numbers: dict[int, list[int]] = msgspec.field(default_factory=dict)
    strings: dict[int, list[str]] = msgspec.field(default_factory=dict)
    ranges: dict[int, list[tuple[int, int]]] = msgspec.field(default_factory=dict)
    unknown: set[int] = msgspec.field(default_factory=set)

    def text(self, number: int) -> str:
        """Return the last text of a field, which is the one that counts, or none."""
        return self.strings.get(number, [""])[-1]

    def texts(self, number: int) -> list[str]:
        """Return every text of a field."""
        return self.strings.get(number, [])

    def number(self, number: int) -> int:
        """Return the last number of a field, or 0."""
        return self.numbers.get(number, [0])[-1]


def read_varint(window: Window, offset: int, end: int) -> tuple[int, int]:
    """Return a varint and the offset after it.

    Raises:
        CorruptFileError: it does not end.
    """
    raw = window.read(offset, min(MAX_VARINT, end - offset))
    value = 0
    for index, byte in enumerate(raw):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, offset + index + 1
    raise CorruptFileError(f"a number at offset {offset} does not end")


def walk(
    scan: Scan,
    window: Window,
    schema: Schema[Kind],
    root: Kind,
    start: int = 0,
    end: int | None = None,
) -> Iterator[ProtobufMessage[Kind]]:
    """Yield a message and every message within it that the schema names, outer before inner.

    Args:
        scan: Its budget is spent.
        window: The bytes.
        schema: Which fields matter.
        root: The kind of the outermost message.
        start: Its first byte.
        end: The offset after it.

    Raises:
        CorruptFileError: the bytes are not such a message; what was yielded before is valid.
        BudgetExceededError: nested too deeply, or too much.
    """
    stack = [(root, start, window.size if end is None else end, 0)]
    damage: CorruptFileError | None = None
    while stack:
        kind, begin, stop, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise BudgetExceededError(f"messages are nested deeper than {MAX_DEPTH}")
        message = ProtobufMessage(kind, begin, stop)
        inner = []
        try:
            for child, child_start, child_end in _read(scan, window, schema, message):
                inner.append((child, child_start, child_end, depth + 1))
        except CorruptFileError as error:
            damage = damage or error
        yield message
        stack.extend(reversed(inner))
    if damage:
        raise damage


def _read(
    scan: Scan, window: Window, schema: Schema[Kind], message: ProtobufMessage[Kind]
) -> Iterator[tuple[Kind, int, int]]:
    fields = schema.get(message.kind, {})
    offset, end = message.start, message.end
    groups: list[int] = []
    while offset < end:
        scan.budget.step(1)
        tag, offset = read_varint(window, offset, end)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise CorruptFileError(f"field 0 at offset {offset}")
        if wire == VARINT:
            value, offset = read_varint(window, offset, end)
            if number in fields and not groups:
                message.numbers.setdefault(number, []).append(value)
        elif wire in (FIXED64, FIXED32):
            offset += 8 if wire == FIXED64 else 4
        elif wire == LENGTH:
            length, offset = read_varint(window, offset, end)
            if length > end - offset:
                raise CorruptFileError(f"{length} bytes declared, {end - offset} left at {offset}")
            kind = None if groups else fields.get(number)
            if kind == "text":
                if length > MAX_KEPT:
                    scan.mark_incomplete(f"a text of {length} bytes, of which {MAX_KEPT} are read")
                kept = window.read(offset, min(length, MAX_KEPT))
                message.strings.setdefault(number, []).append(kept.decode("utf-8", "replace"))
            elif kind == "range":
                message.ranges.setdefault(number, []).append((offset, offset + length))
            elif kind and kind != "int":
                yield kind, offset, offset + length
            elif kind is None:
                message.unknown.add(number)
            offset += length
        elif wire == GROUP:
            groups.append(number)
        elif wire == GROUP_END:
            if not groups or groups.pop() != number:
                raise CorruptFileError(f"a group ends that did not begin at offset {offset}")
        else:
            raise CorruptFileError(f"wire type {wire} at offset {offset}")
        if offset > end:
            raise CorruptFileError(f"a field reaches beyond its message at offset {offset}")
    if groups:
        raise CorruptFileError(f"a group does not end at offset {end}")


def looks_like(head: bytes, numbers: Mapping[int, int], least: int = 1) -> bool:
    """Return whether the first bytes are protobuf fields of the given numbers and wire types.

    Args:
        head: The first bytes of a file.
        numbers: Field number to wire type, of the fields that the outermost message may have.
        least: How many fields must be seen, unless the head ends before.
    """
    offset = seen = 0
    while offset < len(head):
        tag = value = shift = 0
        for target in ("tag", "value"):
            value = shift = 0
            while offset < len(head):
                byte = head[offset]
                offset += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80 or shift > 63:
                    break
            else:
                return seen >= 1
            if target == "tag":
                tag = value
                if numbers.get(tag >> 3) != tag & 7:
                    return False
                if tag & 7 not in (VARINT, LENGTH):
                    offset += 8 if tag & 7 == FIXED64 else 4
                    break
        seen += 1
        if tag & 7 == LENGTH:
            offset += value
        if seen >= least and offset >= len(head):
            return True
    return seen >= least

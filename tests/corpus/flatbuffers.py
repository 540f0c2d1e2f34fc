"""Writes flatbuffers of tables given as mappings from a field's number to its value."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

Value = int | str | bytes | Mapping[int, "Value"] | Sequence["Value"]
"""A number, a text, bytes, a table, or a vector of texts or tables."""


def flatbuffer(identifier: bytes, root: Mapping[int, Value], *, head: bytes = b"") -> bytes:
    """Return a flatbuffer.

    Args:
        identifier: Of the kind of file.
        root: The root table.
        head: What stands between the identifier and the tables.
    """
    out = bytearray(bytes(4) + identifier + head)

    def refer(slot: int, target: int) -> None:
        out[slot : slot + 4] = struct.pack("<I", target - slot)

    def write(value: Value) -> int:
        out.extend(bytes(-len(out) % 8))
        if isinstance(value, Mapping):
            return table(value)
        start = len(out)
        if isinstance(value, str | bytes):
            raw = value.encode() if isinstance(value, str) else value
            out.extend(struct.pack("<I", len(raw)) + raw + b"\0")
            return start
        assert not isinstance(value, int)
        out.extend(struct.pack("<I", len(value)) + bytes(4 * len(value)))
        for index, item in enumerate(value):
            refer(start + 4 + 4 * index, write(item))
        return start

    def table(fields: Mapping[int, Value]) -> int:
        count = max(fields, default=-1) + 1
        layout = len(out)
        places = {number: 8 + 8 * index for index, number in enumerate(sorted(fields))}
        offsets = [places.get(number, 0) for number in range(count)]
        out.extend(struct.pack(f"<HH{count}H", 4 + 2 * count, 8 + 8 * len(fields), *offsets))
        out.extend(bytes(-len(out) % 8))
        start = len(out)
        out.extend(struct.pack("<ii", start - layout, 0) + bytes(8 * len(fields)))
        for number, value in fields.items():
            slot = start + places[number]
            if isinstance(value, int):
                out[slot : slot + 8] = struct.pack("<Q", value)
            else:
                refer(slot, write(value))
        return start

    out[:4] = struct.pack("<I", write(root))
    return bytes(out)


def executorch(
    *operators: str,
    backend: str = "",
    data: bytes = b"",
    segment: tuple[int, int] | None = None,
    calls: int = 0,
) -> bytes:
    """Return an ExecuTorch program of one plan.

    Args:
        operators: Names of those that it needs.
        backend: That it needs.
        data: What the backend is given.
        segment: Offset and size of a segment that holds it instead.
        calls: The operator that its only instruction calls.
    """
    plan: dict[int, Value] = {
        0: "forward",
        2: [{0: 6, 1: {0: "a text"}}],
        5: [{2: [{0: 1, 1: {0: calls}}]}] if operators else [],
        6: [{0: name, 1: "out"} for name in operators],
    }
    if backend:
        plan[7] = [{0: backend, 1: {0: int(segment is not None), 1: 0}}]
    root: dict[int, Value] = {0: 0, 1: [plan], 3: [{0: data}]}
    head = b""
    if segment is not None:
        root[4] = [{0: segment[0], 1: segment[1]}]
        head = b"eh00" + struct.pack("<IQQ", 24, 0, 32)
    return flatbuffer(b"ET12", root, head=head)

"""Writers of protobuf, flatbuffer and other wire forms, by hand."""
# ruff: noqa: E501 -- samples stand in one piece

from __future__ import annotations

import json
import struct


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def field(number: int, value: int | bytes | str) -> bytes:
    """Return one protobuf field: a varint for a number, length-delimited for the rest."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def message(*fields: tuple[int, int | bytes | str]) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


def safetensors(
    header: dict[str, object] | str | bytes, data: bytes = b"", length: int | None = None
) -> bytes:
    if isinstance(header, dict):
        header = json.dumps(header)
    raw = header.encode() if isinstance(header, str) else header
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def tensor(begin: int, end: int, shape: list[int] | None = None) -> dict[str, object]:
    return {
        "dtype": "U8",
        "shape": [end - begin] if shape is None else shape,
        "data_offsets": [begin, end],
    }


def gguf_text(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def gguf_entry(key: str, value: str | int | list[str]) -> bytes:
    if isinstance(value, int):
        return gguf_text(key) + struct.pack("<II", 4, value)
    if isinstance(value, list):
        body = b"".join(gguf_text(item) for item in value)
        return gguf_text(key) + struct.pack("<IIQ", 9, 8, len(value)) + body
    return gguf_text(key) + struct.pack("<I", 8) + gguf_text(value)


def gguf_tensor(name: str, shape: list[int], kind: int = 0, offset: int = 0) -> bytes:
    return (
        gguf_text(name)
        + struct.pack("<I", len(shape))
        + struct.pack(f"<{len(shape)}Q", *shape)
        + struct.pack("<IQ", kind, offset)
    )


def gguf(
    entries: list[bytes],
    tensors: list[bytes] | None = None,
    data: bytes = b"",
    counts: tuple[int, int] | None = None,
    version: int = 3,
) -> bytes:
    tensors = tensors or []
    tensor_count, entry_count = counts or (len(tensors), len(entries))
    head = b"GGUF" + struct.pack("<IQQ", version, tensor_count, entry_count)
    raw = head + b"".join(entries) + b"".join(tensors)
    return raw + bytes(-len(raw) % 32) + data


def onnx(
    *nodes: bytes,
    initializers: list[bytes] | None = None,
    functions: list[bytes] | None = None,
    metadata: list[tuple[str, str]] | None = None,
) -> bytes:
    graph = message(*[(1, node) for node in nodes], (2, "graph"))
    graph += message(*[(5, initializer) for initializer in initializers or []])
    model = message((1, 8), (2, "exporter"), (7, graph), (8, message((1, ""), (2, 17))))
    model += message(*[(25, function) for function in functions or []])
    return model + message(*[(14, message((1, k), (2, v))) for k, v in metadata or []])


def onnx_node(operator: str, domain: str = "", *attributes: bytes) -> bytes:
    fields: list[tuple[int, int | bytes | str]] = [(1, "x"), (2, "y"), (3, "node"), (4, operator)]
    fields += [(5, attribute) for attribute in attributes]
    return message(*fields, *([(7, domain)] if domain else []))


def onnx_external(location: str, **more: str) -> bytes:
    entries = {"location": location, **more}
    external = [(13, message((1, key), (2, value))) for key, value in entries.items()]
    return message((1, 4), (2, 1), (8, "weight"), *external, (14, 1))


def tf_node(operator: str, name: str = "node", text: str | None = None) -> bytes:
    attribute = [] if text is None else [(5, message((1, "value"), (2, message((2, text)))))]
    return message((1, name), (2, operator), *attribute)


def tf_text(name: str, text: str) -> bytes:
    """Return a TensorFlow constant that holds a string."""
    value = message((1, "value"), (2, field(8, message((1, 7), (8, text)))))
    return message((1, name), (2, "Const"), (5, value))


def tf_graph(*nodes: bytes, functions: list[bytes] | None = None) -> bytes:
    graph = message(*[(1, node) for node in nodes])
    if functions:
        graph += field(2, message(*[(1, function) for function in functions]))
    return graph + field(4, message((1, 1882)))


def tf_function(name: str, *nodes: bytes) -> bytes:
    return message((1, message((1, name))), *[(3, node) for node in nodes])


def saved_model(graph: bytes, *more: tuple[int, bytes]) -> bytes:
    info = message((4, "serve"), (5, "2.16.1"))
    return message((1, 1), (2, message((1, info), (2, graph), *more)))


def tflite(*operators: str | int, buffer_index: int = 0) -> bytes:
    """Return a TensorFlow Lite model whose codes are names of custom or numbers of own operators."""
    out = bytearray(b"\0\0\0\0TFL3")

    def pad() -> None:
        out.extend(bytes(-len(out) % 4))

    def text(value: str) -> int:
        pad()
        start = len(out)
        out.extend(struct.pack("<I", len(value)) + value.encode() + b"\0")
        return start

    def table(fields: dict[int, int]) -> int:
        pad()
        count = max(fields, default=-1) + 1
        vtable = len(out)
        offsets = [0] * count
        at = 4
        for number in sorted(fields):
            offsets[number] = at
            at += 4
        out.extend(struct.pack(f"<HH{count}H", 4 + 2 * count, at, *offsets))
        pad()
        start = len(out)
        out.extend(struct.pack("<i", start - vtable))
        for number in sorted(fields):
            out.extend(struct.pack("<I", fields[number]))
        return start

    def patched_table(
        fields: tuple[int, ...], numbers: dict[int, int]
    ) -> tuple[int, dict[int, int]]:
        """Write a table; return where it lies, and where its fields to be patched lie."""
        slots = {**dict.fromkeys(fields, 0), **numbers}
        start = table(slots)
        places = {}
        for index, number in enumerate(sorted(slots)):
            if number in fields:
                places[number] = start + 4 + 4 * index
        return start, places

    def patch(slot: int, target: int) -> None:
        out[slot : slot + 4] = struct.pack("<I", target - slot)

    def patched_vector(count: int) -> tuple[int, list[int]]:
        pad()
        start = len(out)
        out.extend(struct.pack("<I", count) + bytes(4 * count))
        return start, [start + 4 + 4 * index for index in range(count)]

    root, slots = patched_table(
        (
            1,
            2,
            3,
            4,
        ),
        {0: 3},
    )
    out[0:4] = struct.pack("<I", root)
    start, places = patched_vector(len(operators))
    patch(slots[1], start)
    for position, operator in zip(places, operators, strict=True):
        if isinstance(operator, int):
            code, _ = patched_table((), {3: operator})
            patch(position, code)
        else:
            code, inner = patched_table((1,), {3: 32})
            patch(position, code)
            patch(inner[1], text(operator))
    start, places = patched_vector(1)
    patch(slots[2], start)
    subgraph, inner = patched_table(
        (
            0,
            3,
        ),
        {},
    )
    patch(places[0], subgraph)
    start, places = patched_vector(1)
    patch(inner[0], start)
    tensor_table, _ = patched_table((), {2: buffer_index})
    patch(places[0], tensor_table)
    start, places = patched_vector(1)
    patch(inner[3], start)
    operator_table, _ = patched_table((), {0: 0})
    patch(places[0], operator_table)
    patch(slots[3], text("made by hand"))
    start, places = patched_vector(1)
    patch(slots[4], start)
    empty, _ = patched_table((), {1: 0})
    patch(places[0], empty)
    return bytes(out)

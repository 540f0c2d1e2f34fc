"""Files whose end was never written, by hand, and whole ones that hold zeros of their own."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Iterator

Sample = tuple[str, bytes | dict[str, bytes]]


def _dense(count: int, seed: int = 1) -> bytes:
    """Return float32 weights as training leaves them."""
    chance = random.Random(seed)
    return b"".join(struct.pack("<f", chance.gauss(0.0, 0.02)) for _ in range(count))


def safetensors(tensors: dict[str, tuple[list[int], bytes]]) -> bytes:
    """Return float32 tensors as a safetensors file.

    Args:
        tensors: Shape and data, by name.
    """
    header: dict[str, object] = {}
    at = 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(data for _, data in tensors.values())


def npy(shape: tuple[int, ...], data: bytes) -> bytes:
    """Return float32 values as a NumPy array."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def tar(record: int) -> bytes:
    """Return a tar archive, filled up to a multiple of `record` bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("config.yaml")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"a: 1\n"))
    whole = out.getvalue().rstrip(b"\0")
    end = -(-len(whole) // 512) * 512 + 1024
    return whole.ljust(-(-end // record) * record, b"\0")


MODEL = {"embed.weight": ([64, 48], _dense(64 * 48)), "head.weight": ([64, 48], _dense(64 * 48, 2)),
         "norm.bias": ([64], bytes(256))}  # fmt: skip


def _torn(raw: bytes, at: int, fill: bytes = b"\0") -> bytes:
    return raw[:at] + fill * (len(raw) - at)


def hostile() -> Iterator[Sample]:
    """Yield none: what is torn harms nobody."""
    return iter(())


def harmless() -> Iterator[Sample]:
    yield "st_bias.safetensors", safetensors(MODEL)
    padded = _dense(50 * 48) + bytes(14 * 48 * 4)
    yield (
        "st_padded.safetensors",
        safetensors({"a": ([64, 48], _dense(64 * 48)), "e": ([64, 48], padded)}),
    )
    zeros = {f"zero.{index}.weight": ([64, 48], bytes(64 * 48 * 4)) for index in range(4)}
    yield "st_zero_layers.safetensors", safetensors({"a": ([64, 48], _dense(64 * 48)), **zeros})
    columns = b"".join(_dense(40, row) + bytes(32) for row in range(50)) + bytes(14 * 48 * 4)
    yield "st_padded_both.safetensors", safetensors({"a": ([64, 48], columns)})
    yield "st_zeros.safetensors", safetensors({"a": ([64, 48], bytes(64 * 48 * 4))})
    yield "st_ones.safetensors", safetensors({"a": ([8], struct.pack("<8f", *[1.0] * 8))})
    yield "padded.npy", npy((64, 48), padded)
    yield "whole.npy", npy((64, 48), _dense(64 * 48))
    yield "zeros.npy", npy((64, 48), bytes(64 * 48 * 4))
    yield "vector.npy", npy((64,), _dense(60) + bytes(16))
    yield "records.tar", tar(10240)
    yield "two.npy", npy((64,), _dense(64)) + npy((32,), _dense(32))
    yield "whole.mat", matlab(bytes(99))
    yield "padded.gguf", gguf_padded()
    yield "unpadded.gguf", gguf_padded()[:-20]
    yield "german/config.json", '{"a": "\u00fc"}'.encode()
    yield "wide/config.json", '{"a": "\u00fc"}'.encode("utf-16")
    yield "trees/model.model", b'{"learner": {"attributes": {}}, "version": [1, 7, 6]}'
    yield "words/vocab.bin", b"the\nnot\nfound\nerror\n" * 9
    yield "plain.tar", tar(512)
    yield "wide/vocab.txt", "a\nb\n".encode("utf-16")


_ANSWERS = {
    "denied": b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
    "absent": b'{"error": "Repository not found"}',
    "page": b"<!DOCTYPE html>\n<html><head><title>404</title><script>go()</script></head></html>",
    "short": b"Entry not found",
    "limit": b"429 Too Many Requests\n",
}


def _answers() -> Iterator[Sample]:
    """Yield what a server said, saved under the name that was asked for."""
    names = "model.pkl model.joblib model.pt pytorch_model.bin model.safetensors model.gguf"
    names += " model.keras model.h5 array.npy weights.bin flax_model.msgpack net.mat model.nemo"
    for name in names.split():
        for said, raw in _ANSWERS.items():
            yield f"{said}/{name}", raw
    yield "list/model.keras", b'["a", "b"]'
    yield "prose/model.gguf", b"This file was moved by its owners to another place."


def _passed_through(array: bytes) -> Iterator[Sample]:
    """Yield files that were cut by little, doubled, or changed as text."""
    yield "twice.npy", array * 2
    yield "more.npy", array + b"\x01\x02\x03\x04" * 8
    yield "line_ends.npy", array.replace(b"\n", b"\r\n")
    yield "erased/tokenizer.json", b'{"ve' + b"\xff" * 36 + b'ing": null, "model": {}}'
    whole = matlab(bytes(range(1, 200)))
    yield "short.mat", whole[:108]
    yield "half.mat", whole[: len(whole) // 2]
    yield "last.mat", whole[:-1]
    yield "padding.gguf", gguf_padded()[:-9]


def matlab(data: bytes) -> bytes:
    """Return a MATLAB file of version 5 with one element, compressed."""
    inner = zlib.compress(data)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\x01IM"
    return head + struct.pack("<II", 15, len(inner)) + inner


def gguf_padded() -> bytes:
    """Return a GGUF file with one tensor, filled up behind it."""
    info = struct.pack("<Q", 1) + b"w" + struct.pack("<IQIQ", 1, 3, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + info
    return head.ljust(-(-len(head) // 32) * 32, b"\0") + struct.pack("<3f", 1, 2, 3) + bytes(20)


def damaged() -> Iterator[Sample]:
    whole = safetensors(MODEL)
    data = len(whole) - sum(len(part) for _, part in MODEL.values())
    yield "st_within_row.safetensors", _torn(whole, data + 64 * 48 * 4 + 20 * 192 + 100)
    yield "st_within_first.safetensors", _torn(whole, data + 30 * 192 + 68)
    yield "st_sector.safetensors", _torn(whole, data + 64 * 48 * 4 + 4608 - data % 512)
    yield "st_erased.safetensors", _torn(whole, data + 64 * 48 * 4 + 20 * 192 + 100, b"\xff")
    array = npy((64, 48), _dense(64 * 48))
    yield "torn.npy", _torn(array, 128 + 20 * 192 + 64)
    yield "torn_vector.npy", _torn(npy((3072,), _dense(3072)), 4096)
    yield "short_record.tar", tar(10240)[:5120]
    yield "one_block.tar", tar(512)[:-512]
    yield "zeros/vocab.txt", bytes(4096)
    yield "torn/vocab.txt", b"[PAD]\n[UNK]\nthe\n" * 20 + bytes(512)
    yield "erased/merges.txt", b"#version: 0.2\ni n\n" * 20 + b"\xff" * 512
    yield from _answers()
    yield from _passed_through(array)
    yield "torn/README.md", b"# Model\n" * 40 + bytes(512)
    yield "torn/config.json", b'{"a": [1, 2, 3' + bytes(512)
    yield "torn/config.yaml", b"a: 1\nb: 2\n" + bytes(512)

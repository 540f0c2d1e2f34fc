"""Writes pickles opcode by opcode, what no pickler writes too."""

from __future__ import annotations

import struct

PROTO2, PROTO4 = b"\x80\x02", b"\x80\x04"


def text(value: str, *, memo: bool = False) -> bytes:
    """Return SHORT_BINUNICODE or BINUNICODE of a string, memoized if asked."""
    raw = value.encode("utf-8", "surrogatepass")
    head = b"\x8c" + bytes([len(raw)]) if len(raw) < 256 else b"X" + struct.pack("<I", len(raw))
    return head + raw + (b"\x94" if memo else b"")


def octets(value: bytes) -> bytes:
    """Return SHORT_BINBYTES or BINBYTES."""
    if len(value) < 256:
        return b"C" + bytes([len(value)]) + value
    return b"B" + struct.pack("<I", len(value)) + value


def name(module: str, attribute: str) -> bytes:
    """Return GLOBAL."""
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def stack_name(module: str, attribute: str) -> bytes:
    """Return STACK_GLOBAL with its operands."""
    return text(module) + text(attribute) + b"\x93"


def arguments(*values: object) -> bytes:
    """Return a tuple of strings, bytes, numbers and opcodes that are given as bytearray."""
    return b"(" + b"".join(value_of(value) for value in values) + b"t"


def value_of(value: object) -> bytes:
    """Return the opcodes of one value; a bytearray is opcodes already."""
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes):
        return octets(value)
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, tuple):
        return arguments(*value)
    raise TypeError(value)


def call(module: str, attribute: str, *values: object, proto: bytes = PROTO4) -> bytes:
    """Return a whole pickle that calls `module.attribute(*values)` by REDUCE."""
    return proto + name(module, attribute) + arguments(*values) + b"R."


def framed(body: bytes) -> bytes:
    """Return a protocol 4 pickle with the body in one frame."""
    return b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body

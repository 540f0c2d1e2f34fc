"""Runs the opcodes that are rare in models' pickles, in a table beside the machine's loop."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import codecs
import struct
import warnings
from collections.abc import Callable
from typing import Any, Final

from agents.checks.artifacts.pickle.machine_state import BrokenStreamError, MachineState
from agents.checks.artifacts.pickle.symbols import PERSISTENT, Mapping, Members, Result, Unknown

MIN_FILE: Final = 12
"""Bytes of a constant that may be a file."""
SPARSE_MEMO: Final = 1 << 20
"""The most that a memo index may exceed the memo's size: C allocates an array up to the index."""
ABSURD_LENGTH: Final = 1 << 38
ABSURD_NUMBER: Final = 1 << 24
MAX_DIGITS: Final = 4300
"""Digits of a number that is converted; Python's limit."""
KNOWN_NUMBER: Final = 64
"""Bytes of a number that is kept."""
_I32: Final = struct.Struct("<i").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from
_EXTENSION_WIDTHS: Final = {0x82: 1, 0x83: 2, 0x84: 4}


def _global(machine: MachineState, op: int, at: int, position: int) -> int:
    module, position = machine.line(position)
    name, position = machine.line(position)
    if not module or not name:
        raise BrokenStreamError("an import without a name")
    opcode = "GLOBAL" if op == 0x63 else "INST"
    found = machine.import_name(_text(module), _text(name), at, opcode)
    if op == 0x69:
        args = tuple(machine.stack)
        machine.stack = machine.outer.pop()
        machine.stack.append(machine.call(found, args, at, "INST"))
    else:
        machine.stack.append(found)
    return position


def _proto(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    version = machine.buffer[position]
    if version > 5:
        raise BrokenStreamError(f"protocol {version}")
    if at != machine.start:
        machine.flag("late-proto", at, f"PROTO {version} within the stream")
    machine.protocol = version
    return position + 1


def _frame(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    (length,) = _U64(machine.buffer, position)
    position += 8
    begin = machine.base + position
    if machine.frame_end >= 0 and begin < machine.frame_end:
        machine.flag("nested-frame", at, "a frame within a frame")
    if begin + length > machine.total:
        if length > ABSURD_LENGTH:
            machine.flag("absurd-length", at, f"a frame of {length} bytes declared")
        machine.flag("frame-too-long", at, f"a frame of {length} bytes exceeds the file")
        machine.frame_end = -1
    else:
        machine.frame_end = begin + length
    return position


def _number(machine: MachineState, op: int, at: int, position: int) -> int:
    line, position = machine.line(position)
    machine.stack.append(_read_number(machine, op, line, at))
    return position


def _read_number(machine: MachineState, op: int, line: bytes, at: int) -> Any:  # noqa: ANN401 -- int, bool or float
    """Return a number as C reads it: up to NUL, for INT and LONG in the base of its prefix."""
    text = line.split(b"\0", 1)[0]
    try:
        if op == 0x46:
            return float(text)
        if op == 0x4C:
            text = text.removesuffix(b"L")
        elif line in (b"00", b"01"):
            return line == b"01"
        if len(text) > MAX_DIGITS:
            return Unknown("number")
        try:
            return int(text, 0)
        except ValueError:
            return int(text, 8)  # strtol takes a leading 0 for octal
    except ValueError:
        machine.flag("bad-argument", at, f"a number that reads {line[:40]!r}")
        return Unknown("number")


def _string(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    line, position = machine.line(position)
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        machine.flag("bad-argument", at, "STRING without quotes")
    raw = line[1:-1]
    if b"\\" in raw:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # unknown escapes, which C accepts
                raw = codecs.escape_decode(raw)[0]
        except ValueError:
            machine.flag("bad-argument", at, "STRING with a broken escape")
    machine.stack.append(raw.decode("latin-1"))
    if len(raw) >= MIN_FILE:
        machine.observer.constant(raw, at)
    return position


def _unicode(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    line, position = machine.line(position)
    try:
        text = line.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        machine.flag("bad-argument", at, "UNICODE with a broken escape")
        text = line.decode("latin-1")
    machine.stack.append(text)
    if len(text) >= MIN_FILE:
        machine.observer.constant(text, at)
    return position


def _memo_key(machine: MachineState, position: int) -> tuple[int, int]:
    line, position = machine.line(position)
    try:
        return int(line.split(b"\0", 1)[0], 10), position
    except ValueError:
        raise BrokenStreamError("a memo index that is not a number") from None


def _get(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    key, position = _memo_key(machine, position)
    memo = machine.memo
    machine.stack.append(memo[key] if key in memo else machine.no_memo(key, at))
    return position


def _put(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    key, position = _memo_key(machine, position)
    if key < 0:
        raise BrokenStreamError("negative PUT argument")
    if key > SPARSE_MEMO and key > 2 * len(machine.memo) + SPARSE_MEMO:
        machine.flag("sparse-memo", at, f"memo index {key}")
    machine.memo[key] = machine.stack[-1]
    return position


def _persistent(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    line, position = machine.line(position)
    machine.stack.append(Result(PERSISTENT, _text(line), at))
    return position


def _extension(machine: MachineState, op: int, at: int, position: int) -> int:
    width = _EXTENSION_WIDTHS[op]
    if position + width > len(machine.buffer):
        raise IndexError
    code = int.from_bytes(machine.buffer[position : position + width], "little")
    machine.observer.anomaly("extension-code", at, f"extension registry code {code}")
    machine.stack.append(Unknown("extension"))
    return position + width


def _long(machine: MachineState, op: int, at: int, position: int) -> int:
    buffer = machine.buffer
    if op == 0x8A:
        length, position = buffer[position], position + 1
    else:
        (length,) = _I32(buffer, position)
        position += 4
        if length < 0:
            raise BrokenStreamError("LONG4 of negative length")
    if machine.base + position + length > machine.total:
        if length > ABSURD_NUMBER:
            machine.flag("absurd-length", at, f"a number of {length} bytes declared")
        raise BrokenStreamError(f"a number of {length} bytes exceeds the file")
    if position + length > len(buffer):
        machine.refill(machine.base + position + length)
        machine.stack.append(Unknown("number"))
        return 0
    raw = buffer[position : position + length]
    machine.stack.append(
        int.from_bytes(raw, "little", signed=True) if length <= KNOWN_NUMBER else Unknown("number")
    )
    return position + length


def _dup(machine: MachineState, op: int, at: int, position: int) -> int:
    del op, at
    machine.stack.append(machine.stack[-1])
    return position


def _pop_mark(machine: MachineState, op: int, at: int, position: int) -> int:
    del op, at
    machine.stack = machine.outer.pop()
    return position


def _list(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    items = machine.stack
    machine.stack = machine.outer.pop()
    machine.stack.append(list(items))
    if len(items) > 1 and items[0] is items[-1]:
        machine.doubled(items[0], machine.stack[-1], at)
    return position


def _dict(machine: MachineState, op: int, at: int, position: int) -> int:
    del op, at
    items = machine.stack
    if len(items) % 2:
        raise BrokenStreamError("DICT with an odd number of items")
    machine.stack = machine.outer.pop()
    machine.stack.append(Mapping(items))
    return position


def _empty_set(machine: MachineState, op: int, at: int, position: int) -> int:
    del op, at
    machine.stack.append(Members())
    return position


def _frozenset(machine: MachineState, op: int, at: int, position: int) -> int:
    del op, at
    items = machine.stack
    machine.stack = machine.outer.pop()
    machine.stack.append(tuple(items) if items else frozenset())
    return position


def _obj(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    items = machine.stack
    machine.stack = machine.outer.pop()
    machine.stack.append(machine.call(items[0], tuple(items[1:]), at, "OBJ"))
    return position


def _newobj_ex(machine: MachineState, op: int, at: int, position: int) -> int:
    del op
    keywords = machine.stack.pop()
    args = machine.stack.pop()
    callee = machine.stack.pop()
    machine.stack.append(machine.call(callee, (args, keywords), at, "NEWOBJ_EX"))
    return position


def _next_buffer(machine: MachineState, op: int, at: int, position: int) -> int:
    del op, at
    machine.stack.append(Unknown("buffer"))
    return position


def _readonly_buffer(machine: MachineState, op: int, at: int, position: int) -> int:
    del op, at
    if not machine.stack:
        raise IndexError
    return position


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


RARE_OPCODES: Final[dict[int, Callable[[MachineState, int, int, int], int]]] = {
    0x63: _global,  # GLOBAL
    0x69: _global,  # INST
    0x80: _proto,
    0x95: _frame,
    0x49: _number,  # INT
    0x4C: _number,  # LONG
    0x46: _number,  # FLOAT
    0x53: _string,
    0x56: _unicode,
    0x67: _get,
    0x70: _put,
    0x50: _persistent,  # PERSID
    0x82: _extension,  # EXT1
    0x83: _extension,  # EXT2
    0x84: _extension,  # EXT4
    0x8A: _long,  # LONG1
    0x8B: _long,  # LONG4
    0x32: _dup,
    0x31: _pop_mark,
    0x6C: _list,
    0x64: _dict,
    0x8F: _empty_set,
    0x91: _frozenset,
    0x6F: _obj,
    0x92: _newobj_ex,
    0x97: _next_buffer,
    0x98: _readonly_buffer,
}
"""By opcode: a function of the machine, the opcode, its offset in the file and the position in the
buffer after it, which returns the position after its argument."""

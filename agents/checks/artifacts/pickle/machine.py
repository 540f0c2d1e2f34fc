"""Steps through a pickle as CPython's C `_pickle` does, naming what it would import and call.

Nothing is imported, called or built: imports and results of calls are symbols on a simulated stack.
Sources: CPython 3.8 to 3.14 `Modules/_pickle.c`, PEP 307, PEP 3154, PEP 574.
"""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import codecs
import struct
import warnings
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from agents.checks.artifacts.scanning import Budget, Source

WINDOW: Final = 1 << 20
"""Bytes held at a time."""
FIRST_WINDOW: Final = 1 << 13
"""Bytes read first: most attempts at what is no pickle end within."""
MAX_CONSTANT: Final = 4 << 20
"""Longer constants are passed over; their beginning is kept."""
MAX_LINE: Final = 16 << 20
MAX_STACK: Final = 20_000_000
"""Values on the stack; more do not fit a scanning process."""
BLOB_HEAD: Final = 4096
STEP_CHUNK: Final = 4096
DEEP_NESTING: Final = 10_000
"""No pickler nests so deep: it recurses, and Python's limit is 1,000."""
DOUBLINGS: Final = 16
"""Containers of the same thing twice, one in the other: 2**16 visits and up."""
SPARSE_MEMO: Final = 1 << 20
"""How far a memo index may be ahead of the memo: C allocates an array of its size."""
ABSURD_LENGTH: Final = 1 << 38
ABSURD_NUMBER: Final = 1 << 24
BUDGET_EXHAUSTED: Final = "budget"

_U16: Final = struct.Struct("<H").unpack_from
_U32: Final = struct.Struct("<I").unpack_from
_I32: Final = struct.Struct("<i").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from


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
        """Keep what was named and where."""
        self.module = module
        self.name = name
        self.offset = offset
        self.opcode = opcode
        self.quiet = False
        """Calling it needs no mention."""
        self.creatable = False
        """Making an instance without its constructor (NEWOBJ) needs no mention."""
        self.evaluate: Callable[[Any, int], Any] | None = None
        """What a call with these arguments, at this offset, leaves on the stack."""
        self.instance = Result(self, None, offset)
        self.calls = 0

    def __str__(self) -> str:
        """Return `module.name`."""
        return f"{self.module}.{self.name}"


class Result:
    """What a call leaves on the stack."""

    __slots__ = ("args", "callee", "offset", "state")

    def __init__(self, callee: object, args: object, offset: int) -> None:
        """Keep what was called, with what, where."""
        self.callee = callee
        self.args = args
        self.offset = offset
        self.state: Any = None


class Blob:
    """A constant too long to hold."""

    __slots__ = ("head", "length", "offset")

    def __init__(self, offset: int, length: int, head: bytes) -> None:
        """Keep its place and beginning."""
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
    """A value that is not known: persistent objects, buffers, what a broken opcode left."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        """Say where it comes from."""
        self.kind = kind


class End(msgspec.Struct, frozen=True):
    """How a stream ended."""

    stopped: bool
    """At its STOP."""
    offset: int
    """Of the byte after it."""
    reason: str = ""
    opcodes: int = 0
    result: Any = None


class Observer(Protocol):
    """Hears what the stream does, in order."""

    def imported(self, found: Global, protocol: int) -> None:
        """Hear of an import; set how its calls are treated."""

    def called(self, callee: object, args: object, offset: int, opcode: str) -> object:
        """Hear of a call that is not quiet; return what it leaves, None for unknown."""

    def built(self, target: object, state: object, offset: int, position: int) -> int:
        """Hear of BUILD; return where the stream goes on (raw data may follow)."""

    def patched(self, target: object, offset: int, opcode: str) -> None:
        """Hear that items are set on something that is no plain container."""

    def constant(self, value: str | bytes, offset: int) -> None:
        """Hear of a constant that may hold a file."""

    def anomaly(self, kind: str, offset: int, detail: str) -> None:
        """Hear of what no pickler writes."""


_NESTING: Final = frozenset((tuple, list))


class _BrokenError(Exception):
    """The C machine would stop here."""


class _BudgetError(Exception):
    """The scan stops here."""


HOLDS_FILE: Final = frozenset(b"\x80PBc(x\x1f\xfd]}giIVSXUTKFGLYHQ/e86251\x04\x934M7R\x7f\x89")
"""First bytes of constants worth a look: pickles, archives, and both in base64 or hexadecimal."""
MIN_FILE: Final = 12


class Machine:
    """Runs one stream.

    Args:
        source: The bytes.
        start: Offset of the first opcode.
        observer: Hears what happens.
        budget: Spent one step per opcode.
    """

    def __init__(self, source: Source, start: int, observer: Observer, budget: Budget) -> None:
        """Prepare; nothing is read yet."""
        self.source = source
        self.total = source.size
        self.start = start
        self.observer = observer
        self.budget = budget
        self.protocol = 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.opcodes = 0
        self.buffer = b""
        self.base = start
        self.frame_end = -1
        self._levels: dict[int, tuple[int, object]] = {}
        self.persistent: list[tuple[Any, ...]] = []
        """Persistent ids, as PyTorch names storages by them."""
        self._depths: dict[int, tuple[int, object]] = {}
        self._flagged: set[str] = set()

    def run(self) -> End:
        """Step until STOP, an error or the budget's end."""
        position = 0
        try:
            position = self._steps()
        except _BudgetError:
            return End(False, self.base, BUDGET_EXHAUSTED, self.opcodes)
        except _BrokenError as error:
            return End(False, self._at, str(error), self.opcodes)
        except (IndexError, struct.error):
            reason = "the stream is truncated" if self._at_end() else "the stack is empty"
            return End(False, self._at, reason, self.opcodes)
        result = self.stack[-1] if self.stack else None
        return End(True, position, "", self.opcodes, result)

    _at: int = 0

    def _at_end(self) -> bool:
        return self._at + 16 >= self.total

    def _flag(self, kind: str, offset: int, detail: str) -> None:
        if kind not in self._flagged:
            self._flagged.add(kind)
            self.observer.anomaly(kind, offset, detail)

    def _spend(self, count: int) -> None:
        if self.budget.steps < count:
            raise _BudgetError
        self.budget.steps -= count

    def _refill(self, absolute: int) -> None:
        self.base = absolute
        self.buffer = self.source.read(absolute, WINDOW)

    def _steps(self) -> int:
        source, observer = self.source, self.observer
        memo, outer, stack = self.memo, self.outer, self.stack
        total = self.total
        self.buffer = buffer = source.read(self.start, FIRST_WINDOW)
        base, position = self.start, 0
        check = soft = 0  # the first step passes the gate below
        opcodes = settled = 0
        constant = observer.constant
        try:
            while True:
                if position >= check:
                    absolute = base + position
                    self._spend(opcodes - settled)
                    settled = opcodes
                    if self.frame_end >= 0 and absolute >= self.frame_end:
                        if absolute > self.frame_end:
                            self._flag("frame-straddle", absolute, "an argument crosses the frame")
                        self.frame_end = -1
                    if absolute >= total:
                        self._at = absolute
                        raise _BrokenError("the stream ends without STOP")
                    if position >= soft:
                        if soft or not buffer:
                            self._refill(absolute)
                        buffer, base, position = self.buffer, absolute, 0
                        if not buffer:
                            raise _BrokenError("the stream ends without STOP")
                        more = base + len(buffer) < total
                        soft = max(len(buffer) - 64, 1) if more else len(buffer)
                    check = min(soft, position + STEP_CHUNK * 16)
                    if self.frame_end >= 0:
                        check = min(check, self.frame_end - base)
                    if len(stack) > MAX_STACK or len(memo) > MAX_STACK:
                        raise _BudgetError
                at = position
                op = buffer[position]
                position += 1
                opcodes += 1
                # The most frequent first.
                if op == 0x94:  # MEMOIZE
                    memo[len(memo)] = stack[-1]
                elif op == 0x71:  # BINPUT
                    memo[buffer[position]] = stack[-1]
                    position += 1
                elif op == 0x68:  # BINGET
                    key = buffer[position]
                    position += 1
                    stack.append(memo[key] if key in memo else self._no_memo(key, base + at))
                elif op == 0x4B:  # BININT1
                    stack.append(buffer[position])
                    position += 1
                elif op in (0x8C, 0x58, 0x43, 0x55, 0x42, 0x54, 0x8D, 0x8E, 0x96):
                    if op in (
                        0x8C,
                        0x43,
                        0x55,
                    ):  # SHORT_BINUNICODE, SHORT_BINBYTES, SHORT_BINSTRING
                        length = buffer[position]
                        position += 1
                    elif op in (0x58, 0x42):  # BINUNICODE, BINBYTES
                        (length,) = _U32(buffer, position)
                        position += 4
                    elif op == 0x54:  # BINSTRING
                        (length,) = _I32(buffer, position)
                        position += 4
                        if length < 0:
                            raise _BrokenError("BINSTRING of negative length")
                    else:  # BINUNICODE8, BINBYTES8, BYTEARRAY8
                        (length,) = _U64(buffer, position)
                        position += 8
                    end = position + length
                    if end > len(buffer):
                        self._at = base + at
                        if base + end > total:
                            if length > ABSURD_LENGTH:
                                self._flag("absurd-length", base + at, f"{length} bytes declared")
                            if self.frame_end >= 0 and base + end > self.frame_end:
                                self._flag("frame-straddle", base + at, "it ends after the frame")
                            raise _BrokenError(f"a constant of {length} bytes exceeds the file")
                        absolute = base + position
                        if length > MAX_CONSTANT:
                            blob = Blob(absolute, length, source.read(absolute, BLOB_HEAD))
                            constant(blob.head, absolute)
                            stack.append(blob)
                            raw = None
                        else:
                            raw = source.read(absolute, length)
                        self._refill(absolute + length)
                        buffer, base, position = self.buffer, self.base, 0
                        more = base + len(buffer) < total
                        soft = max(len(buffer) - 64, 0) if more else len(buffer)
                        check = 0
                        at = 0
                        if raw is None:
                            continue
                        start = absolute
                    else:
                        raw = buffer[position:end]
                        start = base + position
                        position = end
                    if op in (0x8C, 0x58, 0x8D):
                        try:
                            text = raw.decode("utf-8", "surrogatepass")
                        except UnicodeDecodeError:
                            self._flag("bad-text", start, "a string that is not UTF-8")
                            text = raw.decode("latin-1")
                        stack.append(text)
                        if length >= MIN_FILE and raw[0] in HOLDS_FILE_OR_TEXT:
                            constant(text, start)
                    elif op in (0x55, 0x54):
                        text = raw.decode("latin-1")
                        stack.append(text)
                        if length >= MIN_FILE and raw[0] in HOLDS_FILE:
                            constant(raw, start)
                    else:
                        stack.append(raw)
                        if length >= MIN_FILE and raw[0] in HOLDS_FILE:
                            constant(raw, start)
                elif op == 0x6A:  # LONG_BINGET
                    (key,) = _U32(buffer, position)
                    position += 4
                    stack.append(memo[key] if key in memo else self._no_memo(key, base + at))
                elif op == 0x72:  # LONG_BINPUT
                    (key,) = _U32(buffer, position)
                    position += 4
                    memo[key] = stack[-1]
                    if key > SPARSE_MEMO and key > 2 * len(memo) + SPARSE_MEMO:
                        self._flag("sparse-memo", base + at, f"memo index {key}")
                elif op == 0x52:  # REDUCE
                    args = stack.pop()
                    callee = stack.pop()
                    if type(callee) is Global and callee.quiet and type(args) is tuple:
                        callee.calls += 1
                        if callee.evaluate is None:
                            stack.append(callee.instance)
                        else:
                            stack.append(callee.evaluate(args, base + at))
                    else:
                        stack.append(self._call(callee, args, base + at, "REDUCE"))
                elif op == 0x28:  # MARK
                    outer.append(stack)
                    self.stack = stack = []
                    if len(outer) > DEEP_NESTING:
                        self._flag("deep-nesting", base + at, f"{len(outer)} marks")
                elif op == 0x4A:  # BININT
                    stack.append(_I32(buffer, position)[0])
                    position += 4
                elif op == 0x4D:  # BININT2
                    stack.append(_U16(buffer, position)[0])
                    position += 2
                elif op == 0x47:  # BINFLOAT
                    if position + 8 > len(buffer):
                        raise IndexError
                    position += 8
                    stack.append(0.0)
                elif op == 0x86:  # TUPLE2
                    second = stack.pop()
                    first = stack.pop()
                    stack.append((first, second))
                    if first is second and type(first) is not str:
                        self._doubled(first, stack[-1], base + at)
                elif op == 0x85:  # TUPLE1
                    first = stack.pop()
                    stack.append((first,))
                    if type(first) in _NESTING and first:
                        self._nested(first, stack[-1], base + at)
                elif op == 0x87:  # TUPLE3
                    third = stack.pop()
                    second = stack.pop()
                    first = stack.pop()
                    stack.append((first, second, third))
                    if first is third and type(first) is not str:
                        self._doubled(first, stack[-1], base + at)
                elif op == 0x74:  # TUPLE
                    items = stack
                    self.stack = stack = outer.pop()
                    stack.append(tuple(items))
                    if len(items) > 1 and items[0] is items[-1]:
                        self._doubled(items[0], stack[-1], base + at)
                elif op == 0x4E:  # NONE
                    stack.append(None)
                elif op == 0x29:  # EMPTY_TUPLE
                    stack.append(())
                elif op == 0x7D:  # EMPTY_DICT
                    stack.append(Mapping())
                elif op == 0x5D:  # EMPTY_LIST
                    stack.append([])
                elif op == 0x88:  # NEWTRUE
                    stack.append(True)
                elif op == 0x89:  # NEWFALSE
                    stack.append(False)
                elif op in (0x75, 0x73):  # SETITEMS, SETITEM
                    if op == 0x75:
                        items = stack
                        self.stack = stack = outer.pop()
                        if len(items) % 2:
                            raise _BrokenError("SETITEMS with an odd number of items")
                    else:
                        value = stack.pop()
                        items = [stack.pop(), value]
                    target = stack[-1]
                    if type(target) is Mapping:
                        target.extend(items)
                    else:
                        self._fill(target, items, base + at, "SETITEMS")
                elif op in (0x65, 0x61, 0x90):  # APPENDS, APPEND, ADDITEMS
                    if op == 0x61:
                        items = [stack.pop()]
                    else:
                        items = stack
                        self.stack = stack = outer.pop()
                    target = stack[-1]
                    if type(target) is (Members if op == 0x90 else list):
                        target.extend(items)
                        if len(items) == 1 and type(items[0]) in _NESTING and items[0]:
                            self._nested(items[0], target, base + at)
                        if len(target) > 1 and items and target[0] is target[-1]:
                            self._doubled(items[-1], target, base + at)
                    else:
                        self._fill(target, items, base + at, "APPENDS")
                elif op == 0x62:  # BUILD
                    state = stack.pop()
                    target = stack[-1]
                    following = base + position
                    moved = observer.built(target, state, base + at, following)
                    if type(target) is Result:
                        target.state = state if target.args is not None else None
                    if moved != following:
                        self.frame_end = -1  # joblib ends the frame before raw data
                        self._refill(moved)
                        buffer, base, position = self.buffer, moved, 0
                        more = base + len(buffer) < total
                        soft = max(len(buffer) - 64, 0) if more else len(buffer)
                        check = 0
                elif op == 0x81:  # NEWOBJ
                    args = stack.pop()
                    callee = stack.pop()
                    if type(callee) is Global and callee.creatable and callee.evaluate is None:
                        callee.calls += 1
                        stack.append(callee.instance)
                    else:
                        stack.append(self._call(callee, args, base + at, "NEWOBJ"))
                elif op == 0x93:  # STACK_GLOBAL
                    name = stack.pop()
                    module = stack.pop()
                    stack.append(self._stack_global(module, name, base + at))
                elif op == 0x51:  # BINPERSID
                    args = stack.pop()
                    stack.append(Result(PERSISTENT, args, base + at))
                    if type(args) is tuple and len(args) > 4:
                        self.persistent.append(args)
                elif op == 0x30:  # POP
                    if stack:
                        stack.pop()
                    elif outer:
                        self.stack = stack = outer.pop()
                    else:
                        raise IndexError
                elif op == 0x2E:  # STOP
                    if not stack:
                        raise IndexError
                    self.base, self.opcodes = base, self.opcodes + opcodes
                    opcodes = 0
                    self._at = base + position
                    if self.frame_end >= 0 and base + position > self.frame_end:
                        self._flag("frame-straddle", base + at, "it ends after the frame")
                    return base + position
                else:
                    self._at = base + at
                    self.base = base
                    position = self._rare(op, base + at, position)
                    stack = self.stack
                    if self.buffer is not buffer:
                        buffer, base = self.buffer, self.base
                        more = base + len(buffer) < total
                        soft = max(len(buffer) - 64, 0) if more else len(buffer)
                    check = 0 if self.frame_end >= 0 or check > soft else check
        finally:
            self.opcodes += opcodes
            self.stack = stack
            self._at = max(self._at, base + min(position, len(buffer)))

    # what is rare

    def _rare(self, op: int, at: int, position: int) -> int:
        """Run an opcode outside the hot path; return the position in the buffer after it."""
        stack, buffer = self.stack, self.buffer
        if op in (0x63, 0x69):  # GLOBAL, INST
            module, position = self._line(position)
            name, position = self._line(position)
            if not module or not name:
                raise _BrokenError("an import without a name")
            found = self._import(_text(module), _text(name), at, "GLOBAL" if op == 0x63 else "INST")
            if op == 0x69:
                args = tuple(stack)
                self.stack = self.outer.pop()
                self.stack.append(self._call(found, args, at, "INST"))
            else:
                stack.append(found)
        elif op == 0x80:  # PROTO
            version = buffer[position]
            position += 1
            if version > 5:
                raise _BrokenError(f"protocol {version}")
            if at != self.start:
                self._flag("late-proto", at, f"PROTO {version} within the stream")
            self.protocol = version
        elif op == 0x95:  # FRAME
            (length,) = _U64(buffer, position)
            position += 8
            begin = self.base + position
            if self.frame_end >= 0 and begin < self.frame_end:
                self._flag("nested-frame", at, "a frame within a frame")
            if begin + length > self.total:
                if length > ABSURD_LENGTH:
                    self._flag("absurd-length", at, f"a frame of {length} bytes declared")
                self._flag("frame-too-long", at, f"a frame of {length} bytes exceeds the file")
                self.frame_end = -1
            else:
                self.frame_end = begin + length
        elif op in (0x49, 0x4C, 0x46):  # INT, LONG, FLOAT
            line, position = self._line(position)
            stack.append(self._number(op, line, at))
        elif op == 0x53:  # STRING
            line, position = self._line(position)
            if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
                self._flag("bad-argument", at, "STRING without quotes")
            raw = line[1:-1]
            if b"\\" in raw:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # of unknown escapes, which C takes
                        raw = codecs.escape_decode(raw)[0]
                except ValueError:
                    self._flag("bad-argument", at, "STRING with a broken escape")
            stack.append(raw.decode("latin-1"))
            if len(raw) >= MIN_FILE:
                self.observer.constant(raw, at)
        elif op == 0x56:  # UNICODE
            line, position = self._line(position)
            try:
                text = line.decode("raw-unicode-escape")
            except UnicodeDecodeError:
                self._flag("bad-argument", at, "UNICODE with a broken escape")
                text = line.decode("latin-1")
            stack.append(text)
            if len(text) >= MIN_FILE:
                self.observer.constant(text, at)
        elif op in (0x67, 0x70):  # GET, PUT
            line, position = self._line(position)
            try:
                key = int(line.split(b"\0", 1)[0], 10)
            except ValueError:
                raise _BrokenError("a memo index that is no number") from None
            if op == 0x67:
                stack.append(self.memo[key] if key in self.memo else self._no_memo(key, at))
            else:
                if key < 0:
                    raise _BrokenError("negative PUT argument")
                if key > SPARSE_MEMO and key > 2 * len(self.memo) + SPARSE_MEMO:
                    self._flag("sparse-memo", at, f"memo index {key}")
                self.memo[key] = stack[-1]
        elif op == 0x50:  # PERSID
            line, position = self._line(position)
            stack.append(Result(PERSISTENT, _text(line), at))
        elif op in (0x82, 0x83, 0x84):  # EXT1, EXT2, EXT4
            width = {0x82: 1, 0x83: 2, 0x84: 4}[op]
            if position + width > len(buffer):
                raise IndexError
            code = int.from_bytes(buffer[position : position + width], "little")
            position += width
            self.observer.anomaly("extension-code", at, f"extension registry code {code}")
            stack.append(Unknown("extension"))
        elif op in (0x8A, 0x8B):  # LONG1, LONG4
            if op == 0x8A:
                length, position = buffer[position], position + 1
            else:
                (length,) = _I32(buffer, position)
                position += 4
                if length < 0:
                    raise _BrokenError("LONG4 of negative length")
            if self.base + position + length > self.total:
                if length > ABSURD_NUMBER:
                    self._flag("absurd-length", at, f"a number of {length} bytes declared")
                raise _BrokenError(f"a number of {length} bytes exceeds the file")
            if position + length > len(buffer):
                self._refill(self.base + position + length)
                stack.append(Unknown("number"))
                return 0
            raw = buffer[position : position + length]
            stack.append(
                int.from_bytes(raw, "little", signed=True) if length <= 64 else Unknown("number")
            )
            position += length
        elif op == 0x32:  # DUP
            stack.append(stack[-1])
        elif op == 0x31:  # POP_MARK
            self.stack = self.outer.pop()
        elif op == 0x6C:  # LIST
            self.stack = self.outer.pop()
            self.stack.append(list(stack))
            if len(stack) > 1 and stack[0] is stack[-1]:
                self._doubled(stack[0], self.stack[-1], at)
        elif op == 0x64:  # DICT
            if len(stack) % 2:
                raise _BrokenError("DICT with an odd number of items")
            self.stack = self.outer.pop()
            self.stack.append(Mapping(stack))
        elif op == 0x8F:  # EMPTY_SET
            stack.append(Members())
        elif op == 0x91:  # FROZENSET
            self.stack = self.outer.pop()
            self.stack.append(frozenset() if not stack else tuple(stack))
        elif op == 0x6F:  # OBJ
            self.stack = self.outer.pop()
            callee = stack[0]
            self.stack.append(self._call(callee, tuple(stack[1:]), at, "OBJ"))
        elif op == 0x92:  # NEWOBJ_EX
            keywords = stack.pop()
            args = stack.pop()
            callee = stack.pop()
            stack.append(self._call(callee, (args, keywords), at, "NEWOBJ_EX"))
        elif op == 0x97:  # NEXT_BUFFER
            stack.append(Unknown("buffer"))
        elif op == 0x98:  # READONLY_BUFFER
            stack[-1]
        else:
            raise _BrokenError(f"invalid opcode 0x{op:02x}")
        return position

    def _line(self, position: int) -> tuple[bytes, int]:
        """Return the text up to the end of the line, and the position in the buffer after it."""
        end = self.buffer.find(b"\n", position)
        if end < 0:
            begin = self.base + position
            if begin + len(self.buffer) - position < self.total:
                self.base = begin
                self.buffer = self.source.read(begin, MAX_LINE)
                position = 0
                end = self.buffer.find(b"\n")
            if end < 0:
                raise _BrokenError("a line without end")
        return self.buffer[position:end], end + 1

    def _number(self, op: int, line: bytes, at: int) -> Any:  # noqa: ANN401 -- int, bool or float
        """Return a number as C reads it: up to NUL, INT and LONG in the base that they show."""
        text = line.split(b"\0", 1)[0]
        try:
            if op == 0x46:
                return float(text)
            if op == 0x4C:
                text = text.removesuffix(b"L")
            elif line in (b"00", b"01"):
                return line == b"01"
            if len(text) > 4300:
                return Unknown("number")
            try:
                return int(text, 0)
            except ValueError:
                return int(text, 8)  # strtol takes a leading 0 for octal
        except ValueError:
            self._flag("bad-argument", at, f"a number that reads {line[:40]!r}")
            return Unknown("number")

    def _no_memo(self, key: int, at: int) -> Unknown:
        self._flag("missing-memo", at, f"memo index {key} was never set")
        return Unknown("memo")

    def _import(self, module: str, name: str, at: int, opcode: str) -> Global:
        found = Global(module, name, at, opcode)
        self.observer.imported(found, self.protocol)
        return found

    def _stack_global(self, module: object, name: object, at: int) -> object:
        if type(module) is str and type(name) is str:
            return self._import(module, name, at, "STACK_GLOBAL")
        self.observer.anomaly(
            "computed-name", at, f"import of {describe(module)} {describe(name)}, not of constants"
        )
        return Unknown("import")

    def _call(self, callee: object, args: object, at: int, opcode: str) -> object:
        if type(callee) is Result and callee.callee is PERSISTENT:
            # PyTorch before 1.6 names a class beside its source: ("module", class, file, source).
            pid = callee.args
            if type(pid) is tuple and len(pid) > 1 and type(pid[1]) is Global:
                callee = pid[1]
        result = self.observer.called(callee, args, at, opcode)
        return Result(callee, args, at) if result is None else result

    def _fill(self, target: object, items: list[Any], at: int, opcode: str) -> None:
        if type(target) is Result:
            if target.args is not None and target.state is None:
                target.state = items
            return
        self.observer.patched(target, at, opcode)

    def _nested(self, inner: object, whole: object, at: int) -> None:
        """Count how deep single things are put within one another, until that is too deep."""
        if "deep-nesting" in self._flagged:
            return
        depth = self._depths.get(id(inner), (0, None))[0] + 1
        self._depths[id(whole)] = (depth, whole)
        if depth > DEEP_NESTING:
            self._flag("deep-nesting", at, f"{depth} containers within one another")

    def _doubled(self, inner: object, whole: object, at: int) -> None:
        if type(inner) not in (tuple, list):
            return
        level = self._levels.get(id(inner), (0, None))[0] + 1
        self._levels[id(whole)] = (level, whole)
        if level >= DOUBLINGS:
            self._flag("expansion", at, f"{level} containers that each hold the next twice")


HOLDS_FILE_OR_TEXT: Final = HOLDS_FILE | {0xC2, 0x00}
"""As HOLDS_FILE, of text: a latin-1 reading begins with 0xC2 in UTF-8."""
PERSISTENT: Final = Unknown("persistent")


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


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

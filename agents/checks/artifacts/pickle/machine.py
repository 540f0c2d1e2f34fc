"""Steps through a pickle like CPython's C `_pickle`, and reports what it would import and call.

Nothing is imported, called or built: imports and results of calls are symbols on a simulated stack.
The frequent opcodes are one loop over local variables, the most frequent first: a dispatch through
functions takes several times as long, and a model has millions of them. The rare opcodes are a
table.
Sources: CPython 3.8 to 3.14 `Modules/_pickle.c`, PEP 307, PEP 3154, PEP 574.
"""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

import struct
from typing import Final

from agents.checks.artifacts.pickle.machine_state import (
    DEEP_NESTING,
    FIRST_WINDOW,
    BrokenStreamError,
    MachineState,
)
from agents.checks.artifacts.pickle.rare_opcodes import (
    ABSURD_LENGTH,
    MIN_FILE,
    RARE_OPCODES,
    SPARSE_MEMO,
)
from agents.checks.artifacts.pickle.symbols import (
    PERSISTENT,
    Blob,
    Global,
    Mapping,
    Members,
    Result,
    StreamEnd,
)

MAX_CONSTANT: Final = 4 << 20
"""Longer constants are skipped; their beginning is kept."""
MAX_STACK: Final = 20_000_000
"""Values on the stack; more do not fit a scanning process."""
BLOB_HEAD: Final = 4096
LONGEST_OPCODE: Final = 64
"""Bytes of an opcode and its argument, except constants and lines, whose end is searched."""
STEP_CHUNK: Final = 4096
BUDGET_EXHAUSTED: Final = "budget"

_U16: Final = struct.Struct("<H").unpack_from
_U32: Final = struct.Struct("<I").unpack_from
_I32: Final = struct.Struct("<i").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from


_NESTING: Final = frozenset((tuple, list))


class StepsSpentError(Exception):
    """The budget of steps is spent, or the stack is too large: the scan stops here."""


HOLDS_FILE: Final = frozenset(b"\x80PBc(x\x1f\xfd]}giIVSXUTKFGLYHQ/e86251\x04\x934M7R\x7f\x89")
"""First bytes of constants worth a look: pickles, archives, and both in base64 or hexadecimal."""


class Machine(MachineState):
    """Runs one stream."""

    def run(self) -> StreamEnd:
        """Step until STOP, an error or the budget's end."""
        position = 0
        try:
            position = self._steps()
        except StepsSpentError:
            return StreamEnd(False, self.base, BUDGET_EXHAUSTED, self.opcodes)
        except BrokenStreamError as error:
            return StreamEnd(False, self._at, str(error), self.opcodes)
        except (IndexError, struct.error):
            reason = "the stream is truncated" if self._at_end() else "the stack is empty"
            return StreamEnd(False, self._at, reason, self.opcodes)
        result = self.stack[-1] if self.stack else None
        return StreamEnd(True, position, "", self.opcodes, result)

    _at: int = 0

    def _at_end(self) -> bool:
        return self._at + 16 >= self.total

    def _spend(self, count: int) -> None:
        if self.budget.steps < count:
            raise StepsSpentError
        self.budget.steps -= count

    def _soft_end(self) -> int:
        """Return the position from which an opcode and its argument may not be in the buffer."""
        if self.base + len(self.buffer) >= self.total:
            return len(self.buffer)
        return max(len(self.buffer) - LONGEST_OPCODE, 0)

    def _leave_frame(self, absolute: int) -> None:
        """End the frame if an opcode begins at its end, or after it."""
        if 0 <= self.frame_end <= absolute:
            if absolute > self.frame_end:
                self.flag("frame-straddle", absolute, "an argument crosses the frame")
            self.frame_end = -1

    def _long_constant(self, at: int, begin: int, length: int) -> bytes | None:
        """Read a constant that does not end in the buffer, and refill the buffer after it.

        Args:
            at: Offset of the opcode.
            begin: Offset of the constant.
            length: Its length, as declared.

        Returns:
            The constant; None if it is too long to be kept: a `Blob` is on the stack.

        Raises:
            BrokenStreamError: It exceeds the file.
        """
        end = begin + length
        self._at = at
        if end > self.total:
            if length > ABSURD_LENGTH:
                self.flag("absurd-length", at, f"{length} bytes declared")
            if 0 <= self.frame_end < end:
                self.flag("frame-straddle", at, "it ends after the frame")
            raise BrokenStreamError(f"a constant of {length} bytes exceeds the file")
        self.reached = begin + min(length, MAX_CONSTANT)
        raw = None
        if length > MAX_CONSTANT:
            blob = Blob(begin, length, self.source.read(begin, BLOB_HEAD))
            self.observer.constant(blob.head, begin)
            self.stack.append(blob)
        else:
            raw = self.source.read(begin, length)
        self.refill(end)
        return raw

    def _steps(self) -> int:
        # One long loop on purpose: a model has millions of opcodes, and a function for each takes
        # several times as long. What happens once in a buffer is in functions.
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
                    self._leave_frame(absolute)
                    if absolute >= total:
                        self._at = absolute
                        raise BrokenStreamError("the stream ends without STOP")
                    if position >= soft:
                        if position or not buffer:
                            self.refill(absolute)
                        buffer, base, position = self.buffer, absolute, 0
                        if not buffer:
                            raise BrokenStreamError("the stream ends without STOP")
                        soft = max(self._soft_end(), 1)
                    check = min(soft, position + STEP_CHUNK * 16)
                    if self.frame_end >= 0:
                        check = min(check, self.frame_end - base)
                    if len(stack) > MAX_STACK or len(memo) > MAX_STACK:
                        raise StepsSpentError
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
                    stack.append(memo[key] if key in memo else self.no_memo(key, base + at))
                elif op == 0x4B:  # BININT1
                    stack.append(buffer[position])
                    position += 1
                elif op in (0x8C, 0x58, 0x43, 0x55, 0x42, 0x54, 0x8D, 0x8E, 0x96):
                    # SHORT_BINUNICODE, SHORT_BINBYTES, SHORT_BINSTRING
                    if op in (0x8C, 0x43, 0x55):
                        length = buffer[position]
                        position += 1
                    elif op in (0x58, 0x42):  # BINUNICODE, BINBYTES
                        (length,) = _U32(buffer, position)
                        position += 4
                    elif op == 0x54:  # BINSTRING
                        (length,) = _I32(buffer, position)
                        position += 4
                        if length < 0:
                            raise BrokenStreamError("BINSTRING of negative length")
                    else:  # BINUNICODE8, BINBYTES8, BYTEARRAY8
                        (length,) = _U64(buffer, position)
                        position += 8
                    end = position + length
                    if end > len(buffer):
                        start = base + position
                        raw = self._long_constant(base + at, start, length)
                        buffer, base, position = self.buffer, self.base, 0
                        soft, check = self._soft_end(), 0
                        if raw is None:
                            continue
                    else:
                        raw = buffer[position:end]
                        start = base + position
                        position = end
                    if op in (0x8C, 0x58, 0x8D):
                        try:
                            text = raw.decode("utf-8", "surrogatepass")
                        except UnicodeDecodeError:
                            self.flag("bad-text", start, "a string that is not UTF-8")
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
                    stack.append(memo[key] if key in memo else self.no_memo(key, base + at))
                elif op == 0x72:  # LONG_BINPUT
                    (key,) = _U32(buffer, position)
                    position += 4
                    memo[key] = stack[-1]
                    if key > SPARSE_MEMO and key > 2 * len(memo) + SPARSE_MEMO:
                        self.flag("sparse-memo", base + at, f"memo index {key}")
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
                        stack.append(self.call(callee, args, base + at, "REDUCE"))
                elif op == 0x28:  # MARK
                    outer.append(stack)
                    self.stack = stack = []
                    if len(outer) > DEEP_NESTING:
                        self.flag("deep-nesting", base + at, f"{len(outer)} marks")
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
                        self.doubled(first, stack[-1], base + at)
                elif op == 0x85:  # TUPLE1
                    first = stack.pop()
                    stack.append((first,))
                    if type(first) in _NESTING and first:
                        self.nested(first, stack[-1], base + at)
                elif op == 0x87:  # TUPLE3
                    third = stack.pop()
                    second = stack.pop()
                    first = stack.pop()
                    stack.append((first, second, third))
                    if first is third and type(first) is not str:
                        self.doubled(first, stack[-1], base + at)
                elif op == 0x74:  # TUPLE
                    items = stack
                    self.stack = stack = outer.pop()
                    stack.append(tuple(items))
                    if len(items) > 1 and items[0] is items[-1]:
                        self.doubled(items[0], stack[-1], base + at)
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
                            raise BrokenStreamError("SETITEMS with an odd number of items")
                    else:
                        value = stack.pop()
                        items = [stack.pop(), value]
                    target = stack[-1]
                    if type(target) is Mapping:
                        target.extend(items)
                    else:
                        self.fill(target, items, base + at, "SETITEMS")
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
                            self.nested(items[0], target, base + at)
                        if len(target) > 1 and items and target[0] is target[-1]:
                            self.doubled(items[-1], target, base + at)
                    else:
                        self.fill(target, items, base + at, "APPENDS")
                elif op == 0x62:  # BUILD
                    state = stack.pop()
                    target = stack[-1]
                    following = base + position
                    moved = observer.built(target, state, base + at, following)
                    if type(target) is Result:
                        target.state = state if target.args is not None else None
                    if moved != following:
                        self.frame_end = -1  # joblib ends the frame before raw data
                        self.refill(moved)
                        buffer, base, position = self.buffer, moved, 0
                        soft, check = self._soft_end(), 0
                elif op == 0x81:  # NEWOBJ
                    args = stack.pop()
                    callee = stack.pop()
                    if type(callee) is Global and callee.creatable and callee.evaluate is None:
                        callee.calls += 1
                        stack.append(callee.instance)
                    else:
                        stack.append(self.call(callee, args, base + at, "NEWOBJ"))
                elif op == 0x93:  # STACK_GLOBAL
                    name = stack.pop()
                    module = stack.pop()
                    stack.append(self.stack_global(module, name, base + at))
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
                    self.base = base
                    self._at = base + position
                    if self.frame_end >= 0 and base + position > self.frame_end:
                        self.flag("frame-straddle", base + at, "it ends after the frame")
                    return base + position
                else:
                    self._at = base + at
                    self.base = base
                    run = RARE_OPCODES.get(op)
                    if run is None:
                        raise BrokenStreamError(f"invalid opcode 0x{op:02x}")
                    position = run(self, op, base + at, position)
                    stack = self.stack
                    if self.buffer is not buffer:
                        buffer, base = self.buffer, self.base
                        soft = self._soft_end()
                    check = 0 if self.frame_end >= 0 or check > soft else check
        finally:
            self.budget.steps -= opcodes - settled + 1  # who looks at it next finds it spent
            self.opcodes += opcodes
            self.stack = stack
            self._at = max(self._at, base + min(position, len(buffer)))


HOLDS_FILE_OR_TEXT: Final = HOLDS_FILE | {0xC2, 0x00}
"""As HOLDS_FILE, of text: a latin-1 reading begins with 0xC2 in UTF-8."""

"""Holds the state of a pickle machine, and what its opcodes share.

Nothing is imported, called or built: imports and results of calls are symbols on a simulated stack.
"""

from __future__ import annotations

from typing import Any, Final

from agents.checks.artifacts.pickle.symbols import (
    Global,
    Observer,
    Result,
    Unknown,
    describe,
    holds_items,
    named_class,
)
from agents.checks.artifacts.scanning import Budget, Source

WINDOW: Final = 1 << 20
"""Bytes held at a time."""
FIRST_WINDOW: Final = 1 << 13
"""Bytes read first: most attempts at data that is not a pickle end within them."""
MAX_LINE: Final = 16 << 20
DEEP_NESTING: Final = 10_000
"""Picklers recurse, and Python's limit is 1,000: they never nest deeper than that."""
DOUBLINGS: Final = 16
"""Nested containers that each hold the next twice: 2**16 visits and more."""


class BrokenStreamError(Exception):
    """CPython's machine stops here with an error."""


class MachineState:
    """The state of one stream.

    Args:
        source: The bytes.
        start: Offset of the first opcode.
        observer: Receives what happens.
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
        self.reached = start
        """How far the file was read, including bytes after the stop."""
        self.frame_end = -1
        self._levels: dict[int, tuple[int, object]] = {}
        self.persistent: list[tuple[Any, ...]] = []
        """Persistent ids, by which PyTorch names storages."""
        self._depths: dict[int, tuple[int, object]] = {}
        self._flagged: set[str] = set()

    def flag(self, kind: str, offset: int, detail: str) -> None:
        """Report an anomaly to the observer, the first of its kind."""
        if kind not in self._flagged:
            self._flagged.add(kind)
            self.observer.anomaly(kind, offset, detail)

    def refill(self, absolute: int) -> None:
        """Refill the buffer from an offset of the file."""
        # Read as much again as before, so that a stream that ends soon costs little.
        length = min(max(absolute - self.start, FIRST_WINDOW), WINDOW)
        self.base = absolute
        self.buffer = self.source.read(absolute, length)

    def line(self, position: int) -> tuple[bytes, int]:
        """Return the text up to the end of the line, and the position in the buffer after it."""
        end = self.buffer.find(b"\n", position)
        if end < 0:
            begin, length = self.base + position, FIRST_WINDOW
            held = len(self.buffer) - position
            while end < 0 and begin + held < self.total and held < MAX_LINE:
                length = min(2 * max(length, held), MAX_LINE)
                self.base = begin
                self.buffer = self.source.read(begin, length)
                position, held = 0, len(self.buffer)
                end = self.buffer.find(b"\n")
            self.reached = max(self.reached, begin + held)
            if end < 0:
                raise BrokenStreamError("a line without end")
        return self.buffer[position:end], end + 1

    def no_memo(self, key: int, at: int) -> Unknown:
        """Return the placeholder of a memo entry that was never set."""
        self.flag("missing-memo", at, f"memo index {key} was never set")
        return Unknown("memo")

    def import_name(self, module: str, name: str, at: int, opcode: str) -> Global:
        """Have the observer judge an import, and return its value."""
        found = Global(module, name, at, opcode)
        self.observer.imported(found, self.protocol)
        return found

    def stack_global(self, module: object, name: object, at: int) -> object:
        """Return the value of an import that two values of the stack name."""
        if type(module) is str and type(name) is str:
            return self.import_name(module, name, at, "STACK_GLOBAL")
        self.observer.anomaly(
            "computed-name", at, f"import of {describe(module)} {describe(name)}, not of constants"
        )
        return Unknown("import")

    def call(self, callee: object, args: object, at: int, opcode: str) -> object:
        """Have the observer judge a call, and return its result on the stack."""
        callee = named_class(callee)
        result = self.observer.called(callee, args, at, opcode)
        return Result(callee, args, at) if result is None else result

    def fill(self, target: object, items: list[Any], at: int, opcode: str) -> None:
        """Have the observer judge items that are set on anything but a plain container."""
        if type(target) is Result:
            if not holds_items(target):
                self.observer.patched(target, at, opcode)
            if target.args is not None and target.state is None:
                target.state = items
            return
        self.observer.patched(target, at, opcode)

    def nested(self, inner: object, whole: object, at: int) -> None:
        """Count nested containers of a single value, up to the limit."""
        if "deep-nesting" in self._flagged:
            return
        depth = self._depths.get(id(inner), (0, None))[0] + 1
        self._depths[id(whole)] = (depth, whole)
        if depth > DEEP_NESTING:
            self.flag("deep-nesting", at, f"{depth} containers within one another")

    def doubled(self, inner: object, whole: object, at: int) -> None:
        """Count nested containers that hold the next one twice, up to the limit."""
        if type(inner) not in (tuple, list):
            return
        level = self._levels.get(id(inner), (0, None))[0] + 1
        self._levels[id(whole)] = (level, whole)
        if level >= DOUBLINGS:
            self.flag("expansion", at, f"{level} containers that each hold the next twice")

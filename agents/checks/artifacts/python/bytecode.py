"""Reads compiled Python within bounds: which names its code uses and which constants it holds.

Nothing is unmarshalled: the values are walked and dropped, except names and texts.
"""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

from typing import Final

import msgspec

from agents.checks.artifacts.dangerous_names import names
from agents.checks.artifacts.formats.format import FileName, Format, Trait
from agents.checks.artifacts.program_files import is_of_program
from agents.checks.artifacts.python.shell_commands import (
    PART,
    Followed,
    is_private_path,
    is_untrusted_fetch,
    opens_to_outside,
)
from agents.checks.artifacts.readers.embedded import descend_decoded
from agents.checks.artifacts.readers.window import read_document
from agents.checks.artifacts.scanning import Budget, BytesSource, CorruptFileError, Scan, Source
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

MAX_VALUES: Final = 500_000
MAX_DEPTH: Final = 200
_FIXED: Final = {
    b"0": 0, b"N": 0, b"F": 0, b"T": 0, b"S": 0, b".": 0, b"i": 4, b"I": 8, b"g": 8, b"y": 16,
    b"r": 4, b"R": 4,
}  # fmt: skip
_LONG_TEXTS: Final = b"stuaA"
_SHORT_TEXTS: Final = b"zZ"
_LISTS: Final = b"([<>"
_IDENTIFIER: Final = late_pattern(rb"[A-Za-z_]\w*")
LAYOUTS: Final = ((5, 2), (6, 1), (5, 1), (4, 1))
"""Integers before a code object's values, and tables behind them: 3.11, 3.8, 3.0 and 2."""


class Code(msgspec.Struct):
    """The names and constants of a code object."""

    names: set[str] = msgspec.field(default_factory=set)
    constants: list[bytes] = msgspec.field(default_factory=list)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is compiled Python: its magic, then a marshalled code object."""
    del name
    if source.size < 20 or head[2:4] != b"\r\n":
        return False
    magic = int.from_bytes(head[:2], "little")
    return (3000 <= magic <= 4000 or 50_000 <= magic <= 63_000) and _start(head) > 0


def _start(head: bytes) -> int:
    return next((at for at in (16, 12, 8) if head[at : at + 1] in (b"\xe3", b"c")), 0)


def parse(scan: Scan, name: FileName, source: Source) -> None:
    """Report what compiled code uses.

    Raises:
        CorruptFileError: the code ends early.

    Source: CPython's `marshal.c`, versions 0 to 5; PEP 552.
    """
    raw = read_document(scan, source)
    hides = name.has(Trait.WEIGHTS)
    scan.report(
        "TW-MODEL-BYTECODE",
        "compiled Python" + (" under the name of weights" if hides else " beside the weights"),
        severity=Severity.CRITICAL if hides else None,
        offset=0,
    )
    own = is_of_program(scan, name)
    if own:
        scan.mark_unsupported("compiled code of a program is only searched for commands")
    report_code(scan, raw[_start(raw[:20]) :], "code", in_program=own)


def report_code(scan: Scan, raw: bytes, key: str, *, in_program: bool = False) -> None:
    """Report what marshalled code uses, up to where it breaks off.

    Args:
        scan: Where to report.
        raw: The marshalled value.
        key: Where it is.
        in_program: Whether it is a program's own, whose names alone show nothing.

    Raises:
        CorruptFileError: the code ends early.
    """
    code = Code()
    fault: CorruptFileError | None = None
    for layout in LAYOUTS:
        try:
            walk_code(raw, code, layout, scan.budget)
        except CorruptFileError as error:
            fault = fault or error
        else:
            fault = None
            break
    if used := sorted(code.names & names("bytecode")):
        scan.report(
            "TW-MODEL-BYTECODE-RUNS",
            f"compiled code uses {', '.join(used[:8])}",
            severity=Severity.LOW if in_program else None,
            key=key,
            name=used[0],
        )
    for constant in dict.fromkeys(code.constants):
        _judge_constant(scan, constant, key, in_program=in_program)
    if fault is not None:
        raise fault


def walk_code(raw: bytes, code: Code, layout: tuple[int, int], budget: Budget) -> None:
    """Gather the names and constants of marshalled code, in the layout of one range of versions.

    Args:
        raw: The marshalled value.
        code: Receives its names and constants.
        layout: One of `LAYOUTS`.
        budget: The limits of the walk's cost.

    Raises:
        CorruptFileError: the code ends early, or has another layout.
        BudgetExceededError: the budget is spent.
    """
    _Reader(budget, raw, code, layout).walk()


def _judge_constant(scan: Scan, constant: bytes, key: str, *, in_program: bool) -> None:
    text = constant.decode("utf-8", "replace")
    short = len(text) < PART and (
        _COMMAND.search(text) or _PIPED.is_in(text) or is_private_path(text)
    )
    if short or (len(text) >= PART and opens_to_outside(text)):  # a long text may quote commands
        named = in_program and not is_untrusted_fetch(text)
        scan.report(
            "TW-MODEL-BYTECODE-RUNS",
            f"compiled code holds {text[:80]!r}",
            severity=Severity.LOW if named else None,
            key=key,
            name=text[:80],
        )
    elif not descend_decoded(scan, f"{key}:decoded", text) and constant[:2] in (b"\x80\x04", b"PK"):
        scan.descend(f"{key}:constant", BytesSource(constant))


_COMMAND: Final = late_pattern(r"/dev/tcp/|bash\s+-i|powershell(\.exe)?\s+-|/bin/(ba)?sh\b")
_PIPED: Final = Followed(
    late_pattern(r"(curl|wget)\s"), late_pattern(r"\|\s*(ba|z)?sh"), late_pattern(r"\n")
)


class _Reader:
    """One walk over one marshalled value, in the layout of one range of versions."""

    def __init__(self, budget: Budget, raw: bytes, code: Code, layout: tuple[int, int]) -> None:
        self._budget = budget
        self._raw = raw
        self._code = code
        self._integers, self._tail = layout
        self._at = 0

    def walk(self) -> None:
        """Walk the value without recursion.

        Raises:
            CorruptFileError: it ends early, or is larger or deeper than any code.
        """
        pending: list[tuple[int, int]] = [(1, 0)]
        """Values to come, and bytes to skip before them; -1 values end with a mark."""
        count = 0
        while pending:
            left, skipped = pending.pop()
            self._take(skipped)
            if left == 0:
                continue
            count += 1
            self._budget.step(1)
            if count > MAX_VALUES or len(pending) > MAX_DEPTH:
                raise CorruptFileError("compiled code is too large or nested too deeply")
            kind = bytes([self._take(1)[0] & 0x7F])
            if kind == b"0" and left < 0:
                continue
            pending.append((left - 1 if left > 0 else left, 0))
            if kind == b"c":
                # code, constants, names ... name; the first line's number; tables
                pending += [(self._tail, 4), (8, 4 * self._integers)]
            elif inner := self._value(kind):
                pending.append((inner, 0))

    def _value(self, kind: bytes) -> int:
        """Skip one value; return how many it contains, -1 if a mark ends them."""
        if kind in _FIXED:
            self._take(_FIXED[kind])
        elif kind in (b"f", b"x"):
            for _ in range(1 if kind == b"f" else 2):
                self._take(self._number(1))
        elif kind == b"l":
            self._take(abs(int.from_bytes(self._take(4), "little", signed=True)) * 2)
        elif kind[0] in _SHORT_TEXTS:
            self._text(self._take(self._number(1)))
        elif kind[0] in _LONG_TEXTS:
            self._text(self._take(self._number(4)))
        elif kind == b")":
            return self._number(1)
        elif kind[0] in _LISTS:
            return self._number(4)
        elif kind == b"{":
            return -1
        elif kind == b":":
            return 3
        else:
            raise CorruptFileError(f"no marshalled value at offset {self._at - 1}")
        return 0

    def _text(self, text: bytes) -> None:
        if len(text) < 64 and _IDENTIFIER.fullmatch(text):
            self._code.names.add(text.decode("ascii"))
        if len(text) >= 8:
            self._code.constants.append(text)

    def _number(self, width: int) -> int:
        number = int.from_bytes(self._take(width), "little")
        if number > len(self._raw):
            raise CorruptFileError(f"{number} are declared at offset {self._at}")
        return number

    def _take(self, length: int) -> bytes:
        if self._at + length > len(self._raw):
            raise CorruptFileError("compiled code ends early")
        self._at += length
        return self._raw[self._at - length : self._at]


FORMAT: Final = Format(
    name="bytecode",
    matches=matches,
    parse=parse,
    rules=(
        "TW-MODEL-BYTECODE",
        "TW-MODEL-BYTECODE-RUNS",
    ),
)

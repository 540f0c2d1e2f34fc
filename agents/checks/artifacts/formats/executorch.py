"""Reads ExecuTorch programs: the operators and backends they need, and the texts they hold."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.engines import report_libraries
from agents.checks.artifacts.formats.format import Format, Suffix, Trait, endings
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.flatbuffer import Flatbuffer
from agents.checks.artifacts.readers.window import Window
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source, SourceRange

IDENTIFIER: Final = b"ET12"
_MAGIC: Final = re.compile(rb".{4}ET\d\d", re.DOTALL)
MIN_SIZE: Final = 32
TAIL: Final = 1 << 20

PLANS, INLINE_DATA, SEGMENTS, NAMED_DATA = 1, 3, 4, 7
"""Fields of the program."""
VALUES, CHAINS, OPERATORS, DELEGATES = 2, 5, 6, 7
"""Fields of a plan."""
KERNEL_CALL, DELEGATE_CALL = 1, 2
"""InstructionArguments."""
STRING: Final = 6
"""KernelTypes.String."""
IN_SEGMENT: Final = 1
"""DataLocation.SEGMENT."""

_EXTENDED: Final = b"eh00"
"""The magic of the header that locates the segments."""
_XNNPACK: Final = (b"XH00", b"XN00", b"XN01")
"""The magic at byte 4 of an XNNPACK graph, whose nodes are numbers of XNNPACK's operators."""
KNOWN_OPERATORS: Final = frozenset(
    (
        "aten", "prim", "prims", "executorch_prim", "dim_order_ops", "et_copy", "llama",
        "quantized", "quantized_decomposed", "torchao", "cadence", "cortex_m", "et_vk",
    )
)  # fmt: skip
"""Namespaces of the operators that come with ExecuTorch and torchao."""
KNOWN_BACKENDS: Final = frozenset(
    (
        "XnnpackBackend", "CoreMLBackend", "MPSBackend", "VulkanBackend", "QnnBackend",
        "ArmBackend", "EthosUBackend", "VgfBackend", "OpenvinoBackend", "NeuropilotBackend",
        "NeutronBackend", "EnnBackend", "MLXBackend",
    )
)  # fmt: skip
LIBRARY_BACKENDS: Final = frozenset(("AotiBackend", "CudaBackend", "MetalBackend"))
"""Backends that write a library out of the program to a file, and load it."""
_RUNS: Final = re.compile(
    r"(?i)(?:^|[_:.])(?:exec\w*|eval|shell\w*|system|popen|spawn|py_?func|dlopen|payload|evil|malicious)"
    r"(?=$|[_:.])"
)

SUFFIXES: Final = (Suffix(".pte", Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.BINARY),)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is an ExecuTorch program, by its identifier or its name."""
    del source
    return _MAGIC.match(head) is not None or (
        name.lower().endswith(_NAMED)
        and not head.startswith((b"PK\x03\x04", b"\x7fELF", b"version https://", b"\x80", b"MZ"))
    )


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report operators and backends that are not ExecuTorch's own, and libraries it names.

    The data of other backends than XNNPACK is for a device, and unsupported.

    Raises:
        CorruptFileError: no identifier, an offset leads out of the file, or an index out of its
            table.

    Source: executorch/schema/program.fbs, extended_header.h.
    """
    del name
    if source.size < MIN_SIZE:
        raise CorruptFileError("shorter than any program")
    head = source.read(0, TAIL)
    tail = source.read(max(source.size - TAIL, 0), TAIL) if source.size > TAIL else b""
    for raw in (head, tail):
        report_libraries(scan, raw)
    if not _MAGIC.match(head):
        raise CorruptFileError("no ExecuTorch identifier")
    if head[4:8] != IDENTIFIER:
        scan.mark_unsupported(f"an ExecuTorch program of the format {head[4:8].decode()}")
        return
    _Program(scan, source).judge()


class _Program:
    """One program, whose tables are read."""

    def __init__(self, scan: Scan, source: Source) -> None:
        self._scan = scan
        self._source = source
        window = Window(source)
        self._buffer = Flatbuffer(scan, window)
        self._root = self._buffer.root()
        self._segments = self._buffer.tables(self._root, SEGMENTS)
        self._base = window.number(24, 8) if window.read(8, 4) == _EXTENDED else 0

    def judge(self) -> None:
        """Report what its plans need, and its other content."""
        buffer = self._buffer
        plans = buffer.tables(self._root, PLANS)
        if not plans:
            raise CorruptFileError("no execution plan")
        for index in range(len(self._segments)):
            self._segment(index)
        for plan in plans:
            self._judge_plan(plan)
        for entry in buffer.tables(self._root, NAMED_DATA):
            report_text(self._scan, "named data", buffer.text(entry, 0))

    def _segment(self, index: int) -> SourceRange:
        """Return the bytes of a segment."""
        if index >= len(self._segments):
            raise CorruptFileError(f"segment {index} of {len(self._segments)}")
        offset = self._base + self._buffer.scalar(self._segments[index], 0, 8)
        size = self._buffer.scalar(self._segments[index], 1, 8)
        if offset + size > self._source.size:
            raise CorruptFileError(f"a segment of {size} bytes at {offset} reaches beyond the file")
        return SourceRange(self._source, offset, size)

    def _judge_plan(self, plan: int) -> None:
        buffer = self._buffer
        operators = buffer.tables(plan, OPERATORS)
        delegates = buffer.tables(plan, DELEGATES)
        for operator in operators:
            self._judge_operator(buffer.text(operator, 0), operator)
        for delegate in delegates:
            self._judge_delegate(delegate)
        for value in buffer.tables(plan, VALUES):
            if buffer.scalar(value, 0, 1) == STRING and (held := buffer.table(value, 1)):
                report_text(self._scan, "value", buffer.text(held, 0))
        most = {KERNEL_CALL: len(operators), DELEGATE_CALL: len(delegates)}
        for chain in buffer.tables(plan, CHAINS):
            for instruction in buffer.tables(chain, 2):
                kind, call = buffer.scalar(instruction, 0, 1), buffer.table(instruction, 1)
                if kind in most and call and (index := buffer.scalar(call, 0, 4)) >= most[kind]:
                    raise CorruptFileError(f"an instruction calls entry {index} of {most[kind]}")

    def _judge_operator(self, name: str, offset: int) -> None:
        report_text(self._scan, "operator", name)
        if _RUNS.search(name):
            self._scan.report(
                "TW-MODEL-ENGINE-PLUGIN",
                f"the program needs the operator {name[:80]!r}",
                offset=offset,
                name=name[:120],
            )
        elif name.partition("::")[0] not in KNOWN_OPERATORS:
            self._custom(f"the program needs the operator {name[:80]!r}", name, offset)

    def _judge_delegate(self, delegate: int) -> None:
        buffer = self._buffer
        backend = buffer.text(delegate, 0)
        report_text(self._scan, "backend", backend)
        for spec in buffer.tables(delegate, 2):
            report_text(self._scan, "compile specification", buffer.text(spec, 1))
        data = self._data(buffer.table(delegate, 1))
        if backend in LIBRARY_BACKENDS:
            self._custom(f"the backend {backend} loads a library that the file holds", backend, 0)
        elif backend not in KNOWN_BACKENDS:
            self._custom(f"the program needs the backend {backend[:80]!r}", backend, delegate)
        if backend != "XnnpackBackend" or data.read(4, 4) not in _XNNPACK:
            self._scan.mark_unsupported(f"what the backend {backend[:80]!r} needs is not read")

    def _data(self, reference: int) -> SourceRange:
        """Return the data of a backend."""
        buffer = self._buffer
        if not reference:
            raise CorruptFileError("a backend without its data")
        index = buffer.scalar(reference, 1, 4)
        if buffer.scalar(reference, 0, 1) == IN_SEGMENT:
            return self._segment(index)
        inline = buffer.tables(self._root, INLINE_DATA)
        if index >= len(inline):
            raise CorruptFileError(f"a backend's data {index} of {len(inline)}")
        return SourceRange(self._source, *buffer.vector(inline[index], 0, 1))

    def _custom(self, message: str, name: str, offset: int) -> None:
        self._scan.report(
            "TW-MODEL-EXECUTORCH-CUSTOM", message, key=name[:200], offset=offset, name=name[:200]
        )


FORMAT: Final = Format(
    name="executorch",
    suffixes=SUFFIXES,
    matches=matches,
    parse=parse,
    numeric=True,
    rules=("TW-MODEL-ENGINE-PLUGIN", "TW-MODEL-EXECUTORCH-CUSTOM"),
)

"""Reads ONNX models off the wire, without their weights: locations of data, operators that run."""
# ruff: noqa: E501 -- lists of names
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from typing import Final, Literal

from agents.checks.artifacts.formats import coreml, sentencepiece
from agents.checks.artifacts.formats.format import Content, Format, Suffix, Trait, endings
from agents.checks.artifacts.formats.links import in_snapshot
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.paths import escapes, is_remote
from agents.checks.artifacts.readers.protobuf import (
    LENGTH,
    VARINT,
    ProtobufMessage,
    Schema,
    looks_like,
    walk,
)
from agents.checks.artifacts.readers.window import Window
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source
from agents.domain.late_pattern import late_pattern

Kind = Literal[
    "Model", "Training", "Opset", "Entry", "Graph", "Node", "Attribute", "Tensor", "External",
    "Sparse", "Function",
]  # fmt: skip
"""The messages that the schema names."""

SCHEMA: Final[Schema[Kind]] = {
    "Model": {1: "int", 2: "text", 3: "text", 5: "int", 6: "text", 7: "Graph", 8: "Opset",
              14: "Entry", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Opset": {1: "text", 2: "int"},
    "Entry": {1: "text", 2: "text"},
    "Graph": {1: "Node", 2: "text", 5: "Tensor", 10: "text", 15: "Sparse", 16: "Entry"},
    "Node": {3: "text", 4: "text", 5: "Attribute", 6: "text", 7: "text", 9: "Entry"},
    "Attribute": {1: "text", 4: "range", 5: "Tensor", 6: "Graph", 9: "range", 10: "Tensor",
                  11: "Graph", 20: "int", 22: "Sparse", 23: "Sparse"},
    "Tensor": {1: "int", 2: "int", 8: "text", 9: "range", 13: "External", 14: "int"},
    "External": {1: "text", 2: "text"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Function": {1: "text", 7: "Node", 9: "Opset", 10: "text", 11: "Attribute", 14: "Entry"},
}  # fmt: skip
"""onnx.proto: the fields that matter."""
TOP: Final = {
    1: VARINT, 2: LENGTH, 3: LENGTH, 4: LENGTH, 5: VARINT, 6: LENGTH, 7: LENGTH, 8: LENGTH,
    14: LENGTH, 20: LENGTH, 25: LENGTH, 26: LENGTH,
}  # fmt: skip
STANDARD_DOMAINS: Final = frozenset(
    ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training")
)
KNOWN_DOMAINS: Final = (
    "com.microsoft", "com.ms.internal.nhwc", "org.pytorch._caffe2", "pkg.onnxscript", "pkg.torch",
    "onnxscript", "com.nvidia", "trt.plugins", "ai.onnx.contrib", "mmdeploy", "mmcv",
    "org.openvinotoolkit", "onnx.quantize", "com.xilinx", "com.qti", "qti_aisw", "com.intel.ai",
    "brevitas", "qonnx", "finn", "torch.onnx", "ai.graphcore", "com.amd", "vai_q_onnx", "com.habana",
)  # fmt: skip
_EXECUTES: Final = late_pattern(
    r"^(py_?op|python_?op|py_?func|pyfunc|py_?custom.*|python.*|external_?function|eval|exec\w*"
    r"|system|shell\w*|run_?command|cmd|popen|spawn|subprocess|os_?\w*|load_?library|dlopen"
    r"|.*(exec|shell|command|payload|backdoor|reverse|inject|malicious|evil|pickle|eval|cmd)(op)?)$",
    re.IGNORECASE,
)
_STRING_OPS: Final = late_pattern(r"(?i)^(read|write)_?file$")
_ATEN_FILES: Final = late_pattern(
    r"(?i)^(aten::)?(from_file|_?save|_?load|read_file|write_file)\w*$"
)
"""What PyTorch's operators that name another one do with files."""
_FILE: Final = late_pattern(r"[^\x00-\x1f\x7f<>\ufffd]{1,1024}")
"""The path of a compiled graph, which may also be in the attribute itself (EPContext)."""
MAX_STRING: Final = 16 << 20


SUFFIXES: Final = (
    Suffix(
        ".onnx",
        Trait.NAMED | Trait.WEIGHTS | Trait.SIZED | Trait.NONEMPTY | Trait.BINARY,
        Content.TENSORS,
        promises=("onnx",),
        claim="onnx",
    ),
    Suffix(".ort", Trait.NAMED),
    Suffix(".onnx.txt", Trait.NAMED),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)
_OTHERS: Final = (
    *endings(coreml.SUFFIXES, Trait.NAMED),
    *endings(sentencepiece.SUFFIXES, Trait.NAMED),
)
"""Names of other formats that are protocol buffers too."""
_CODE_HEADS: Final = (
    b"\x80", b"PK", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x7fELF", b"MZ", b"#!",
)  # fmt: skip


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is an ONNX model, by its first fields or its name."""
    lower = name.lower()
    if lower.endswith(_NAMED) and not head.startswith((b"PK\x03\x04", b"version https://git-lfs")):
        return True
    # ir_version first, then the producer or the graph: no other protobuf format begins so.
    return (
        len(head) > 8
        and head[0] == 8
        and 3 <= head[1] <= 20
        and head[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42)
        and looks_like(head, TOP, 2)
        and source.size > 16
        and not lower.endswith(_OTHERS)
    )


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report external data outside the model's folder and operators that run foreign code.

    Raises:
        CorruptFileError: not an ONNX protobuf.

    Source: onnx.proto3; CVE-2022-25882, CVE-2024-27318, CVE-2026-27489, CVE-2026-34446.
    """
    window = Window(source)
    if name.lower().endswith(".ort") or source.read(4, 4) == b"ORTM":
        scan.mark_incomplete("an ONNX Runtime flatbuffer is not analysed")
        return
    nodes: dict[tuple[str, str], str] = {}
    functions: set[tuple[str, str]] = set()
    graphs = 0
    try:
        for message in walk(scan, window, SCHEMA, "Model"):
            if message.kind == "Graph":
                graphs += 1
                report_text(scan, "doc_string", message.text(10))
            elif message.kind == "Node":
                for operator in message.texts(4) or [""]:
                    for domain in message.texts(7) or [""]:
                        nodes.setdefault((domain, operator), message.text(3))
            elif message.kind == "Function":
                functions.add((message.text(10), message.text(1)))
            elif message.kind == "Tensor":
                _judge_tensor(scan, message)
            elif message.kind == "External":
                _judge_external(scan, message, name)
            elif message.kind == "Entry":
                report_text(scan, f"metadata.{message.text(1)[:80]}", message.text(2))
            elif message.kind == "Attribute":
                _judge_attribute(scan, window, message)
    finally:
        _judge_operators(scan, nodes, functions)
    if not graphs and not functions:
        raise CorruptFileError("no graph in the model")


def _judge_tensor(scan: Scan, tensor: ProtobufMessage[Kind]) -> None:
    elements = 1
    for dimension in tensor.numbers.get(1, []):
        elements *= dimension
    if elements >= 1 << 63:
        scan.report(
            "TW-MODEL-ONNX-BOUNDS",
            f"tensor {tensor.text(8)[:80]!r} declares {elements} elements",
            key=tensor.text(8)[:200],
        )


def _judge_external(scan: Scan, entry: ProtobufMessage[Kind], name: str) -> None:
    for key in entry.texts(1):
        for value in entry.texts(2):
            if key == "location":
                _judge_location(scan, value, name)
            elif key in ("offset", "length"):
                if not value.strip().isdigit() or int(value[:40]) >= 1 << 62:
                    scan.report(
                        "TW-MODEL-ONNX-BOUNDS",
                        f"external data with the {key} {value[:40]!r}",
                        key=key,
                        name=value[:80],
                    )
            elif key not in ("checksum", "basepath"):
                # onnx set every key as an attribute of its object (CVE-2026-34445)
                scan.report(
                    "TW-MODEL-ONNX-EXTERNAL-KEY",
                    f"external data with the key {key[:80]!r}",
                    key=key[:200],
                )


_IN_MEMORY: Final = "*/_ORT_MEM_ADDR_/*"
"""What onnxruntime writes into a model in memory: offset and length are then an address."""


def _judge_location(scan: Scan, location: str, name: str) -> None:
    if location == _IN_MEMORY or escapes(location) or is_remote(location) or "\x00" in location:
        scan.report(
            "TW-MODEL-ONNX-EXTERNAL",
            f"a tensor's data is at {location[:120]!r}, outside the model's folder",
            key="external_data.location",
            name=location[:200],
        )
        return
    folder = scan.path.rpartition("/")[0]
    expected = f"{folder}/{location}" if folder else location
    if in_snapshot(scan.path, scan.siblings, location):
        return
    if scan.siblings and expected not in scan.siblings and location not in scan.siblings:
        scan.mark_incomplete(f"{name}: its data {location[:120]!r} is not among the files")


def _judge_attribute(scan: Scan, window: Window, attribute: ProtobufMessage[Kind]) -> None:
    for number in (4, 9):
        for start, end in attribute.ranges.get(number, []):
            if end - start > MAX_STRING:
                scan.mark_incomplete(f"an attribute of {end - start} bytes")
                continue
            scan.budget.step(1 + (end - start) // 16)
            text = window.read(start, end - start).decode("utf-8", "replace")
            if attribute.text(1) == "operator" and (
                _EXECUTES.match(text) or _ATEN_FILES.match(text)
            ):
                _report_operator(scan, "TW-MODEL-ONNX-EXECUTES", "org.pytorch.aten", text, "")
            if attribute.text(1) == "ep_cache_context" and _FILE.fullmatch(text):
                _judge_location(scan, text, "a compiled graph")
            report_text(scan, f"attribute.{attribute.text(1)[:80]}", text)


def _judge_operators(
    scan: Scan, nodes: dict[tuple[str, str], str], functions: set[tuple[str, str]]
) -> None:
    for (domain, operator), node in sorted(nodes.items()):
        if (domain, operator) in functions or domain in STANDARD_DOMAINS:
            if _EXECUTES.match(operator) and (domain, operator) not in functions:
                _report_operator(scan, "TW-MODEL-ONNX-EXECUTES", domain, operator, node)
            continue
        if _EXECUTES.match(operator) or _STRING_OPS.match(operator):
            _report_operator(scan, "TW-MODEL-ONNX-EXECUTES", domain, operator, node)
        elif any(domain == known or domain.startswith(f"{known}.") for known in KNOWN_DOMAINS):
            _report_operator(scan, "TW-MODEL-ONNX-CONTRIB", domain, operator, node)
        else:
            _report_operator(scan, "TW-MODEL-ONNX-CUSTOM", domain, operator, node)


def _report_operator(scan: Scan, rule_id: str, domain: str, operator: str, node: str) -> None:
    scan.report(
        rule_id,
        f"the operator {operator[:80]!r} of the domain {domain[:80]!r} comes from outside ONNX",
        key=f"{domain[:100]}::{operator[:100]}",
        name=node[:200],
    )


def _begins(head: bytes) -> bool:
    # A protocol buffer has no magic: refuse what a loader or a shell would run.
    return bool(head) and not head.startswith(_CODE_HEADS)


FORMAT: Final = Format(
    name="onnx",
    suffixes=SUFFIXES,
    firsts=b"\x08",
    matches=matches,
    parse=parse,
    begins=_begins,
    numeric=True,
    rules=(
        "TW-MODEL-ONNX-BOUNDS",
        "TW-MODEL-ONNX-CONTRIB",
        "TW-MODEL-ONNX-CUSTOM",
        "TW-MODEL-ONNX-EXECUTES",
        "TW-MODEL-ONNX-EXTERNAL",
        "TW-MODEL-ONNX-EXTERNAL-KEY",
    ),
)

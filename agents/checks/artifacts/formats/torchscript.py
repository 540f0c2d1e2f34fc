"""Judges TorchScript source: the operators that it names, and constructs that TorchScript lacks.

PyTorch's compiler reads a subset of Python; what it accepts can still read and write files.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from agents.checks.artifacts.dangerous_names import modules
from agents.checks.artifacts.scanning import Scan, Source
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity

MAX_SOURCE: Final = 16 << 20
_FILES: Final = late_pattern(
    r"\b(?:torch|ops\.(?:aten|prim|image|torchaudio))\.(from_file|save|load|load_from_file|read_file|write_file|"
    r"_load_from_\w+|write_png|write_jpeg|unpickle|open|set_data_from_file|fromfile|tofile)\s*\("
)
_OPERATORS: Final = late_pattern(r"(?<![\w.])(?:torch\.)?ops\.(\w+)\.(\w+)")
_KNOWN: Final = frozenset(
    [
        "aten",
        "prim",
        "quantized",
        "torchvision",
        "torchaudio",
        "torchtext",
        "prims",
        "profiler",
        "inductor_prims",
        "static_runtime",
        "cuda",
        "onnx",
        "_quantized",
        "mkldnn",
        "mkldnn_prepacked",
        "xnnpack",
        "prepacked",
        "sparse",
        "caffe2",
        "vision",
        "image",
        "tensorexpr",
        "_caffe2",
        "rand_dim",
        "metal",
        "metal_prepack",
        "vulkan",
        "vulkan_prepack",
        "torch_scatter",
        "torch_sparse",
        "torch_cluster",
        "fbgemm",
        "c10d",
        "debugprims",
        "nestedtensor",
        "rngprims",
    ]
)
_HOSTILE: Final = late_pattern(
    r"(?i)(^|[_:])(exec|shell|system|command|cmd|payload|backdoor|evil|popen|eval|spawn|pickle)"
)


@cache
def _python() -> re.Pattern[str]:
    """Return the pattern of Python constructs that TorchScript lacks."""
    return re.compile(
        r"^[^\S\n]*(?:import|from)\s+\w|\b(?:eval|exec|compile|__import__|open)\s*\(|"
        rf"\b(?:{'|'.join(sorted(modules('torchscript')))})\.\w+|"
        r"\bbuiltins\.(?!\w*(?:Error|Exception)\b)\w+|__globals__|__subclasses__|"
        r"__reduce__|__builtins__|ops\.prim\.PythonOp|torch\.classes\.load_library|"
        r"ops\.load_library",
        re.MULTILINE,
    )


_LOOP: Final = late_pattern(
    r"(?m)^[^\S\n]*(?:while\s+(?P<while>\w+)\s*:|for\s+\w+\s+in\s+range\((?P<range>\w+)\)\s*:)"
)
_ENDLESS: Final = 1 << 40
"""Rounds of a loop that no computer ends."""
_ASSIGNMENT: Final = late_pattern(r"(?m)^[^\S\n]*([^=\n(]+?)\s*=\s*(.+?)\s*$")


def _endless(text: str) -> re.Match[str] | None:
    """Return the first loop whose condition is always true, or that counts further than ever ends.

    A name counts as constant if all that the code assigns to it is the same constant.
    """
    loops = list(_LOOP.finditer(text))
    if not loops:
        return None
    values: dict[str, set[str]] = {}
    for names, value in _ASSIGNMENT.findall(text):
        for name in names.split(","):
            values.setdefault(name.partition(":")[0].strip(), set()).add(value)
    for loop in loops:
        written = loop["while"] or loop["range"]
        (value,) = given if len(given := values.get(written, {written})) == 1 else [""]
        if loop["while"]:
            if value == "True":
                return loop
        elif value.isdecimal() and len(value) < _DIGITS and int(value) >= _ENDLESS:
            return loop
    return None


_DIGITS: Final = 20
"""More than any integer of TorchScript has."""


def scan_torchscript_code(scan: Scan, source: Source) -> None:
    """Scan one source file of a TorchScript archive."""
    text = source.read(0, MAX_SOURCE).decode("utf-8", "replace")
    if source.size > MAX_SOURCE:
        scan.mark_incomplete(f"only {MAX_SOURCE} bytes of the source were read")
    for match in _FILES.finditer(text):
        scan.report(
            "TW-TORCHSCRIPT-FILES",
            f"the model's code calls {match.group(1)}, which reads or writes files",
            line=text.count("\n", 0, match.start()) + 1,
            name=match.group(1),
        )
    for match in _python().finditer(text):
        scan.report(
            "TW-TORCHSCRIPT-PYTHON",
            f"the model's code contains {match.group().strip()[:80]!r}, unknown to TorchScript",
            line=text.count("\n", 0, match.start()) + 1,
            name=match.group().strip()[:80],
        )
    if (loop := _endless(text)) is not None:
        scan.report(
            "TW-TORCHSCRIPT-ENDLESS",
            f"the model's code loops without end: {text[loop.start() : loop.end()].strip()[:80]!r}",
            line=text.count("\n", 0, loop.start()) + 1,
            name=loop.group().strip()[:80],
        )
    for space, name in sorted(set(_OPERATORS.findall(text))):
        if space not in _KNOWN:
            scan.report(
                "TW-TORCHSCRIPT-OPERATOR",
                f"the model's code calls the custom operator {space}::{name}",
                severity=Severity.CRITICAL if _HOSTILE.search(f"{space}::{name}") else None,
                name=f"{space}::{name}",
            )

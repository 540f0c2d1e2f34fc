"""Reads Core ML models off the wire: custom layers and models, scripts and paths."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

from typing import Final, Literal

from agents.checks.artifacts.formats.format import Format, Suffix, Trait, endings
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.paths import escapes
from agents.checks.artifacts.readers.protobuf import LENGTH, VARINT, Schema, looks_like, walk
from agents.checks.artifacts.readers.window import Window
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source

Kind = Literal[
    "Model", "Classifier", "Pipeline", "Network", "Layer", "CustomLayer", "CustomModel",
    "Linked", "LinkedFile", "StringParameter", "Entry", "Value", "Description", "Metadata",
    "TextEntry", "Serialised", "Program", "FunctionEntry", "Function", "BlockEntry", "Block",
    "Operation", "AttributeEntry", "Attribute", "Immediate", "BlobFile",
]  # fmt: skip
"""The messages that the schema names."""

SCHEMA: Final[Schema[Kind]] = {
    "Model": {
        1: "int", 2: "Description", 10: "int", 200: "Classifier", 201: "Classifier",
        202: "Pipeline", 303: "Network", 403: "Network", 500: "Network", 502: "Program",
        555: "CustomModel", 556: "Linked", 3000: "Serialised",
    },
    "Classifier": {1: "Pipeline"},
    "Pipeline": {1: "Model", 2: "text"},
    "Network": {1: "Layer", 2: "range"},
    "Layer": {1: "text", 500: "CustomLayer", 420: "range", 615: "Network"},
    "CustomLayer": {10: "text", 30: "Entry", 40: "text"},
    "CustomModel": {10: "text", 30: "Entry", 40: "text"},
    "Linked": {1: "LinkedFile"},
    "LinkedFile": {1: "StringParameter", 2: "StringParameter"},
    "StringParameter": {1: "text"},
    "Entry": {1: "text", 2: "Value"},
    "Value": {20: "text"},
    "Description": {100: "Metadata"},
    "Metadata": {1: "text", 2: "text", 3: "text", 4: "text", 100: "TextEntry"},
    "TextEntry": {1: "text", 2: "text"},
    "Serialised": {1: "text", 2: "range"},
    "Program": {2: "FunctionEntry"},
    "FunctionEntry": {2: "Function"},
    "Function": {3: "BlockEntry"},
    "BlockEntry": {2: "Block"},
    "Block": {3: "Operation"},
    "Operation": {1: "text", 4: "Block", 5: "AttributeEntry"},
    "AttributeEntry": {1: "text", 2: "Attribute"},
    "Attribute": {3: "Immediate", 5: "BlobFile"},
    "Immediate": {1: "range"},
    "BlobFile": {1: "text"},
}  # fmt: skip
"""Model.proto, NeuralNetwork.proto, CustomModel.proto, LinkedModel.proto, MIL.proto."""
TOP: Final = {
    1: VARINT, 2: LENGTH, 10: VARINT, **dict.fromkeys(range(200, 1000), LENGTH),
    **dict.fromkeys((2000, 2001, 2002, 2003, 3000), LENGTH),
}  # fmt: skip


SUFFIXES: Final = (
    Suffix(
        ".mlmodel",
        Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.MAGIC | Trait.BINARY,
    ),
    Suffix("/model.espresso.net", Trait.NAMED),
    Suffix(".mlpackage"),
    Suffix(".mlm"),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)
_ENDINGS: Final = endings(SUFFIXES)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a Core ML model, by its name and its first fields."""
    lower = name.lower()
    if lower.endswith(_NAMED):
        return not head.startswith((b"PK\x03\x04", b"version https://git-lfs"))
    return (
        head[:1] == b"\x08"
        and head[1:2] < b"\x0c"
        and head[2:3] == b"\x12"
        and lower.endswith(_ENDINGS)
        and looks_like(head, TOP, 2)
        and source.size > 16
    )


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report layers and models that the application's classes implement, and files outside.

    Raises:
        CorruptFileError: not a Core ML protobuf.
    """
    del name
    models = 0
    content = False
    for message in walk(scan, Window(source), SCHEMA, "Model"):
        if message.kind == "Model":
            models += 1
            content = content or bool(message.number(1)) or bool(message.unknown)
        elif message.kind in ("CustomLayer", "CustomModel"):
            content = True
            scan.report(
                "TW-MODEL-COREML-CUSTOM",
                f"a {message.kind} runs the class {message.text(10)[:120]!r}",
                offset=message.start,
                name=message.text(10)[:200],
            )
            report_text(scan, "custom", message.text(40))
        elif message.kind == "Operation":
            if "custom" in message.text(1).lower():
                scan.report(
                    "TW-MODEL-COREML-CUSTOM",
                    f"the operation {message.text(1)[:80]!r}",
                    offset=message.start,
                    name=message.text(1)[:200],
                )
        elif message.kind in {"StringParameter", "BlobFile"}:
            path = message.text(1)
            if path and escapes(path.replace("@model_path", ".")):
                scan.report(
                    "TW-MODEL-PATH-ESCAPES",
                    f"a part of the model is at {path[:120]!r}",
                    offset=message.start,
                    name=path[:200],
                )
        elif message.kind == "Serialised":
            scan.report(
                "TW-MODEL-COREML-CUSTOM",
                f"a serialised {message.text(1)[:80]!r} is opaque",
                offset=message.start,
                name=message.text(1)[:200],
            )
        for texts in message.strings.values():
            for text in texts:
                scan.budget.step(1)
                if len(text) > 8:
                    report_text(scan, message.kind, text)
    if not content:
        raise CorruptFileError("no specification version")


FORMAT: Final = Format(
    name="coreml",
    suffixes=SUFFIXES,
    firsts=b"\x08",
    matches=matches,
    parse=parse,
    numeric=True,
    rules=(
        "TW-MODEL-COREML-CUSTOM",
        "TW-MODEL-PATH-ESCAPES",
    ),
)

"""Reads TensorFlow Lite flatbuffers: offsets within bounds, and the operators they need."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait, endings
from agents.checks.artifacts.formats.tensorflow import EXECUTES
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.readers.flatbuffer import Flatbuffer
from agents.checks.artifacts.readers.window import Window
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source
from agents.domain.late_pattern import late_pattern

IDENTIFIERS: Final = (b"TFL3", b"TFL2", b"TFL1")
_MAGIC: Final = late_pattern(rb".{4}(?:%b)" % b"|".join(IDENTIFIERS), re.DOTALL)
CUSTOM: Final = 32
"""BuiltinOperator.CUSTOM."""
LAST_OPERATOR: Final = 400
OPERATOR_CODES, SUBGRAPHS, DESCRIPTION, BUFFERS, METADATA = 1, 2, 3, 4, 6
KNOWN_CUSTOM: Final = late_pattern(
    r"^(TFLite_Detection_PostProcess|Convolution2DTransposeBias|MaxPoolingWithArgmax2D"
    r"|MaxUnpooling2D|TransformTensorBilinear|TransformLandmarks|Landmarks2TransformMatrix"
    r"|edgetpu-custom-op|ethos-u|Multinomial|RandomStandardNormal|RandomUniform|Audio\w+|Mfcc"
    r"|CustomOp\w*Stub|NumericVerify|Hashtable\w*|HashTable\w*|Sentencepiece\w*|SentencePiece\w*"
    r"|NGrams|NORMALIZE|PREDICT|TFText\w*|tftext:\w+|ngrams|Whitespace\w*|aeon\.\w+|odml\.\w+)$"
)


SUFFIXES: Final = (
    Suffix(
        ".tflite",
        Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.BINARY,
        promises=("tflite",),
        claim="tflite",
    ),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a TensorFlow Lite model, by its identifier or its name."""
    del source
    return _MAGIC.match(head) is not None or (
        name.lower().endswith(_NAMED) and not head.startswith((b"PK", b"version https://"))
    )


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report operators that are not TensorFlow Lite's own.

    Raises:
        CorruptFileError: an offset leads out of the file.

    Source: tensorflow/lite/schema/schema.fbs.
    """
    del name
    buffer = Flatbuffer(scan, Window(source))
    if source.size < 8 or source.read(4, 4) not in IDENTIFIERS:
        raise CorruptFileError("no TensorFlow Lite identifier")
    root = buffer.root()
    codes = buffer.tables(root, OPERATOR_CODES)
    if not buffer.tables(root, SUBGRAPHS):
        raise CorruptFileError("no subgraph")
    report_text(scan, "description", buffer.text(root, DESCRIPTION))
    for index, code in enumerate(codes):
        custom = buffer.text(code, 1)
        builtin = max(buffer.scalar(code, 3, 4), buffer.scalar(code, 0, 1))
        if builtin > LAST_OPERATOR:
            scan.mark_corrupt(f"operator code {builtin} is unknown")
        if builtin == CUSTOM or custom:
            _judge_custom(scan, custom, index)
    for subgraph in buffer.tables(root, SUBGRAPHS):
        for operator in buffer.tables(subgraph, 3):
            if buffer.scalar(operator, 0, 4) >= max(len(codes), 1):
                scan.report(
                    "TW-MODEL-TFLITE-BOUNDS",
                    f"an operator names code {buffer.scalar(operator, 0, 4)} of {len(codes)}",
                    offset=operator,
                )
                break
        _judge_tensors(scan, buffer, subgraph, len(buffer.tables(root, BUFFERS)))
    for table in buffer.tables(root, BUFFERS):
        buffer.vector(table, 0, 1)
    for entry in buffer.tables(root, METADATA):
        report_text(scan, "metadata", buffer.text(entry, 0))


def _judge_tensors(scan: Scan, buffer: Flatbuffer, subgraph: int, buffers: int) -> None:
    for tensor in buffer.tables(subgraph, 0):
        if buffer.scalar(tensor, 2, 4) >= max(buffers, 1):
            scan.report(
                "TW-MODEL-TFLITE-BOUNDS",
                f"a tensor names buffer {buffer.scalar(tensor, 2, 4)} of {buffers}",
                offset=tensor,
            )
            return


def _judge_custom(scan: Scan, custom: str, index: int) -> None:
    flex = custom.removeprefix("Flex")
    if custom.startswith("Flex"):
        rule = "TW-MODEL-TFLITE-EXECUTES" if flex in EXECUTES else "TW-MODEL-TFLITE-FLEX"
    elif re.search(r"(?i)exec|shell|system|pyfunc|py_func|eval|payload|evil|malicious", custom):
        rule = "TW-MODEL-TFLITE-EXECUTES"
    elif KNOWN_CUSTOM.match(custom):
        rule = "TW-MODEL-TFLITE-FLEX"
    else:
        rule = "TW-MODEL-TFLITE-CUSTOM"
    scan.report(rule, f"the model needs the operator {custom[:80]!r}", key=index, name=custom[:200])


FORMAT: Final = Format(
    name="tflite",
    suffixes=SUFFIXES,
    magic=_MAGIC,
    matches=matches,
    parse=parse,
    numeric=True,
    rules=(
        "TW-MODEL-TFLITE-BOUNDS",
        "TW-MODEL-TFLITE-CUSTOM",
        "TW-MODEL-TFLITE-EXECUTES",
        "TW-MODEL-TFLITE-FLEX",
    ),
)

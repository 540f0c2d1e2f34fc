"""Recognises SentencePiece models: pieces and scores, harmless when whole."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

from typing import Final, Literal

from agents.checks.artifacts.formats.format import Content, Format, Suffix, Trait, endings
from agents.checks.artifacts.readers.protobuf import LENGTH, Schema, looks_like, walk
from agents.checks.artifacts.readers.torn_tails import is_unwritten
from agents.checks.artifacts.readers.window import Window
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source

SCHEMA: Final[Schema[Literal["Model"]]] = {"Model": {1: "range"}}
MAX_RUN: Final = 64
"""Zeros at the end that no whole model has."""
TOP: Final = {1: LENGTH, 2: LENGTH, 3: LENGTH, 4: LENGTH, 5: LENGTH}
SUFFIXES: Final = (
    Suffix(
        ".model",
        Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.MIXED,
        Content.DESCRIPTION,
    ),
    Suffix(
        ".spm",
        Trait.NAMED | Trait.WEIGHTS | Trait.MAGIC | Trait.BINARY,
        Content.DESCRIPTION,
    ),
    Suffix(".spiece"),
    Suffix(
        traits=Trait.MAGIC,
        pattern=r"(^|[/_.-])(spiece|tokenizer|sentencepiece\.bpe)[\w.-]*\.model$",
    ),
    Suffix(traits=Trait.BINARY, pattern=r"(^|/)(spiece|tokenizer|sentencepiece\.bpe)\.model$"),
)
_ENDINGS: Final = endings(SUFFIXES)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a SentencePiece model: a list of pieces, each a text and a score."""
    if head[:1] != b"\n" or len(head) < 8 or source.size < 8:
        return False
    piece = head[2:3] == b"\n" and head[1] < 128
    scored = head[4 + head[3] : 5 + head[3]] == b"\x15"
    return piece and scored and (looks_like(head, TOP, 2) or name.lower().endswith(_ENDINGS))


def parse(scan: Scan, name: str, source: Source) -> None:
    """Check a SentencePiece model's wire format.

    Raises:
        CorruptFileError: it is damaged, or has no pieces.
    """
    del name
    if is_unwritten(source, MAX_RUN):
        raise CorruptFileError("the file's end was never written")
    for message in walk(scan, Window(source), SCHEMA, "Model"):
        if not message.ranges.get(1):
            raise CorruptFileError("no pieces")


FORMAT: Final = Format(
    name="sentencepiece",
    suffixes=SUFFIXES,
    firsts=b"\n",
    matches=matches,
    parse=parse,
    numeric=True,
)

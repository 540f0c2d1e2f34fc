"""Assembles the declared formats, in the order in which they are tried."""

from __future__ import annotations

from functools import cache
from typing import Final

from agents.checks.artifacts.containers import declaration as containers
from agents.checks.artifacts.formats import (
    appledouble,
    boosters,
    checkpoint_tables,
    coreml,
    documents,
    engines,
    executables,
    executorch,
    foreign,
    gguf,
    hdf5,
    json_documents,
    links,
    matlab,
    msgpack_documents,
    numpy_arrays,
    onnx,
    passive_files,
    plain_text,
    programs,
    safetensors,
    sentencepiece,
    tensorflow,
    tflite,
    word_vectors,
    xml_documents,
    yaml_documents,
)
from agents.checks.artifacts.formats.format import Format
from agents.checks.artifacts.pickle import declaration as pickles
from agents.checks.artifacts.python import bytecode, source

FORMATS: Final[tuple[Format, ...]] = (
    appledouble.FORMAT,
    links.FORMAT,
    documents.FORMAT,
    gguf.FORMAT,
    hdf5.FORMAT,
    tflite.FORMAT,
    executorch.FORMAT,
    engines.FORMAT,
    executables.EXECUTABLE,
    bytecode.FORMAT,
    programs.SITE,
    boosters.CATBOOST,
    boosters.XGBOOST,
    safetensors.FORMAT,
    boosters.LIGHTGBM,
    matlab.FORMAT,
    matlab.MATRICES,
    word_vectors.FASTTEXT,
    word_vectors.WORD2VEC,
    foreign.FORMAT,
    coreml.FORMAT,
    sentencepiece.FORMAT,
    *checkpoint_tables.TABLES,
    tensorflow.FORMAT,
    tensorflow.TEXT,
    onnx.FORMAT,
    msgpack_documents.FORMAT,
    source.FORMAT,
    executables.SCRIPT,
    xml_documents.FORMAT,
    json_documents.FORMAT,
    yaml_documents.FORMAT,
    plain_text.FORMAT,
    programs.ENCODED,
    programs.PROGRAM,
)
"""The formats, from the surest magic to those recognised only by name."""
ALL: Final[tuple[Format, ...]] = (
    *FORMATS,
    numpy_arrays.FORMAT,
    pickles.FORMAT,
    containers.ZIP,
    containers.TAR,
    containers.SEVENZIP,
    containers.ZLIB,
    *containers.COMPRESSIONS,
    *containers.UNREAD,
    *passive_files.PASSIVE,
)
"""The same, with containers, pickles, arrays and passive files."""
_ENDINGS: Final = {
    known.name: frozenset(
        suffix.ending[suffix.ending.rindex(".") :] for suffix in known.suffixes if suffix.ending
    )
    for known in FORMATS
}
"""The suffixes, from the last dot on, of names with a format's endings."""
_ANY_ENDING: Final = frozenset[str]().union(*_ENDINGS.values())


def candidates(name: str, head: bytes) -> tuple[Format, ...]:
    """Return the formats that a file may be of, by its first byte and its name, in their order.

    Args:
        name: Its name.
        head: Its first bytes, at least one.
    """
    lower = name.lower()
    ending = lower[max(lower.rfind("."), 0) :]
    return _candidates(head[0], ending if ending in _ANY_ENDING else "")


@cache
def _candidates(first: int, ending: str) -> tuple[Format, ...]:
    return tuple(
        known
        for known in FORMATS
        if known.firsts is None or first in known.firsts or ending in _ENDINGS[known.name]
    )

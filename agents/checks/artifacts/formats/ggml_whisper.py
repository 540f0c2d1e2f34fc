"""Reads the models of whisper.cpp, which have a GGML format of their own; never their weights.

Source: whisper.cpp `whisper_model_load` and `models/convert-pt-to-ggml.py`.
"""
# ruff: noqa: PLR2004 -- sizes of the format are literal where it is read

from __future__ import annotations

from math import prod
from typing import Final

from agents.checks.artifacts.readers.window import Cursor
from agents.checks.artifacts.scanning import CorruptFileError, Scan

WHISPER: Final = b"lmgg"
"""The magic of all unversioned GGML files; whisper.cpp's are recognised by their parameters."""
MAX_WORDS: Final = 1 << 20
_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 30: (1, 2),
}  # fmt: skip
"""Tensor type to elements and bytes of a block."""


def read_whisper(scan: Scan, cursor: Cursor) -> bool:
    """Walk a model from the end of its magic to its own end.

    Args:
        scan: Receives findings; its budget is charged.
        cursor: Positioned after the magic.

    Returns:
        Whether it is a model of whisper.cpp; nothing is reported about others.

    Raises:
        CorruptFileError: it ends early, or its counts are impossible.
    """
    if cursor.left < 44:
        return False
    parameters = [cursor.unsigned(4) for _ in range(11)]
    words, audio, state, heads, layers = parameters[:5]
    bands = parameters[9]
    if bands not in (80, 128) or not (
        0 < words < MAX_WORDS and 0 < audio < 1 << 16 and 0 < state < 1 << 16
    ):
        return False
    if not 0 < heads < 1 << 10 or not 0 < layers < 1 << 10:
        return False
    _skip(cursor, prod((cursor.unsigned(4), cursor.unsigned(4), 4)), "filters")
    listed = cursor.unsigned(4)
    if listed > MAX_WORDS:
        _absurd(scan, f"{listed} words", cursor)
    for _ in range(listed):
        scan.budget.step(1)
        _skip(cursor, cursor.unsigned(4), "a word")
    while cursor.left >= 12:
        scan.budget.step(1)
        sides, length, kind = (cursor.unsigned(4) for _ in range(3))
        if not 0 < sides <= 4 or not 0 < length <= 256 or kind not in _BLOCKS:
            _absurd(scan, f"a tensor of {sides} sides and type {kind}", cursor)
        shape = [cursor.unsigned(4) for _ in range(sides)]
        cursor.skip(length)
        elements = prod(shape)
        if not elements or elements >= 1 << 40:
            _absurd(scan, f"a tensor of {elements} elements", cursor)
        per_block, size = _BLOCKS[kind]
        _skip(cursor, elements // per_block * size, "a tensor")
    # like whisper.cpp, end where no tensor header is left
    scan.formats.append("ggml-whisper")
    return True


def _skip(cursor: Cursor, length: int, what: str) -> None:
    if length > cursor.left:
        raise CorruptFileError(f"{what} reaches beyond the file")
    cursor.skip(length)


def _absurd(scan: Scan, what: str, cursor: Cursor) -> None:
    scan.report("TW-MODEL-GGUF-BOUNDS", f"declares {what}", offset=cursor.offset)
    raise CorruptFileError(f"{what} are declared")

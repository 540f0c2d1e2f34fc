"""Recognises tables of word vectors: word2vec's binary form, and fastText's models."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import Format, parse_numbers
from agents.checks.artifacts.scanning import Source

_COUNTS: Final = re.compile(rb"(\d{1,9}) (\d{1,5})\r?\n")
_MAGIC: Final = b"\xba\x16\x4f\x2f"
"""fastText's magic number, 793712314, followed by the version, 11 or 12."""
_VERSIONS: Final = (11, 12)
_MAX_WORD: Final = 1024


def _is_word2vec(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file declares the number and length of its vectors, and has their size.

    A word has at least a byte and a space before its numbers.
    """
    del name
    match = _COUNTS.match(head)
    if match is None:
        return False
    words, length = int(match[1]), int(match[2])
    least = match.end() + words * (4 * length + 2)
    most = least + words * _MAX_WORD
    return bool(words and length) and b"\0" in head and least <= source.size <= most


def _is_fasttext(name: str, head: bytes, source: Source) -> bool:
    del name, source
    return head.startswith(_MAGIC) and int.from_bytes(head[4:8], "little") in _VERSIONS


WORD2VEC: Final = Format(
    name="word2vec", firsts=b"123456789", matches=_is_word2vec, parse=parse_numbers, numeric=True
)
FASTTEXT: Final = Format(
    name="fasttext",
    firsts=_MAGIC[:1],
    magic=re.compile(re.escape(_MAGIC)),
    matches=_is_fasttext,
    parse=parse_numbers,
    numeric=True,
)

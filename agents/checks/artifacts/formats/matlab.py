"""Reads the frame of MATLAB's files of version 5, which hold numbers: whether they are whole.

Source: MathWorks, MAT-File Format, chapter 1. Those of 7.3 are HDF5.
"""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source

MAGIC: Final = b"MATLAB 5.0 MAT-file"
HEADER: Final = 128
TAG: Final = 8
COMPRESSED: Final = 15
LAST_TYPE: Final = 18
MAX_ELEMENTS: Final = 100_000


SUFFIXES: Final = (Suffix(".mat", Trait.BINARY),)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is of MATLAB, by its first bytes."""
    del name, source
    return head.startswith(MAGIC)


def parse(scan: Scan, name: str, source: Source) -> None:
    """Walk its elements up to its end.

    Raises:
        CorruptFileError: it ends within its header or an element, or has none that is known.
    """
    del name
    head = source.read(0, HEADER)
    if len(head) < HEADER or head[126:128] not in (b"IM", b"MI"):
        raise CorruptFileError("the header is cut off")
    little = head[126:128] == b"IM"
    at = HEADER
    for _ in range(MAX_ELEMENTS):
        if at >= source.size:
            return
        scan.budget.step(1)
        tag = source.read(at, TAG)
        kind = int.from_bytes(tag[:4], "little" if little else "big")
        if kind >> 16:
            at += TAG  # a small element, within its tag
            continue
        length = int.from_bytes(tag[4:], "little" if little else "big")
        if len(tag) < TAG or not 0 < kind <= LAST_TYPE or at + TAG + length > source.size:
            raise CorruptFileError(f"the element at offset {at} is cut off or none")
        at += TAG + length + (-length % TAG if kind != COMPRESSED else 0)
    scan.mark_incomplete(f"more than {MAX_ELEMENTS} variables")


FORMAT: Final = Format(
    name="matlab",
    suffixes=SUFFIXES,
    firsts=MAGIC[:1],
    magic=re.compile(re.escape(MAGIC)),
    matches=matches,
    parse=parse,
    numeric=True,
)

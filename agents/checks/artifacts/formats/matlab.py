"""Reads the structure of MATLAB files, versions 4 and 5: they hold numbers, and may be truncated.

Source: MathWorks, MAT-File Format, chapter 1. Files of version 7.3 are HDF5.
"""

from __future__ import annotations

import re
import struct
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
MATRIX: Final = 20
"""Bytes of a version 4 matrix header: type, rows, columns, imaginary part, length of its name."""
_WIDTHS: Final = (8, 4, 4, 2, 2, 1)
"""Bytes of an element, by the tens of its type."""
MAX_NAME: Final = 256


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a MATLAB file, by its first bytes."""
    del name, source
    return head.startswith(MAGIC)


def matches_matrices(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file named as MATLAB's begins with a version 4 matrix; it has no magic."""
    return name.lower().endswith(".mat") and 0 < _matrix(head[:MATRIX]) <= source.size


def _matrix(head: bytes) -> int:
    """Return the bytes of a matrix with its header, 0 if it is invalid."""
    if len(head) < MATRIX:
        return 0
    for order in ("<", ">"):
        fields: tuple[int, int, int, int, int] = struct.unpack(f"{order}5i", head)
        kind, rows, columns, imaginary, length = fields
        machine, precision = kind // 1000, kind // 10 % 10
        if (
            machine == (0 if order == "<" else 1)
            and precision < len(_WIDTHS)
            and kind % 10 <= 2  # noqa: PLR2004 -- numbers, text and sparse matrices
            and imaginary in (0, 1)
            and 0 < length <= MAX_NAME
            and min(rows, columns) >= 0
        ):
            return MATRIX + length + rows * columns * _WIDTHS[precision] * (1 + imaginary)
    return 0


def parse_matrices(scan: Scan, name: str, source: Source) -> None:
    """Walk the version 4 matrices to the end of the file.

    Raises:
        CorruptFileError: one is invalid, or reaches beyond the file.
    """
    del name
    at = 0
    for _ in range(MAX_ELEMENTS):
        if at >= source.size:
            return
        scan.budget.step(1)
        size = _matrix(source.read(at, MATRIX))
        if not size or at + size > source.size:
            raise CorruptFileError(f"the matrix at offset {at} is cut off or none")
        at += size
    scan.mark_incomplete(f"more than {MAX_ELEMENTS} variables")


def parse(scan: Scan, name: str, source: Source) -> None:
    """Walk the elements to the end of the file.

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
MATRICES: Final = Format(
    name="matlab-4", matches=matches_matrices, parse=parse_matrices, numeric=True
)

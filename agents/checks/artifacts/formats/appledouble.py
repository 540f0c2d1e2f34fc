"""Recognises the side files that macOS writes on disks of other systems."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import Format
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source, SourceRange

MAGIC: Final = b"\x00\x05\x16\x07"
HEADER: Final = 26
ENTRY: Final = 12
MAX_ENTRIES: Final = 64


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is AppleDouble."""
    del name
    return source.size >= HEADER and head.startswith(MAGIC)


def parse(scan: Scan, name: str, source: Source) -> None:
    """Scan the entries: attributes and resources, which no model loader reads.

    Raises:
        CorruptFileError: the entries are invalid.

    Source: RFC 1740, AppleSingle and AppleDouble version 2.
    """
    del name
    head = source.read(0, HEADER + ENTRY * MAX_ENTRIES)
    count = int.from_bytes(head[24:26], "big")
    if count > MAX_ENTRIES:
        raise CorruptFileError(f"{count} entries of a side file")
    for index in range(count):
        entry = head[HEADER + ENTRY * index : HEADER + ENTRY * (index + 1)]
        offset, length = (int.from_bytes(entry[at : at + 4], "big") for at in (4, 8))
        if len(entry) < ENTRY or offset + length > source.size:
            scan.mark_corrupt("an entry of the side file is cut off")
        elif length:
            scan.descend(f"entry-{index}", SourceRange(source, offset, length))


FORMAT: Final = Format(
    name="appledouble", firsts=MAGIC[:1], magic=re.compile(MAGIC), matches=matches, parse=parse
)

"""Declares HDF5, in which Keras stores weights and configurations."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait, endings, later
from agents.checks.artifacts.scanning import Source

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_USER_BLOCKS: Final = (512, 1024, 2048)
"""Offsets of the signature after a user block."""
_KERAS: Final = ("hdf5", "keras", "keras-h5", "h5")
SUFFIXES: Final = (
    Suffix(
        ".h5",
        Trait.NAMED | Trait.WEIGHTS | Trait.SIZED | Trait.NONEMPTY | Trait.BINARY,
        promises=_KERAS,
        claim="keras",
    ),
    Suffix(".hdf5", Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.BINARY, claim="keras"),
    Suffix(".he5", Trait.NAMED),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is HDF5: its signature, at its start or after a user block."""
    if SIGNATURE in head and (
        head.startswith(SIGNATURE)
        or any(head[offset : offset + len(SIGNATURE)] == SIGNATURE for offset in _USER_BLOCKS)
    ):
        return True
    named = name.lower().endswith(_NAMED)
    return named and source.size > 0 and not head.startswith((b"PK\x03\x04", b"version https://"))


FORMAT: Final = Format(
    name="hdf5",
    suffixes=SUFFIXES,
    magic=re.compile(re.escape(SIGNATURE)),
    matches=matches,
    parse=later("agents.checks.artifacts.formats.hdf5_reader"),
    numeric=True,
    programless=True,
    rules=(
        "TW-MODEL-HDF5-BOUNDS",
        "TW-MODEL-HDF5-EXTERNAL",
        "TW-MODEL-KERAS-LAMBDA",
    ),
)

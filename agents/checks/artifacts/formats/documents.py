"""Declares text that was saved under a model's name, such as an error page of a server."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from agents.checks.artifacts.formats.format import FileName, Format, Trait, later
from agents.checks.artifacts.readers.window import controls, is_unicode_text
from agents.checks.artifacts.scanning import Source

MAX_ANSWER: Final = 1 << 20
"""Bytes; servers' pages are shorter."""
_READER: Final = "agents.checks.artifacts.formats.documents_reader"
_PROMISING: Final = (Trait.PICKLE_TEXT, Trait.BINARY, Trait.MIXED)


def matches(name: FileName, head: bytes, source: Source) -> bool:
    """Return whether a file is text under the name of a binary format.

    The reader is imported only for text under a name that implies another format.
    """
    if name.has(Trait.TEXT) or not head[:64].strip() or controls(head[:64]):
        return False
    if source.size > MAX_ANSWER or not any(map(name.has, _PROMISING)) or not is_unicode_text(head):
        return False
    matched: bool = import_module(_READER).matches(name, head, source)
    return matched


FORMAT: Final = Format(name="document", matches=matches, parse=later(_READER))

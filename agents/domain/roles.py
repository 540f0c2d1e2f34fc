"""The role of a file: as what its name has it read, where its bytes alone do not decide that."""

from __future__ import annotations

from typing import Final

_NAMED: Final = frozenset({".json", ".yaml", ".yml", ".toml", ".xml", ".txt", ""})
"""Suffixes under which the whole name says what a file is for."""
_NAME_LIMIT: Final = 60


def role_of(path: str | None) -> str:
    """Return the role of a file by its name; empty where no name is known.

    The same bytes may be harmless as notes and hostile as a chat template: what a scan of text
    found holds in the role it was read in.
    """
    if not path:
        return ""
    name = path.replace("\\", "/").rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    ending = f".{suffix}" if dot and stem else ""
    return (name if ending in _NAMED else ending)[:_NAME_LIMIT]


TREE: Final = "/"
"""The role of a digest that is a listing's: no file has it."""


def is_text(head: bytes) -> bool:
    """Tell whether a file that begins with `head` is text: then its name decides how it is read."""
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a character that the head ends within
    return True

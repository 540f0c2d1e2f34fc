"""Prints text without control characters."""

from __future__ import annotations

import sys
import unicodedata
from typing import Final

_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Controls, direction overrides, surrogates: they control a terminal or disguise text."""

ELLIPSIS: Final = "…"


def plain(text: str, limit: int | None = None) -> str:
    """Return `text` as one line that is safe to print.

    Events are hostile: an escape sequence in a model's name must not reach a terminal. Escapes
    are those of JSON, so that a JSON document stays the same document.

    Args:
        text: External text.
        limit: Most characters to keep; a cut is marked.
    """
    if limit is not None and len(text) > limit:
        text = text[: max(0, limit - 1)] + ELLIPSIS
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(char) if unicodedata.category(char) in _HIDDEN_CATEGORIES else char
        for char in text
    )


def _escaped(char: str) -> str:
    """Return a character as the escapes of its UTF-16 code units."""
    raw = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[at]:02x}{raw[at + 1]:02x}" for at in range(0, len(raw), 2))


def print_line(text: str = "") -> None:
    """Print a line for people, or the lines of a text, and flush it.

    Control characters are escaped, so that no text controls the terminal.
    """
    sys.stdout.write("\n".join(map(plain, text.split("\n"))) + "\n")
    sys.stdout.flush()

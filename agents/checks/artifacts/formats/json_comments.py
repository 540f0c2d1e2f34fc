"""Reads JSON with comments and trailing commas, as editors and development containers write it."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r'(?P<text>"(?:[^"\\\n]|\\.)*+")|//[^\n]*|/\*.*?(?:\*/|\Z)|,(?=\s*[}\]])', re.DOTALL
)


def without_comments(raw: bytes) -> bytes:
    """Return JSON with its comments and trailing commas replaced by blanks.

    Line numbers stay the same.

    Source: the JSONC specification.
    """
    text = raw.decode("utf-8-sig", "replace")
    once = _TOKEN.sub(lambda found: found["text"] or _blank(found[0]), text)
    # A comma may have had a comment between it and the bracket.
    return _TOKEN.sub(lambda found: found["text"] or _blank(found[0]), once).encode()


def _blank(text: str) -> str:
    return " " + "\n" * text.count("\n")

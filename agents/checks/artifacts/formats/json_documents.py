"""Declares JSON documents: configurations, indexes, schemas, notebooks, boosters."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.artifacts.formats.format import (
    SPACES,
    Content,
    Format,
    Suffix,
    Trait,
    endings,
    later,
)
from agents.checks.artifacts.scanning import Source

SUFFIXES: Final = (
    Suffix(
        ".json",
        Trait.NAMED | Trait.NONEMPTY | Trait.TEXT,
        Content.DESCRIPTION,
        promises=(),
    ),
    Suffix(".jsonl", Trait.NAMED | Trait.TEXT, Content.DESCRIPTION),
    Suffix(".ipynb", Trait.NAMED | Trait.TEXT),
    Suffix(".json.txt", Trait.NAMED | Trait.TEXT),
    Suffix(".webmanifest", Trait.NAMED | Trait.TEXT),
)
_TABLES: Final = re.compile(rb"\[\[\s*[A-Za-z_][\w.\"' -]*\]\]")
"""An array of tables, as TOML files begin."""
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a JSON object or array, or its name says so."""
    named = name.lower().endswith(_NAMED)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        if text[:2] in (b"{%", b"{{") or (_TABLES.match(text) and not named):
            return False
        rest = text[1:].lstrip()[:1]
        starts = (b'"', b"}", b"") if text[:1] == b"{" else (b'"', b"{", b"[", b"]", b"-", b"")
        return rest in starts or rest.isdigit() or named
    return named and source.size > 0 and not head.startswith(b"version https://")


FORMAT: Final = Format(
    name="json",
    suffixes=SUFFIXES,
    firsts=b"{[\xef" + SPACES,
    matches=matches,
    parse=later("agents.checks.artifacts.formats.json_reader"),
)

"""Reads the text of a requirements file: decodes it, joins lines, strips comments."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

from schemas.errors import TidewatchError

BYTES_LIMIT: Final = 64 * 1024 * 1024
LINE_LIMIT: Final = 65_536
"""Characters of one logical line (continuations joined)."""
_ENCODING: Final = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class UnreadableRequirementsError(TidewatchError):
    """Requirements that are not text, or exceed the limits."""


def decode_requirements(raw: bytes) -> str:
    """Return the text of a requirements file: byte order mark, then PEP 263, then UTF-8.

    Raises:
        UnreadableRequirementsError: too long, or not text.
    """
    if len(raw) > BYTES_LIMIT:
        raise UnreadableRequirementsError(
            f"requirements of {len(raw):,} bytes exceed {BYTES_LIMIT:,}", remedy="split the file"
        )
    try:
        for mark, encoding in _BYTE_ORDER_MARKS:
            if raw.startswith(mark):
                return raw[len(mark) :].decode(encoding)
        for line in raw.split(b"\n", 2)[:2]:
            named = _ENCODING.match(line)
            if named:
                return raw.decode(named[1].decode("ascii"))
        return raw.decode("utf-8")
    except (UnicodeDecodeError, LookupError):
        # pip falls back to the locale; every byte is a character in Latin-1.
        return raw.decode("latin-1")


def _without_comment(line: str) -> str:
    """Return a line up to a `#` that starts it or follows white space.

    A pattern such as pip's, a run of white space and then `#`, takes quadratic time on a run
    without one.
    """
    at = line.find("#")
    while at > 0 and not line[at - 1].isspace():
        at = line.find("#", at + 1)
    return (line if at < 0 else line[:at]).strip()


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the non-empty lines of a text, continuations joined, with their numbers.

    Source: pip's `join_lines` and `ignore_comments`.
    """
    pending: list[str] = []
    start = 1
    size = 0
    for number, line in enumerate(text.splitlines(), 1):
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            if not pending:
                start = number
            if size <= LINE_LIMIT:
                pending.append(line.rstrip("\\") if pending else line.strip("\\"))
                size += len(line)
            continue
        # A comment ends a continuation; the space before it stays.
        whole = "".join([*pending, f" {line}" if comment else line])
        cleaned = _without_comment(whole)
        if cleaned:
            yield (start if pending else number), cleaned
        pending, size = [], 0
    if pending:
        cleaned = _without_comment("".join(pending))
        if cleaned:
            yield start, cleaned

"""Makes external text safe for chats and mails: one line, no links, no markup."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tldextract import TLDExtract

ELLIPSIS: Final = "…"
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, direction overrides, surrogates: they control a terminal or disguise text."""
_LOOK_ALIKES: Final = str.maketrans(
    {"<": "‹", ">": "›", "`": "'", "*": "∗", "~": "∼", "|": "¦", "&": "＆", "\\": "＼"}  # noqa: RUF001 -- meant
)
"""Characters of HTML, Markdown and chat markup, each with its look-alike."""
_HTTP: Final = re.compile(r"\bhttp(?=s?://)", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?<![\w.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\w.]*\w)")
_NAME: Final = re.compile(r"(?<![\w.-])(?:[\w-]{1,63}\.){1,20}[^\W\d_][\w-]{1,62}(?![\w-])")
_MENTION: Final = re.compile(r"(?<!\w)@(?=\w)")
_EDGE: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""An underscore that emphasises in Markdown: not between letters and digits."""


def plain(text: str, limit: int) -> str:
    """Return a text as one line without links, mentions or markup.

    Args:
        text: External text.
        limit: Most characters to keep; a cut is marked.

    Returns:
        The text with white space as single spaces, hidden characters written out, URLs, host names
        that are registered below a public suffix and addresses defanged, and characters of markup
        replaced by look-alikes.
    """
    # bounded before any other step
    words = " ".join(text[: 4 * limit + 4].split())
    if len(words) > limit:
        words = words[: limit - 1] + ELLIPSIS
    words = "".join(
        f"(U+{ord(char):04X})" if unicodedata.category(char) in _HIDDEN else char for char in words
    )
    words = defanged(words).translate(_LOOK_ALIKES)
    words = _MENTION.sub("[@]", words).replace("](", "] (")
    return _EDGE.sub("ˍ", words)


def defanged(text: str) -> str:
    """Return a text in which no program finds a URL, a host name or an address to link to."""
    text = _NAME.sub(_host, text)
    text = _ADDRESS.sub(r"\1[.]\2[.]\3[.]\4", text)
    return _HTTP.sub("hxxp", text).replace("://", "[://]")


def _host(found: re.Match[str]) -> str:
    name = found[0]
    if not _suffixes()(name).suffix:
        return name
    head, _, last = name.rpartition(".")
    return f"{head}[.]{last}"


@cache
def _suffixes() -> TLDExtract:
    """Return the reader of the public suffix list that tldextract ships; nothing is fetched."""
    from tldextract import TLDExtract  # noqa: PLC0415 -- only messages need it

    return TLDExtract(suffix_list_urls=(), cache_dir=None)

"""Reads the links of an HTML page, at a cost that grows with its length alone.

Source: HTML Living Standard, 13.2.5 "Tokenization": a tag, comment or script without an end reaches
to the end of the page, and does not count. `html.parser` searches for that end again at each
further one.
"""

from __future__ import annotations

import html
import re
from typing import Final

import msgspec

_MARKUP: Final = re.compile(r"<(?:!--|[!?/]|(?P<tag>[A-Za-z][^\s/>]*))")
_BETWEEN: Final = re.compile(r"[\s/]*")
_NAME: Final = re.compile(r"[^\s/>][^\s/>=]*")
_EQUALS: Final = re.compile(r"\s*+=\s*+")
_BARE: Final = re.compile(r"[^\s>]*")
_RAW: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style")
}
"""The end tags of elements whose content is text only."""

Attributes = dict[str, str | None]
"""By lower-case name; None: without a value."""


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """A link of a page."""

    attributes: Attributes
    texts: list[str]
    """Its text, in parts."""


class Anchors(msgspec.Struct, frozen=True, kw_only=True):
    """The links of a page."""

    links: list[Anchor]
    base: str | None
    """The base of its relative addresses, if it declares one."""


def anchors_of(text: str, most: int) -> Anchors:
    """Return the links of a page.

    Args:
        text: The page.
        most: Most links; further ones are left out.

    Raises:
        ValueError: A character reference has thousands of digits.
    """
    links: list[Anchor] = []
    base: str | None = None
    is_open = False
    at = 0
    while True:
        markup = _MARKUP.search(text, at)
        if is_open:
            shown = text[at : markup.start() if markup else len(text)]
            links[-1].texts.append(html.unescape(shown))
        if markup is None:
            break
        tag = (markup["tag"] or "").lower()
        if not tag:
            at = _after(text, markup)
            is_open = is_open and not _is_end(text, markup, "a")
        else:
            attributes, at = _attributes(text, markup.end())
            if at and tag == "a":
                is_open = len(links) < most
                if is_open:
                    links.append(Anchor(attributes=attributes, texts=[]))
            elif at and tag == "base" and base is None:
                base = attributes.get("href")
            elif at and tag in _RAW:
                end = _RAW[tag].search(text, at)
                at = end.start() if end else 0
        if not at:  # it has no end
            break
    return Anchors(links=links, base=base)


def _after(text: str, markup: re.Match[str]) -> int:
    """Return where a comment, declaration or end tag ends, 0 if it does not."""
    if markup[0] != "<!--":
        return text.find(">", markup.end()) + 1
    end = text.find("-->", markup.end() - 2)  # "<!-->" is whole
    return end + 3 if end >= 0 else 0


def _is_end(text: str, markup: re.Match[str], name: str) -> bool:
    """Return whether markup is the end tag of an element."""
    if markup[0] != "</":
        return False
    found = _NAME.match(text, markup.end())
    return found is not None and found[0].lower() == name


def _attributes(text: str, at: int) -> tuple[Attributes, int]:
    """Return the attributes of a start tag, and where it ends; 0 if it does not."""
    found: Attributes = {}
    while True:
        at = _end(_BETWEEN, text, at)
        name = _NAME.match(text, at)
        if name is None:
            return found, at + 1 if at < len(text) else 0
        at = name.end()
        equals = _EQUALS.match(text, at)
        value = None
        if equals is not None:
            at = equals.end()
            quote = text[at : at + 1]
            if quote in {'"', "'"}:
                end = text.find(quote, at + 1)
                if end < 0:
                    return found, 0
                value, at = text[at + 1 : end], end + 1
            else:
                end = _end(_BARE, text, at)
                value, at = text[at:end], end
        found[name[0].lower()] = html.unescape(value) if value is not None else None


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return the end of a match of a pattern that always matches."""
    match = pattern.match(text, at)
    return match.end() if match is not None else at

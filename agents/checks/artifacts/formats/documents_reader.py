"""Reads text that was saved under a model's name, such as an error page of a server."""

from __future__ import annotations

import contextlib
import re
from typing import Final

from agents.checks.artifacts.formats.executables import has_commands, matches_script
from agents.checks.artifacts.formats.format import FileName, Trait
from agents.checks.artifacts.formats.json_reader import parse as parse_json
from agents.checks.artifacts.formats.programs import SHELL, matches_wrapped
from agents.checks.artifacts.formats.xml_reader import parse as parse_xml
from agents.checks.artifacts.readers.window import decode_text, is_unicode_text
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source

MAX_PROSE: Final = 1024
_ANSWER: Final = re.compile(
    r"(?i)^\s*(<(!doctype html|html|head|body|center|h1)\b|(<\?xml[^>]*>\s*)?<(Error|html)\b"
    r"|\{\s*\"(error|errors|message|detail|code|status|statusCode|Message|Error)\"\s*:"
    r"|((http/\d\S* |error:? )?[45]\d\d\b|error\b|entry not found"
    r"|(file |page |repository )?not found"
    r"|(invalid|access|permission|unauthori[sz]ed|forbidden|too many|rate limit|internal server"
    r"|bad (request|gateway)|service (temporarily )?unavailable|gateway time-?out|moved|gated|gone"
    r"|cannot access|no such|authentication|please (log|sign) in)\b)"
    r"[^\n]{0,300}(\n[^\n]{0,300}){0,4}\Z)"
)
_PAGE: Final = re.compile(r"(?i)<(script|iframe|object|embed|svg)\b|\bon\w+\s*=|javascript:")
_REFUSAL: Final = re.compile(
    r"(?i)\b([45]\d\d|not found|forbidden|denied|error|sign in|log ?in|just a moment|unavailable"
    r"|too many requests|rate limit|captcha|does ?n[o']t exist)\b"
)
"""Phrases of a page that a server returns instead of a file."""
_MODEL: Final = re.compile(rb'"(learner|trees?|nodes|config|layers|weights|vocab)"\s*:')


def matches(name: FileName, head: bytes, source: Source) -> bool:
    """Return whether a file is a server's text where its name implies a binary format.

    Args:
        name: Its name, of a binary format.
        head: Its first bytes, which are text.
        source: The file.
    """
    raw = head if source.size <= len(head) else source.read(0, source.size)
    if not is_unicode_text(raw) or raw.startswith((b"#!", b"version https://git-lfs", b"%YAML")):
        return False
    text = decode_text(raw)
    if has_commands(text) or SHELL.search(text) or matches_script(name, head, source):
        return False
    if _PAGE.search(text) and not _REFUSAL.search(text):
        return False  # a page with active content
    markup = text.lstrip()[:1] in ("<", "{", "[")
    if _ANSWER.match(text) and (markup or len(raw) <= MAX_PROSE):
        return not (name.has(Trait.MIXED) and _MODEL.search(raw))
    if name.has(Trait.PICKLE_TEXT):
        return markup
    return name.has(Trait.BINARY) and not matches_wrapped(name, head, source)


def parse(scan: Scan, name: str, source: Source) -> None:
    """Mark the file corrupt, and report active content in its text.

    Raises:
        CorruptFileError: always: text is not a model of this format.
    """
    del name
    start = decode_text(source.read(0, 256)).lstrip()
    with contextlib.suppress(CorruptFileError):  # it is corrupt anyway
        if start[:1] in ("{", "["):
            parse_json(scan, "document.json", source)
        elif start.startswith("<?xml"):
            parse_xml(scan, "document.xml", source)
    raise CorruptFileError(f"text in a file named like a binary format: {start[:60]!r}")

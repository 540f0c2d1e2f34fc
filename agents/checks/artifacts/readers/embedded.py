"""Finds files that hide as base64 or hexadecimal text within metadata and configuration."""
# ruff: noqa: PLR2004 -- sizes and offsets are given where the format is read

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Final

from agents.checks.artifacts.dangerous_names import functions
from agents.checks.artifacts.python.shell_commands import is_hostile_command
from agents.checks.artifacts.scanning import BytesSource, Scan
from schemas.severity import Severity


def descend_decoded(scan: Scan, name: str, text: str) -> bool:
    """Hand what a base64 or hexadecimal text holds to the scan, if it looks like a file.

    Args:
        scan: Where to descend.
        name: What the member is called in the evidence.
        text: The text.

    Returns:
        Whether it was one.
    """
    for raw in decoded_texts(text):
        if raw.startswith(FILE_HEADS):
            scan.descend(name, BytesSource(raw))
            return True
    return False


FILE_HEADS: Final = (
    b"\x80\x02",
    b"\x80\x03",
    b"\x80\x04",
    b"\x80\x05",
    b"\x80\x01",
    b"cos\n",
    b"cposix\n",
    b"cbuiltins\n",
    b"c__builtin__\n",
    b"csubprocess\n",
    b"PK\x03\x04",
    b"\x7fELF",
    b"MZ",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"7z\xbc\xaf",
    b"(cos\n",
    b"(cposix\n",
    b"\xe3\x00\x00\x00",
)
MIN_RUN: Final = 16
"""Characters of an encoded text that is decoded."""
_BASE64: Final = re.compile(rf"[A-Za-z0-9+/_-]{{{MIN_RUN},}}={{0,2}}")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){8,}")


def decoded_texts(text: str) -> Iterator[bytes]:
    """Yield what the base64 and hexadecimal runs of a text decode to, the first few of them."""
    flat = text.strip()
    if len(flat) < MIN_RUN:
        return
    flat = flat.replace("\n", "").replace("\r", "")
    for count, match in enumerate(_BASE64.finditer(flat)):
        if count >= 16:
            break
        run = match.group().rstrip("=")
        try:
            yield base64.b64decode(run + "=" * (-len(run) % 4), altchars=None)
            if "-" in run or "_" in run:
                yield base64.urlsafe_b64decode(run + "=" * (-len(run) % 4))
        except (ValueError, binascii.Error):
            pass
        if _HEX.fullmatch(run):
            yield bytes.fromhex(run)


def report_text(scan: Scan, key: str, text: str, severity: Severity | None = None) -> None:
    """Report what metadata should not hold: encoded files, code, commands.

    Args:
        scan: Where to report.
        key: Where the text is.
        text: The text.
        severity: Of code and commands, when other than the rule's: where text is only data.
    """
    descend_decoded(scan, f"{key}:decoded", text)
    if _begins_as_pickle(text):
        scan.descend(f"{key}:text", BytesSource(text.encode("latin-1", "replace")))
    what = ""
    if functions("metadata").match(text.strip()) and not _WORDS.search(key):
        what = f"{key} names {text.strip()}"
    elif _any_in(_SIGNS_OF_CODE, text) and (match := _CODE.search(text)):
        what = f"{key} holds code: {match.group()[:80]!r}"
    elif (
        len(text) < MAX_COMMAND
        and _any_in(_SIGNS_OF_A_COMMAND, text)
        and _COMMAND.search(text)
        and is_hostile_command(text)
    ):
        what = f"{key} holds a command: {text[:80]!r}"
    if what:
        scan.report("TW-MODEL-METADATA-CODE", what, severity=severity, key=key)


def _begins_as_pickle(text: str) -> bool:
    """Return whether text, taken for bytes, begins as a pickle does."""
    start = text[:64]
    if start.isascii() and len(start) >= len(_LONGEST_HEAD):
        return start.startswith(_TEXT_HEADS)
    return text.encode("latin-1", "ignore")[:16].startswith(_PICKLE_HEADS)


def _any_in(signs: Sequence[str], text: str) -> bool:
    """Return whether a text holds one of some signs: sooner told than by a pattern of all."""
    return any(sign in text for sign in signs)


_PICKLE_HEADS: Final = FILE_HEADS[:11]
_TEXT_HEADS: Final = tuple(head.decode() for head in _PICKLE_HEADS if head.isascii())
_LONGEST_HEAD: Final = max(_TEXT_HEADS, key=len)
_WORDS: Final = re.compile(
    r"(?i)label|vocab|token|text|content|class|word|name|prompt|example|tag|choice|answer|question|doc"
)
"""Keys under which names stand as words of a language, which a model of code has."""
MAX_COMMAND: Final = 4096
_COMMAND: Final = re.compile(
    r"/dev/tcp/|(curl|wget)\s[^\n]*\|\s*(ba|z)?sh|bash\s+-i|powershell(\.exe)?\s+-"
)
_SIGNS_OF_A_COMMAND: Final = ("/dev/tcp/", "|", "bash", "powershell")
"""One of them is in whatever `_COMMAND` finds."""
_SIGNS_OF_CODE: Final = ("(", "__", "marshal.loads", "!!python/", "<!ENTITY")
"""One of them is in whatever `_CODE` finds."""
_CODE: Final = re.compile(
    r"__import__\s*\(|\bos\.(system|popen)\s*\(|\bsubprocess\.\w+\s*\(|\bexec\s*\(\s*['\"b_]|"
    r"\beval\s*\(\s*['\"_]|\bmarshal\.loads|!!python/|__globals__|__subclasses__|"
    r"<!ENTITY"
)

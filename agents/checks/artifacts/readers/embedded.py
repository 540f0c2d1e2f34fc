"""Finds files that hide as base64 or hexadecimal text within metadata and configuration."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from agents.checks.artifacts.dangerous_names import functions
from agents.checks.artifacts.python.shell_commands import is_hostile_command
from agents.checks.artifacts.scanning import BytesSource, Scan
from agents.checks.shell.command_risk import CommandRisk
from agents.domain.late_pattern import late_pattern
from schemas.severity import Severity


def descend_decoded(scan: Scan, name: str, text: str) -> bool:
    """Hand the content of base64 or hexadecimal text to the scan, if it looks like a file.

    Args:
        scan: Where to descend.
        name: The member's name in the evidence.
        text: The text.

    Returns:
        Whether it was a file.
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
_HEX: Final = late_pattern(r"(?:[0-9a-fA-F]{2}){8,}")


_FEW: Final = 16
"""Runs of a text that are decoded regardless of how they begin."""


def _encoded(head: bytes) -> tuple[str, str]:
    """Return what the base64 and the hexadecimal text of a file begin with."""
    whole = base64.b64encode(head).decode("ascii")[: len(head) * 8 // 6]
    return re.escape(whole), f"(?i:{head.hex()})"


_HEADED: Final = late_pattern(
    r"(?<![A-Za-z0-9+/_-])(?:"
    + "|".join(prefix for head in FILE_HEADS for prefix in _encoded(head))
    + r")[A-Za-z0-9+/_-]+={0,2}"
)
"""A run that encodes a file."""


def _runs(flat: str) -> Iterator[str]:
    """Yield the first few runs of a text, and all others that encode a file."""
    at = 0
    for match in islice(_BASE64.finditer(flat), _FEW):
        at = match.end()
        yield match.group()
    if _BASE64.search(flat, at):
        for match in _HEADED.finditer(flat, at):
            if len(match.group()) >= MIN_RUN:
                yield match.group()


def decoded_texts(text: str) -> Iterator[bytes]:
    """Yield what base64 and hexadecimal runs of a text decode to.

    Args:
        text: Its first few runs count, and further ones if they encode a file.
    """
    flat = text.strip()
    if len(flat) < MIN_RUN:
        return
    flat = flat.replace("\n", "").replace("\r", "")
    for encoded in _runs(flat):
        run = encoded.rstrip("=")
        try:
            yield base64.b64decode(run + "=" * (-len(run) % 4), altchars=None)
            if "-" in run or "_" in run:
                yield base64.urlsafe_b64decode(run + "=" * (-len(run) % 4))
        except (ValueError, binascii.Error):
            pass
        if _HEX.fullmatch(run):
            yield bytes.fromhex(run)


def report_text(scan: Scan, key: str, text: str, severity: Severity | None = None) -> None:
    """Report what metadata should not contain: encoded files, code, commands.

    Args:
        scan: Where to report.
        key: Where the text is.
        text: The text.
        severity: The severity of code and commands where text is only data; by default the rule's.
    """
    descend_decoded(scan, f"{key}:decoded", text)
    if _begins_as_pickle(text):
        scan.descend(f"{key}:text", BytesSource(text.encode("latin-1", "replace")))
    what = ""
    if functions("metadata").match(text.strip()) and not _WORDS.search(key):
        what = f"{key} names {text.strip()}"
    elif _any_in(_SIGNS_OF_CODE, text) and (match := _CODE.search(text)):
        what = f"{key} holds code: {match.group()[:80]!r}"
    elif _any_in(_SIGNS_OF_A_COMMAND, text) and (command := _hostile_command(text)):
        what = f"{key} holds a command: {command[:80]!r}"
    if what:
        scan.report("TW-MODEL-METADATA-CODE", what, severity=severity, key=key)


def report_command(scan: Scan, path: str, value: str, risk: CommandRisk) -> bool:
    """Report a setting that is a command line of some risk, whatever the setting is called.

    Returns:
        Whether it is hostile, or runs what it fetches.
    """
    if risk <= CommandRisk.INSTALLER:
        return False
    hostile = risk is CommandRisk.HOSTILE
    scan.report(
        "TW-MODEL-SCRIPT-HOSTILE" if hostile else "TW-MODEL-SCRIPT-RISKY",
        f"{path[:120] or 'it'} holds the command {value.strip()[:80]!r}",
        severity=None if hostile else Severity.MEDIUM,
        key=path[:200],
    )
    return True


def _hostile_command(text: str) -> str:
    """Return a hostile command of a text: a short text whole, of a longer one a line."""
    for match in _COMMAND.finditer(text):
        if len(text) < MAX_COMMAND:
            return text if is_hostile_command(text) else ""
        begin = max(text.rfind("\n", 0, match.start()) + 1, match.start() - MAX_COMMAND // 2)
        end = text.find("\n", match.end())
        line = text[begin : min(end if end >= 0 else len(text), match.end() + MAX_COMMAND // 2)]
        if is_hostile_command(line.strip()):
            return line.strip()
    return ""


def _begins_as_pickle(text: str) -> bool:
    """Return whether text, taken for bytes, begins as a pickle does."""
    start = text[:64]
    if start.isascii() and len(start) >= len(_LONGEST_HEAD):
        return start.startswith(_TEXT_HEADS)
    return text.encode("latin-1", "ignore")[:16].startswith(_PICKLE_HEADS)


def _any_in(signs: Sequence[str], text: str) -> bool:
    """Return whether a text contains one of some signs; this is faster than one pattern for all."""
    return any(sign in text for sign in signs)


_PICKLE_HEADS: Final = FILE_HEADS[:11]
_TEXT_HEADS: Final = tuple(head.decode() for head in _PICKLE_HEADS if head.isascii())
_LONGEST_HEAD: Final = max(_TEXT_HEADS, key=len)
_WORDS: Final = late_pattern(
    r"(?i)label|vocab|token|text|content|class|word|name|prompt|example|tag|choice|answer|question|doc"
)
"""Keys under which names are words of a vocabulary, as in a model of code."""
MAX_COMMAND: Final = 4096
_COMMAND: Final = late_pattern(
    r"/dev/tcp/|(curl|wget)\s[^\n]*\|\s*(ba|z)?sh|bash\s+-i|powershell(\.exe)?\s+-"
)
_SIGNS_OF_A_COMMAND: Final = ("/dev/tcp/", "|", "bash", "powershell")
"""Every match of `_COMMAND` contains one of these."""
_SIGNS_OF_CODE: Final = ("(", "__", "marshal.loads", "!!python/", "<!ENTITY", "://")
"""Every match of `_CODE` contains one of these."""
_CODE: Final = late_pattern(
    r"__import__\s*\(|\bos\.(system|popen)\s*\(|\bsubprocess\.\w+\s*\(|\bexec\s*\(\s*['\"b_]|"
    r"\beval\s*\(\s*['\"_]|\bmarshal\.loads|!!python/|__globals__|__subclasses__|"
    r"<!ENTITY|"
    r"https?://(?:169\.254\.169\.254|169\.254\.170\.2|\[fd00:ec2::254\]|100\.100\.100\.200"
    r"|metadata\.google\.internal)(?![\w.])"
)
"""Code, and the addresses at which clouds serve a machine's credentials."""

"""Describes what a command reads or prints: its text, and what is known of where it comes from."""

from __future__ import annotations

import base64
import binascii
import enum
import re
import string
from collections.abc import Iterable
from typing import Final, NamedTuple

from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.grammar import unescaped
from agents.domain.late_pattern import late_pattern

MAX_TEXT: Final = 1 << 16
"""Characters of a text that is known."""
_RANGE: Final = late_pattern(r"(.)-(.)", re.DOTALL)
_CLASSES: Final = {
    "[:lower:]": string.ascii_lowercase,
    "[:upper:]": string.ascii_uppercase,
    "[:digit:]": string.digits,
}
_REPLACES: Final = late_pattern(
    r"s(?P<cut>[/|#,@:!])(?P<old>(?:(?!(?P=cut)).){1,80})(?P=cut)(?P<new>(?:(?!(?P=cut)).){0,80})(?P=cut)g?"
)


class Secrecy(enum.IntEnum):
    """Whether a text is a secret of the host that runs a command."""

    NONE = 0
    NAMED = 1
    """It is of a variable whose name says so, and which a command may well use as one."""
    ISSUED = 2
    """It is a token that a program gives out for use with a service."""
    TAKEN = 3
    """It is the environment as a whole, or the content of a file of credentials."""


class Data(NamedTuple):
    """A text with its origin."""

    text: str = ""
    literal: bool = False
    """Whether the text is known as a whole."""
    secrecy: Secrecy = Secrecy.NONE
    fetched: CommandRisk = CommandRisk.NONE
    """The risk of running it, for where it was fetched from."""
    saved: bool = False
    """Whether it was kept in a file after it was fetched."""
    hidden: bool = False
    """Whether it was decoded from what nobody can read."""
    encoded: bool = False
    """Whether it was made unreadable."""
    personal: bool = False
    """Whether it tells who runs the command."""

    @property
    def known(self) -> str:
        """Return the text if it is known as a whole, else nothing."""
        return self.text if self.literal else ""


NOTHING: Final = Data(literal=True)


def is_of_note(data: Data) -> bool:
    """Return whether more is known of a text than the text."""
    return bool(data.secrecy or data.fetched or data.hidden or data.personal)


def joined(parts: Iterable[Data], between: str = "") -> Data:
    """Return texts as one, which has what any of them has."""
    parts = [*parts]
    if len(parts) == 1:
        return parts[0]
    text = between.join(part.text for part in parts)
    known = len(text) <= MAX_TEXT
    return Data(
        text if known else "",
        known and all(part.literal for part in parts),
        max((part.secrecy for part in parts), default=Secrecy.NONE),
        max((part.fetched for part in parts), default=CommandRisk.NONE),
        all(part.saved for part in parts if part.fetched),
        any(part.hidden for part in parts),
        any(part.encoded for part in parts),
        any(part.personal for part in parts),
    )


def decoded(data: Data, program: str, arguments: str) -> Data:
    """Return what a decoder prints of a text; its text where it can be computed.

    Args:
        data: What it reads.
        program: Its name.
        arguments: Its options and operands.
    """
    text = data.known
    try:
        result = _decode(text, program, arguments) if text else None
    except (ValueError, binascii.Error, UnicodeError):
        result = None
    return data._replace(text=result or "", literal=bool(result), hidden=True, encoded=False)


def _decode(text: str, program: str, arguments: str) -> str | None:
    if program in {"base64", "openssl"}:
        return base64.b64decode(text).decode()
    if program == "base32":
        return base64.b32decode(text.strip()).decode()
    if program == "xxd":
        return bytes.fromhex(re.sub(r"\\x|\s", "", text)).decode()
    if program == "rev":
        return "\n".join(line[::-1] for line in text.split("\n"))
    if program == "tac":
        return "\n".join(reversed(text.split("\n")))
    if program == "tr":
        return _translated(text, arguments.split())
    return None


def _translated(text: str, arguments: list[str]) -> str | None:
    operands = [_characters(word) for word in arguments if not word.startswith("-")]
    if "-d" in arguments and len(operands) == 1:
        return text.translate({ord(char): None for char in operands[0]})
    if len(operands) != 2 or not operands[1]:  # noqa: PLR2004 -- what to replace, and by what
        return None
    old, new = operands
    new += new[-1] * max(len(old) - len(new), 0)
    return text.translate(dict(zip(map(ord, old), new, strict=False)))


def _characters(text: str) -> str:
    for name, characters in _CLASSES.items():
        text = text.replace(name, characters)
    text = unescaped(text).strip("[]")
    return _RANGE.sub(
        lambda match: "".join(map(chr, range(ord(match[1]), ord(match[2]) + 1))), text[:256]
    )


def edited(data: Data, arguments: Iterable[Data]) -> Data:
    """Return what `sed` prints of a text: with its substitutions where they are plain."""
    text = data.known
    if not text:
        return data
    for argument in arguments:
        for match in _REPLACES.finditer(argument.known):
            if not re.search(r"[\\^$.*\[\]&+?]", match["old"] + match["new"]):
                text = text.replace(match["old"], match["new"])
    return data._replace(text=text, hidden=data.hidden or text != data.text)

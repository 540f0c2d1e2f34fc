"""Reads the words of a command: programs, files, options and expansions of constants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from agents.checks.shell.data import NOTHING, Data, joined
from agents.checks.shell.grammar import Word, unescaped
from agents.domain.late_pattern import late_pattern

_PROGRAM_GLOB: Final = late_pattern(
    r"/(?:usr/|bin/|sbin/|[\w?*\[\]-]{1,12}/){0,3}[\w?*\[\]-]{1,16}$"
)
_GLOBBED: Final = (
    "/bin/sh", "/bin/bash", "/usr/bin/curl", "/usr/bin/wget", "/bin/nc", "/usr/bin/nc",
    "/usr/bin/base64", "/usr/bin/python3", "/bin/cat", "/usr/bin/perl", "/bin/dash",
    "/usr/bin/env", "/bin/rm",
)  # fmt: skip


def constant(text: str) -> Data:
    """Return a text that is known."""
    return Data(text, literal=True)


def program_name(text: str) -> str:
    """Return the name of a program, of the path that is run."""
    name = text.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".exe")
    if "?" in text or "*" in text:
        return _globbed(text) or name
    return name


def _globbed(text: str) -> str:
    from fnmatch import fnmatchcase  # noqa: PLC0415 -- few programs are named by patterns

    if not _PROGRAM_GLOB.fullmatch(text):
        return ""
    found = next((path for path in _GLOBBED if fnmatchcase(path, text)), "")
    return found.rsplit("/", 1)[-1]


def file_name(path: str) -> str:
    """Return how a file is known, whichever way its path is written."""
    return path.rstrip("/").rsplit("/", 1)[-1].lstrip(".") or ""


def split_words(written: Sequence[Word], words: list[Data]) -> list[Data]:
    """Return words with those taken apart that hold blanks or lists without quotes."""
    result: list[Data] = []
    for source, word in zip(written, words, strict=True):
        text = word.text
        if source.quoted or len(source.parts) == 0:
            result.append(word)
        elif text.startswith("{") and text.endswith("}") and "," in text and word.literal:
            result += [word._replace(text=part) for part in text[1:-1].split(",")]
        elif " " in text and word.literal:
            result += [word._replace(text=part) for part in text.split()]
        else:
            result.append(word)
    return result


def operated(data: Data, operation: str) -> Data:
    """Return a value after an operation of its expansion, where it is plain."""
    text = data.text
    if match := re.fullmatch(r":(\d{1,4})(?::(\d{1,4}))?", operation):
        start = int(match[1])
        return data._replace(text=text[start : start + int(match[2])] if match[2] else text[start:])
    if match := re.fullmatch(r"(//?)([^/]{1,60})(?:/(.{0,60}))?", operation):
        count = -1 if match[1] == "//" else 1
        return data._replace(text=text.replace(match[2], match[3] or "", count), hidden=data.hidden)
    if re.match(r"[:#%^,@/]", operation):
        return data._replace(literal=False) if operation[0] in "#%^,@" else data
    return data


def echoed(name: str, arguments: list[Data]) -> Data:
    """Return what `echo` and `printf` print."""
    options = 0
    escapes = name == "printf"
    for word in arguments:
        if not re.fullmatch(r"-[neE]+", word.text):
            break
        escapes = escapes or "e" in word.text
        options += 1
    words = arguments[options:]
    if name == "printf" and len(words) > 1 and "%" in words[0].text:
        return joined(words[1:], "" if " " not in words[0].text else " ")
    data = joined(words, " ") if words else NOTHING
    if escapes and "\\" in data.text:
        text = unescaped(data.text)
        hidden = re.search(r"\\(?:x[0-9A-Fa-f]{2}|0?[0-7]{3})", data.text) is not None
        return data._replace(text=text, hidden=data.hidden or hidden)
    return data


def has(words: Iterable[Data], text: str) -> bool:
    """Return whether a word is among others."""
    return any(word.text == text for word in words)


def operands_of(arguments: list[Data], with_value: set[str]) -> Iterator[Data]:
    """Yield the arguments that are no options, nor their values."""
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word.text.startswith("-") and word.text != "-":
            skip = word.text in with_value
        else:
            yield word

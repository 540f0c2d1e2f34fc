"""Splits a command line into words as `shlex` does, in time in proportion to its length.

`shlex` copies a word for each of its characters: a word of a megabyte takes it ten seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_SPACE: Final = " \t\r\n"
_UNQUOTED: Final = re.compile(r"\\([\"\\])")


def _parts(punctuation: str) -> re.Pattern[str]:
    """Return the pattern of one part of a word, or of a run of punctuation."""
    signs = re.escape(punctuation)
    run = rf"|(?P<signs>[{signs}]+)" if punctuation else ""
    return re.compile(
        rf"(?P<plain>[^{_SPACE}{signs}'\"\\]++)"
        r"|\\(?P<escaped>.)"
        r"|'(?P<single>[^']*+)'"
        r"|\"(?P<double>(?:[^\"\\]++|\\.)*+)\""
        rf"|(?P<space>[{_SPACE}]++){run}",
        re.DOTALL,
    )


PUNCTUATION: Final = "();|&"
"""What separates commands: a run of these is a word of its own."""
_PLAIN: Final = _parts("")
_COMMANDS: Final = _parts(PUNCTUATION)


def shell_words(text: str, *, commands: bool = False) -> Iterator[str]:
    """Yield the words of a command line, without quotation marks.

    Args:
        text: The command line.
        commands: Whether `PUNCTUATION` separates commands; otherwise it is part of words.

    Raises:
        ValueError: a quotation does not end, or nothing follows a backslash.
    """
    pattern = _COMMANDS if commands else _PLAIN
    word: list[str] | None = None
    at = 0
    while at < len(text):
        part = pattern.match(text, at)
        if part is None:
            escape = text[at] == "\\"
            raise ValueError("No escaped character" if escape else "No closing quotation")
        at = part.end()
        kind = part.lastgroup
        assert kind is not None, "each alternative has a name"
        if kind in {"space", "signs"}:
            if word is not None:
                yield "".join(word)
                word = None
            if kind == "signs":
                yield part[kind]
            continue
        piece = _UNQUOTED.sub(r"\1", part[kind]) if kind == "double" else part[kind]
        word = [] if word is None else word
        word.append(piece)
    if word is not None:
        yield "".join(word)

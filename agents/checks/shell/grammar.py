"""Splits text of a shell into pipelines of commands, with their words, redirections and lines.

The grammar is that of POSIX and Bash, read tolerantly: a quote that nothing closes is a character,
keywords and braces only separate commands, and what is not understood stays text.

Source: POSIX.1-2024, "Shell Command Language"; the Bash manual, "Shell Syntax", "Expansions".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from agents.domain.late_pattern import late_pattern

MAX_DEPTH: Final = 6
"""Substitutions within substitutions."""
MAX_QUOTED: Final = 1 << 16
"""Characters between two quotes."""
MAX_DOCUMENTS: Final = 64
"""Documents of input within a text."""
MAX_SUBSTITUTED: Final = 4096
"""Characters of a substitution between quotes that has quotes of its own."""
_WORD_ENDS: Final = frozenset(" \t\r\n;|&()<>")
_PLAIN: Final = late_pattern(r"[^\s;|&()<>'\"`$\\{}]+")
_NAME: Final = late_pattern(r"[A-Za-z_]\w{0,63}|[@*#?$!0-9-]")
_REDIRECTION: Final = late_pattern(r"(?:\d{0,2}|&)(>>|>\||>&|<<<|<<-?|<>|<&|[<>])|&>>?")
_HERE: Final = late_pattern(r"[ \t]*(?P<quote>['\"\\]?)(?P<word>[\w.-]{1,64})['\"]?")
_BLANKS: Final = late_pattern(r"(?:[ \t\r]|\\\r?\n)+")
_ESCAPED: Final = late_pattern(r"\\(x[0-9A-Fa-f]{1,2}|0?[0-7]{1,3}|u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "a": "\a", "0": "\0"}
KEYWORDS: Final = frozenset(
    (
        "!",
        "{",
        "}",
        "if",
        "then",
        "elif",
        "else",
        "fi",
        "do",
        "done",
        "while",
        "until",
        "esac",
        "time",
    )
)
"""Words before a command that say nothing about what it does."""
LOOPS: Final = frozenset(("while", "until", "if", "for", "{"))
"""Words that begin a compound command."""
ENDS: Final = frozenset(("done", "fi", "esac", "}"))
"""Words that end one."""


class Variable(NamedTuple):
    """A parameter that is expanded, such as `${name%suffix}`."""

    name: str
    operation: str
    """What follows the name within braces."""
    text: str
    """As it is written."""


class Substitution(NamedTuple):
    """A command whose output takes its place in a word."""

    script: Script
    is_file: bool
    """Whether it is named as a file, as by `<(command)`."""
    text: str
    """As it is written."""


class Word(NamedTuple):
    """A word: texts, parameters and substitutions that are joined."""

    parts: tuple[str | Variable | Substitution, ...]
    quoted: bool
    """Whether any of it is quoted."""


class Redirection(NamedTuple):
    """Where input comes from, or output goes."""

    operator: str
    word: Word


class SimpleCommand(NamedTuple):
    """A simple command, or a group of them that shares its input and output."""

    words: Sequence[Word]
    redirections: Sequence[Redirection]
    group: Script | None
    line: int


Pipeline = tuple[SimpleCommand, ...]
Script = tuple[Pipeline, ...]


def parse(text: str, line: int = 1) -> Script:
    """Return the pipelines of a text, in time linear in its length.

    Args:
        text: Commands of a shell.
        line: The number of its first line.
    """
    return _Parser(text, line).script(0, "")


def unescaped(text: str) -> str:
    r"""Return a text with its escapes, such as `\x41` and `\101`, replaced by characters."""
    return _ESCAPED.sub(_unescape, text)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "xu":
        return chr(int(code[1:], 16))
    if code[0].isdigit() and code.isdigit():
        return chr(int(code, 8) & 0xFF)
    return _LETTERS.get(code, code)


class _Parser:
    def __init__(self, text: str, line: int) -> None:
        self._text = text
        self._at = 0
        self._line = line
        self._counted = 0
        self._unclosed: set[str] = set()
        """Quotes of which no further one follows."""
        self._left = 4 * len(text)
        """Characters that may be read again to find where a quote is closed."""
        self._documents = MAX_DOCUMENTS
        self._pending: list[tuple[str, bool, list[Redirection]]] = []
        """Documents that begin on the next line: their last lines, and where they belong."""

    def _line_at(self, position: int) -> int:
        if position > self._counted:
            self._line += self._text.count("\n", self._counted, position)
            self._counted = position
        return self._line

    def script(self, depth: int, end: str) -> Script:
        """Return the pipelines up to the character that ends them, which is passed."""
        pipelines: list[Pipeline] = []
        commands: list[SimpleCommand] = []
        text = self._text
        while self._at < len(text):
            command = self._command(depth, end)
            if command.words or command.group or command.redirections:
                commands.append(command)
            char = text[self._at : self._at + 1]
            if char == "|" and not text.startswith("||", self._at):
                self._at += 2 if text.startswith("|&", self._at) else 1
                continue
            if commands:
                pipelines.append(tuple(commands))
                commands = []
            if not char:
                break
            if end and char == end:
                self._at += 1
                break
            self._at += 1
            if char == "\n" and self._pending:
                self._read_documents(depth)
        if commands:
            pipelines.append(tuple(commands))
        return tuple(pipelines)

    def _command(self, depth: int, end: str) -> SimpleCommand:
        """Return the command up to a separator, which is not passed; empty if there is none."""
        text = self._text
        words: list[Word] = []
        redirections: list[Redirection] = []
        group: Script | None = None
        begun = 0
        tests = False
        """Whether this is within `[[ … ]]`, where separators compare and join."""
        while self._at < len(text):
            if blanks := _BLANKS.match(text, self._at):
                self._at = blanks.end()
                continue
            char = text[self._at]
            if tests and char in "|&<>();":
                self._at += 1
                continue
            if char == "#":
                newline = text.find("\n", self._at)
                self._at = len(text) if newline < 0 else newline
                continue
            if found := _REDIRECTION.match(text, self._at):
                if found[0] in {"<", ">"} and text.startswith("(", found.end()):
                    pass  # a file that is a command's output
                else:
                    self._redirect(found, redirections, depth)
                    continue
            elif char in ";|&\n" or (end and char == end) or (char == ")" and not end):
                break
            if not begun:
                begun = self._line_at(self._at)
            if char == "(" and not words and depth < MAX_DEPTH:
                self._at += 1
                group = self.script(depth + 1, ")")
                continue
            if char in "()":
                self._at += 1
                continue
            at = self._at
            word = self._word(depth, end)
            if self._at == at:  # nothing that a word may hold
                self._at += 1
                continue
            words.append(word)
            if word.parts in (("[[",), ("]]",)):
                tests = word.parts == ("[[",)
        # what a document holds is read once its line ends
        return SimpleCommand(words, redirections, group, begun or self._line_at(self._at))

    def _redirect(self, found: re.Match[str], redirections: list[Redirection], depth: int) -> None:
        operator = found[1] or ">"
        self._at = found.end()
        if operator.startswith("<<") and operator != "<<<":
            if here := _HERE.match(self._text, self._at):
                self._at = here.end()
                self._pending.append((here["word"], bool(here["quote"]), redirections))
            return
        if blanks := _BLANKS.match(self._text, self._at):
            self._at = blanks.end()
        redirections.append(Redirection(operator, self._word(depth, ")")))

    def _read_documents(self, depth: int) -> None:
        text = self._text
        pending, self._pending = self._pending, []
        for last, plain, redirections in pending:
            if last in self._unclosed or not self._documents:
                continue
            self._documents -= 1
            found = re.compile(rf"^[ \t]*{re.escape(last)}[ \t]*\r?$", re.MULTILINE).search(
                text, self._at
            )
            if found is None:
                self._unclosed.add(last)
                continue
            body = text[self._at : found.start()]
            self._at = found.end()
            word = Word((body,), quoted=True) if plain else self._within(body, depth)
            redirections.append(Redirection("<<", word))

    def _within(self, text: str, depth: int) -> Word:
        """Return a text between double quotes as a word."""
        if "$" not in text and "`" not in text:
            return Word((text,), quoted=True)
        inner = _Parser(text, self._line)
        parts: list[str | Variable | Substitution] = []
        inner.quoted(parts, depth, len(text))
        return Word(tuple(parts), quoted=True)

    def _word(self, depth: int, end: str) -> Word:
        """Return the word that begins here, and pass it."""
        text = self._text
        parts: list[str | Variable | Substitution] = []
        quoted = False
        while self._at < len(text):
            if plain := _PLAIN.match(text, self._at):
                parts.append(plain[0])
                self._at = plain.end()
                continue
            char = text[self._at]
            if char in "<>" and not parts and text.startswith("(", self._at + 1):
                self._at += 1
                self._substitute(parts, depth, ")", is_file=True)
                break
            if char in _WORD_ENDS or (end and char == end):
                break
            if char == "\\":
                follows = text[self._at + 1 : self._at + 2]
                self._at += 2
                if follows != "\n":
                    parts.append(follows)
                    quoted = True
            elif char in "'\"":
                quoted = True
                self._quote(parts, depth, char)
            elif char == "$":
                self._dollar(parts, depth)
            elif char == "`":
                self._substitute(parts, depth, "`")
            else:
                parts.append(char)
                self._at += 1
        return Word(tuple(parts), quoted)

    def _quote(
        self,
        parts: list[str | Variable | Substitution],
        depth: int,
        quote: str,
        *,
        ansi: bool = False,
    ) -> None:
        """Read what stands between quotes; a quote that is never closed is a character."""
        text = self._text
        start = self._at + 1
        close = self._closing(start, quote, escapes=ansi or quote == '"')
        if close < 0:
            parts.append(quote)
            self._at = start
            return
        body = text[start:close]
        if quote == "'":
            parts.append(unescaped(body) if ansi else body)
            self._at = close + 1
            return
        self._at = start
        self.quoted(parts, depth, close)
        self._at = max(self._at, close + 1)

    def _closing(self, start: int, quote: str, *, escapes: bool) -> int:
        """Return where a quote is closed; negative if nowhere near."""
        if quote in self._unclosed:
            return -1
        text = self._text
        position = start
        while True:
            close = text.find(quote, position, start + MAX_QUOTED)
            if close < 0:
                if start + MAX_QUOTED >= len(text):
                    self._unclosed.add(quote)
                return -1
            if not escapes or text[close - 1] != "\\" or text[close - 2] == "\\":
                break
            position = close + 1
        if not escapes:
            return close
        return self._past_substitutions(start, close, quote)

    def _past_substitutions(self, start: int, close: int, quote: str) -> int:
        """Return where a double quote is closed, whose content may have quotes within `$(…)`."""
        text = self._text
        opened = text.find("$(", start, close)
        while opened >= 0:
            level = 0
            position = opened + 1
            limit = min(len(text), opened + MAX_SUBSTITUTED, opened + self._left)
            while position < limit:
                char = text[position]
                if char == "(":
                    level += 1
                elif char == ")":
                    level -= 1
                    if not level:
                        break
                position += 1
            self._left -= position - opened
            if position >= limit:
                return close
            if position > close:
                close = text.find(quote, position, start + MAX_QUOTED)
                if close < 0:
                    return -1
            opened = text.find("$(", position, close)
        return close

    def quoted(self, parts: list[str | Variable | Substitution], depth: int, close: int) -> None:
        """Read a text between double quotes up to where they are closed."""
        text = self._text
        while self._at < close:
            dollar = text.find("$", self._at, close)
            tick = text.find("`", self._at, close)
            slash = text.find("\\", self._at, close)
            following = min((at for at in (dollar, tick, slash) if at >= 0), default=close)
            if following > self._at:
                parts.append(text[self._at : following])
            self._at = following
            if following >= close:
                return
            if following == slash:
                escaped = text[slash + 1 : slash + 2]
                parts.append(
                    escaped if escaped in '$`"\\' else f"\\{escaped}" if escaped != "\n" else ""
                )
                self._at += 2
            elif following == dollar:
                self._dollar(parts, depth)
            else:
                self._substitute(parts, depth, "`")

    def _dollar(self, parts: list[str | Variable | Substitution], depth: int) -> None:
        text = self._text
        start = self._at
        follows = text[start + 1 : start + 2]
        if follows == "$" and text[start + 2 : start + 3].strip(" \t\n"):  # as a makefile writes it
            self._at = start = start + 1
            follows = text[start + 1 : start + 2]
        if follows == "(":
            if text.startswith("((", start + 1):
                close = text.find("))", start)
                self._at = start + 2 if close < 0 else close + 2
                parts.append(text[start : self._at])
                return
            self._at += 1
            self._substitute(parts, depth, ")")
        elif follows == "{":
            close = text.find("}", start, start + 400)
            found = _NAME.match(text, start + 2) if close >= 0 else None
            if found is None or text.startswith("{{", start + 1):
                parts.append("$")
                self._at += 1
                return
            self._at = close + 1
            parts.append(Variable(found[0], text[found.end() : close], text[start : close + 1]))
        elif follows == "'":
            self._at += 1
            self._quote(parts, depth, "'", ansi=True)
        elif found := _NAME.match(text, start + 1):
            self._at = found.end()
            parts.append(Variable(found[0], "", found[0].join(("$", ""))))
        else:
            parts.append("$")
            self._at += 1

    def _substitute(
        self,
        parts: list[str | Variable | Substitution],
        depth: int,
        end: str,
        *,
        is_file: bool = False,
    ) -> None:
        """Read the commands of a substitution, whose first bracket or tick is here."""
        start = self._at
        self._at += 1
        if depth >= MAX_DEPTH:
            return
        script = self.script(depth + 1, end)
        written = self._text[start - (end == ")") : self._at]
        parts.append(Substitution(script, is_file, written))

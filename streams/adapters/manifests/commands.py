"""Finds packages that commands install, in Dockerfiles, shell scripts and pipeline steps."""
# ruff: noqa: E501 -- lists of names

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from agents.checks.packages.requirements import read_requirements
from agents.checks.packages.shell_words import PUNCTUATION, shell_words
from schemas.events import Installer
from streams.adapters.manifests.found import ARCHIVES, Found, InstallOptions
from streams.adapters.manifests.requirements import beside, missing_files, package_of, refusal

_INSTALL: Final = re.compile(r"\b(?:pip3?(?:\.\d+)?|uvx?|pipx|poetry|pdm|conda|mamba|micromamba)\b")
_WORDS: Final = 10_000
"""Of one command line, here documents and functions included."""
_PIP: Final = re.compile(r"(?:.*/)?pip\d?(?:\.\d+)?")
_RUNNERS: Final = (("uv", ["tool"]), ("uv", ["run"]), ("pipx", ["run"]))
"""Commands that install what they run."""
_PRINTS: Final = frozenset({"echo", "printf"})
_SHELLS: Final = frozenset({"sh", "bash", "zsh", "dash", "sudo", "ssh", "xargs"})
"""Commands that run what they read."""
_SEPARATORS: Final = frozenset({"&&", "||", ";", "|", "&", "(", ")", "\n"})
_NEW_LINE: Final = ";;"
"""Stands for the end of a line: unlike a semicolon it also ends a comment."""
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_VALUED: Final = frozenset(
    {"-t", "--target", "--prefix", "--root", "--platform", "--python-version", "--implementation",
     "--abi", "--src", "--upgrade-strategy", "--progress-bar", "--cache-dir", "--timeout", "--retries",
     "--proxy", "--cert", "--client-cert", "--log", "--python", "-p", "--report", "--exists-action",
     "--global-option", "--config-settings", "-C", "--no-binary", "--only-binary", "--torch-backend",
     "--exclude-newer", "--resolution", "--index-strategy", "--use-feature", "--group", "--extra"}
)  # fmt: skip
"""Options of installers that take a value, which is not a requirement."""
_INDEXES: Final = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--default-index": "--index-url",
    "--pypi-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "--index": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--trusted-host": "--trusted-host",
    "--allow-insecure-host": "--trusted-host",
}
_FILES: Final = {"-r": "-r", "--requirement": "-r", "--requirements": "-r", "-c": "-c",
                 "--constraint": "-c", "--constraints": "-c"}  # fmt: skip
_FOLLOWED: Final = frozenset({"requirement", "constraint"})
_VARIABLES: Final = {
    "PIP_INDEX_URL": "--index-url",
    "UV_INDEX_URL": "--index-url",
    "UV_DEFAULT_INDEX": "--index-url",
    "PIP_EXTRA_INDEX_URL": "--extra-index-url",
    "UV_EXTRA_INDEX_URL": "--extra-index-url",
    "UV_INDEX": "--extra-index-url",
    "PIP_TRUSTED_HOST": "--trusted-host",
    "UV_INSECURE_HOST": "--trusted-host",
    "PIP_FIND_LINKS": "--find-links",
}
"""Environment variables that installers read as options."""
_INSTRUCTION: Final = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
_EXEC_FORM: Final = re.compile(r"(?:--[a-z]+=\S+\s+)*+(\[.*\])\s*", re.DOTALL)
_WORD_LIST: Final = msgspec.json.Decoder(list[str])
_ASSIGNED: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_HEREDOC: Final = re.compile(r"<<-?\s*[\"']?(\w+)[\"']?")


class Command(msgspec.Struct, frozen=True):
    """One command line and its location."""

    text: str
    line: int


def installs_of(commands: Iterable[Command], options: InstallOptions, place: str) -> Found:
    """Return the packages that commands install with pip and similar installers.

    Args:
        commands: Command lines.
        options: The files that they may name.
        place: The name of the file that contains them.
    """
    found = Found(installer=Installer(name="pip"))
    for command in commands:
        here = _place(place, command.line)
        for words in _simple_commands(command.text, found, here):
            for line in _requirement_lines(words, found, here):
                _add(found, line, options, place, command.line)
    return found


def _place(place: str, line: int) -> str:
    """Return a place in a file: of a line, if its number is known."""
    return f"{place}:{line}" if line else place


def _add(found: Found, line: str, options: InstallOptions, place: str, number: int) -> None:
    if line.partition(" ")[0] in {"-r", "-c"} and "$" in line:
        found.incomplete.append(
            f"{_place(place, number)}: {line[3:]} was not read: a variable names it"
        )
        return
    here = options.path or place
    if line.partition(" ")[0] in {"-r", "-c"}:
        # From the root: the command runs in another folder than its file's.
        here = ""
        line = f"{line[:2]} {_nested(line[3:].strip(), options, place)}"
    parsed = read_requirements(line, file=here, files=options.files)
    found.incomplete += [
        re.sub(r"^[^:]+:1:", f"{_place(place, number)}:", path)
        for path in missing_files(parsed, options.files)
    ]
    for parsed_line in parsed.lines:
        if parsed_line.error is not None:
            where = (
                f"{parsed_line.file}:{parsed_line.line}"
                if parsed_line.file
                else _place(place, number)
            )
            found.incomplete.append(f"{where}: {refusal(parsed_line)}")
            if not parsed_line.text.isascii():  # the name may look like another
                found.requirements.append(parsed_line.text)
            continue
        package = package_of(parsed_line)
        if package is not None:
            found.packages.append(package)
        if parsed_line.url is not None or (
            parsed_line.option is not None and parsed_line.option not in _FOLLOWED
        ):
            found.requirements.append(parsed_line.text)


def _nested(named: str, options: InstallOptions, place: str) -> str:
    """Return the path of a file that a command names: as written, or its source if copied."""
    here = options.path or place
    name = posixpath.basename(named)
    for path in (beside(here, named), posixpath.normpath(named), beside(here, name), name):
        if path in options.files:
            return path
    return named


def _simple_commands(text: str, found: Found, place: str) -> Iterator[list[str]]:
    """Yield the words of each command of a command line that names an installer."""
    if not _INSTALL.search(text) and not any(name in text for name in _VARIABLES):
        return
    try:
        split = list(islice(_lexed(text), _WORDS + 1))
    except ValueError:  # a quotation that does not end: each line by itself
        split = list(islice(_lexed_by_line(text), _WORDS + 1))
    if len(split) > _WORDS:
        found.incomplete.append(f"{place}: only {_WORDS:,} words of a command were read")
    words: list[str] = []
    printed: list[str] = []
    comment = False
    for word in split[:_WORDS]:
        comment = word != _NEW_LINE and (comment or word.startswith("#"))
        if comment:
            continue
        if word in _SEPARATORS or set(word) <= set(PUNCTUATION):
            yield from _run(words, printed)
            printed = words if word == "|" and words[:1] and words[0] in _PRINTS else []
            words = []
        else:
            words.append(word)
    yield from _run(words, printed)


def _lexed(text: str) -> Iterator[str]:
    """Yield the words and separators of a command line.

    Raises:
        ValueError: a quotation does not end.
    """
    text = text.replace("\\\n", " ").replace("\n", f" {_NEW_LINE} ")
    yield from shell_words(text, commands=True)


def _lexed_by_line(text: str) -> Iterator[str]:
    """Yield the words of each line, without the quotation marks of those that do not end."""
    for line in text.replace("\\\n", " ").split("\n"):
        try:
            words = list(_lexed(_COMMENT.sub("", line)))
        except ValueError:
            words = list(_lexed(line.replace("'", " ").replace('"', " ").replace("\\", "/")))
        yield from words
        yield _NEW_LINE


def _run(words: list[str], printed: list[str]) -> Iterator[list[str]]:
    """Yield a command unless it only prints; what was printed into a shell is run too.

    Args:
        words: Of the command.
        printed: Of the command that prints what this one reads, if any.
    """
    if words and posixpath.basename(words[0]) in _SHELLS and printed:
        yield printed[1:]
    if words and words[0] not in _PRINTS:
        yield words


def _requirement_lines(words: list[str], found: Found, place: str) -> Iterator[str]:
    """Yield the requirement lines equivalent to one command."""
    rest = list(words)
    while rest and (match := _ASSIGNED.fullmatch(rest[0])):
        if option := _VARIABLES.get(match[1]):
            yield from _options(option, match[2], found, place)
        rest.pop(0)
    for at, word in enumerate(rest):
        quoted = word if " " in word and _INSTALL.search(word) else None
        if quoted is not None:  # sh -c "pip install …"
            for inner in _simple_commands(quoted, found, place):
                yield from _requirement_lines(inner, found, place)
            continue
        if word in {"export", "ENV", "ARG"} and at + 1 < len(rest):
            yield from _requirement_lines(rest[at + 1 :], found, place)
            return
        options, verb = _verb(rest, at + 1)
        following = rest[verb : verb + 1]
        if _PIP.fullmatch(word) and following in (["install"], ["download"], ["wheel"]):
            yield from _arguments([*options, *rest[verb + 1 :]], found, place)
            return
        if word == "uvx" or (word, following) in _RUNNERS:
            after = rest[at + 1 if word == "uvx" else verb + 1 :]
            if following == ["tool"] and after[:1] == ["install"]:
                yield from _arguments(after[1:], found, place)
                return
            after = after[1:] if following == ["tool"] else after
            by_name = (word, following) != ("uv", ["run"])
            yield from _arguments(_ran(after, by_name=by_name), found, place)
            if by_name:
                return
            continue  # `uv run pip install …`
        if word in {"uv", "pipx", "poetry", "pdm"} and following in (["add"], ["install"]):
            if word in {"uv", "poetry", "pdm"} and following == ["install"]:
                return
            yield from _arguments(rest[verb + 1 :], found, place)
            return
        if word in {"conda", "mamba", "micromamba"} and following == ["install"]:
            for name in rest[verb + 1 :]:
                if name[:1].isalpha():
                    found.add_foreign("conda", name)
            return


def _verb(words: list[str], start: int) -> tuple[list[str], int]:
    """Return the options before an installer's verb, and the place of the verb."""
    at = start
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _VALUED or words[at] in _INDEXES else 1
    return words[start:at], at


def _ran(words: list[str], *, by_name: bool) -> Iterator[str]:
    """Yield what a tool is installed from before it is run, and the options for that.

    Args:
        words: After `uvx`, `uv tool run`, `pipx run` or `uv run`.
        by_name: Whether the command that is run names the package, unless `--from` does.
    """
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in {"--from", "--with", "--spec", "--with-requirements", "--with-editable"}:
            given = value if equals else next(rest, "")
            if name == "--with-requirements":
                yield from ("-r", given)
            elif name != "--with-editable":
                yield from given.split(",")
            by_name = by_name and name not in {"--from", "--spec"}
        elif name in _INDEXES:
            yield from (name, value if equals else next(rest, ""))
        elif name.startswith("-"):
            if name in _VALUED and not equals:
                next(rest, None)
        else:
            if by_name and not word.startswith((".", "/", "$")) and "://" not in word:
                tool, _, version = word.partition("@")
                yield f"{tool}=={version}" if version[:1].isdigit() else tool
            return


def _options(option: str, value: str, found: Found, place: str) -> Iterator[str]:
    for word in value.split():
        if "$" in word.partition("@")[2] or word.startswith("$"):
            found.incomplete.append(f"{place}: {option} {word[:80]} is the value of a variable")
        else:
            yield f"{option} {shlex.quote(word)}"


def _arguments(words: Iterable[str], found: Found, place: str) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name.startswith("-"):
            if name in _VALUED:
                if not equals:
                    next(rest, None)
            elif name in _INDEXES or name in _FILES:
                given = value if equals else next(rest, "")
                if name in _FILES:
                    yield f"{_FILES[name]} {given}"
                else:
                    yield from _options(_INDEXES[name], given, found, place)
            elif name in {"-e", "--editable"}:
                given = value if equals else next(rest, "")
                if given and not given.startswith((".", "/", "$")):
                    yield f"-e {given}"
            continue
        if word.startswith((">", "<", "2>")) or word in {"}", "{", "then", "fi"}:
            continue
        if "$" in word.partition("==")[0].partition("[")[0]:
            found.incomplete.append(f"{place}: {word[:80]} is the value of a variable")
        elif "$" in word:
            yield word.partition("$")[0].rstrip("=<>~! ")
        elif not word.startswith((".", "/", "~")) and not _is_pattern(word):
            yield word


def _is_pattern(word: str) -> bool:
    """Return whether the shell expands a word to files of this machine, as `dist/*.whl`."""
    path = word.partition("[")[0]
    return bool({"*", "?"} & set(path)) and path.endswith(ARCHIVES) and ":" not in path


def dockerfile_instructions(text: str) -> Iterator[tuple[str, Command]]:
    """Yield the instructions of a Dockerfile: the name in capitals, and what follows it."""
    pending: list[str] = []
    start = 1
    end: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if end is not None:
            pending.append(line)
            if line.strip() == end:
                end = None
        else:
            if not pending:
                start = number
            if line.lstrip().startswith("#"):
                continue
            stripped = line.rstrip()
            if stripped.endswith(("\\", "`")):
                pending.append(stripped[:-1])
                continue
            pending.append(stripped)
            if heredoc := _HEREDOC.search(line):
                end = heredoc[1]
                continue
        if end is None and pending:
            match = _INSTRUCTION.match(
                "\n".join(pending) if "<<" in pending[0] else " ".join(pending)
            )
            if match:
                yield match[1].upper(), Command(match[2].strip(), start)
            pending = []
    if pending and (match := _INSTRUCTION.match(" ".join(pending))):
        yield match[1].upper(), Command(match[2].strip(), start)


def script_commands(text: str) -> Iterator[Command]:
    """Yield the command lines of a shell script, continuations joined, without comments."""
    pending: list[str] = []
    start = 1
    for number, line in enumerate(text.splitlines(), 1):
        if not pending:
            start = number
            if line.lstrip().startswith("#"):
                continue
        if line.rstrip().endswith("\\"):
            pending.append(line.rstrip()[:-1])
            continue
        whole = " ".join([*pending, line]).strip()
        pending = []
        if whole:
            yield Command(whole, start)
    if pending:
        yield Command(" ".join(pending), start)


def read_dockerfile(raw: bytes, options: InstallOptions) -> Found:
    """Return the packages that a Dockerfile's RUN installs, with the indexes of ENV and ARG."""
    commands = [
        Command(
            f"{name} {command.text}" if name in {"ENV", "ARG"} else _shell_form(command.text),
            command.line,
        )
        for name, command in dockerfile_instructions(raw.decode("utf-8-sig", "replace"))
        if name in {"RUN", "ENV", "ARG"}
    ]
    return installs_of(commands, options, options.path or "Dockerfile")


def _shell_form(text: str) -> str:
    """Return the command line of an instruction, which may list the words of its command."""
    words = _EXEC_FORM.fullmatch(text)
    if words is None:
        return text
    try:
        return shlex.join(_WORD_LIST.decode(words[1]))
    except msgspec.DecodeError:  # a command of the shell that begins with a bracket
        return text

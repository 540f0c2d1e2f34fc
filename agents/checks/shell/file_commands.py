"""Judges programs that read, decode, copy and destroy files."""

from __future__ import annotations

import re
from typing import Final

from agents.checks.shell import programs
from agents.checks.shell.command_risk import CommandRisk
from agents.checks.shell.data import NOTHING, Data, decoded, edited, is_of_note, joined
from agents.checks.shell.host import DISK, MAX_FILES, MAX_SHOWN, ShellHost
from agents.checks.shell.words import file_name, has, operands_of, program_name
from agents.domain.late_pattern import late_pattern

_HOMES: Final = frozenset(
    (
        "/",
        "~",
        "~/",
        "$HOME",
        "${HOME}",
        "$HOME/",
        "/home",
        "/home/",
        "/root",
        "/Users",
        "/*",
        "~/*",
    )
)
_ENCRYPTS: Final = late_pattern(
    r"\bopenssl\s+(?:enc|aes)|\bgpg\b.{0,80}?(?:\s-c\b|--symmetric)|\b7z\s+a\b.{0,80}?\s-p"
)
_ODD_PLACES: Final = ("/tmp/.", "/dev/shm/", "/var/tmp/")  # noqa: S108 -- where others put programs
_SETUID: Final = late_pattern(r"[ugoa]*\+\w*s\w*|0?[4-7][0-7]{3}")


def copy(host: ShellHost, arguments: list[Data]) -> Data:
    """Note what is copied where, and shells that are."""
    operands = [*operands_of(arguments, {"-m", "-o", "-g", "-t"})]
    if len(operands) > 1:
        data = host.contents(operands[:-1])
        shell = any(program_name(word.text) in programs.SHELLS for word in operands[:-1])
        if is_of_note(data):
            host.write(operands[-1], data)
        if shell and len(host.shells) < MAX_FILES:
            host.shells.add(file_name(operands[-1].text))
    return NOTHING


def change_mode(host: ShellHost, arguments: list[Data]) -> None:
    """Judge a mode by which whoever runs a shell becomes its owner."""
    operands = [word.text for word in arguments]
    if len(operands) < 2 or not _SETUID.fullmatch(operands[0]):  # noqa: PLR2004 -- a mode and a file
        return
    for path in operands[1:]:
        copied = file_name(path) in host.shells
        if copied or program_name(path) in programs.SHELLS or path.startswith(_ODD_PLACES):
            host.report(CommandRisk.HOSTILE)


def overwrite(host: ShellHost, name: str, arguments: list[Data]) -> None:
    """Judge a disk that is overwritten as a whole."""
    texts = [word.text for word in arguments]
    disk = any(DISK.match(text) for text in texts)
    if not disk:
        return
    if name == "shred" or (
        any(re.fullmatch(r"if=/dev/(?:zero|u?random)", text) for text in texts)
        and not any(text.startswith("count=") for text in texts)
    ):
        host.report(CommandRisk.HOSTILE)


def find(host: ShellHost, arguments: list[Data]) -> None:
    """Judge a search of all files that deletes or encrypts them."""
    texts = [word.text for word in arguments]
    if not any(text in _HOMES for text in texts[:3]):
        return
    shown = " ".join(texts)[:MAX_SHOWN]
    named = re.search(r"-i?(?:name|path|regex|user|mtime|newer|empty|size|perm)\b", shown)
    if (
        ("-delete" in texts or re.search(r"\b(?:shred|rm\s+-\w*f)", shown)) and not named
    ) or _ENCRYPTS.search(shown):
        host.report(CommandRisk.HOSTILE)


def print_files(host: ShellHost, name: str, arguments: list[Data], stdin: Data) -> Data:
    """Return what any other program prints."""
    if name in programs.DIGESTS:
        return Data()
    files = NOTHING
    if name in programs.READERS:
        files = host.contents(
            word for word in arguments if not word.text.startswith("-") or "=" in word.text
        )
    source = joined((stdin, files)) if is_of_note(files) else stdin
    if name == "cat" and source.literal:
        return source
    texts = " ".join(word.text for word in arguments)[:MAX_SHOWN]
    if _is_decoder(name, texts, source):
        return decoded(source, name, texts)
    if name == "sed":
        return edited(source, arguments)
    if name in programs.COMPRESSED and stdin.literal:
        return source._replace(text="", literal=False)
    output = source
    if name in {"tar", *programs.ARCHIVERS} and (target := _archive(name, arguments)):
        host.write(Data(target), output._replace(text="", literal=False))
        return NOTHING if target != "-" else output
    if name in programs.ENCODERS:
        target = next(
            (
                arguments[number + 1].text
                for number, word in enumerate(arguments[:-1])
                if word.text in {"-out", "-o", "--output"}
            ),
            "",
        )
        output = output._replace(
            text="",
            literal=False,
            encoded=bool(output.secrecy or output.personal or source is stdin),
        )
        if target:
            host.write(Data(target), output)
            return NOTHING
        return output
    return output._replace(text="", literal=False) if name != "cat" else output


def _archive(name: str, arguments: list[Data]) -> str:
    """Return the file that an archiver writes; empty if it prints, or reads one."""
    if name == "tar":
        for number, word in enumerate(arguments):
            if re.fullmatch(
                r"-?\w{0,6}c\w{0,6}f|-?\w{0,4}cf\w{0,4}", word.text
            ) and number + 1 < len(arguments):
                return arguments[number + 1].text
            if (
                re.fullmatch(r"-\w*f", word.text)
                and number + 1 < len(arguments)
                and has(arguments, "-c")
            ):
                return arguments[number + 1].text
        return ""
    operands = [
        word.text
        for word in arguments
        if not word.text.startswith("-") and word.text not in {"a", "x"}
    ]
    return operands[0] if len(operands) > 1 else ""


def _is_decoder(name: str, arguments: str, source: Data) -> bool:
    if not (source.literal or source.fetched):
        return False
    if name in {"base64", "base32"}:
        return re.search(r"(?:^|\s)-\w*[dD]\b|--decode", arguments) is not None
    if name == "xxd":
        return re.search(r"(?:^|\s)-\w*r", arguments) is not None
    if name == "openssl":
        return re.search(r"\s-d\b", arguments) is not None
    return name in programs.DECODERS and bool(source.text or source.fetched)

"""Declares the plain text of a repository: cards, vocabularies, attributes, templates."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import (
    Content,
    FileName,
    Format,
    Suffix,
    Trait,
    endings,
    later,
)
from agents.checks.artifacts.readers.window import controls
from agents.checks.artifacts.scanning import Source

_SURE: Final = Trait.TEXT | Trait.SURE_TEXT
_PASSIVE: Final = (
    ".rst", ".gitattributes", ".gitignore", ".license", ".toml", ".cff", ".css", ".svg",
)  # fmt: skip
_OTHERS: Final = (
    ".cfg", ".ini", ".bib", ".dockerignore", ".editorconfig", ".gitmodules", ".pth.txt", ".log",
    ".html", ".lock", ".modelfile", ".env", ".j2", ".jinja2", ".tmpl", ".properties", ".conf",
    ".tokens", ".srt", ".template", ".htm", ".gin", ".gitconfig", ".service",
    ".jsonnet", ".libsonnet", ".dockerfile", ".containerfile",
)  # fmt: skip
SUFFIXES: Final = (
    Suffix(".txt", _SURE, Content.DESCRIPTION, promises=()),
    Suffix(".md", _SURE, Content.DESCRIPTION, promises=()),
    Suffix(".csv", _SURE, Content.DESCRIPTION, promises=()),
    Suffix(".tsv", _SURE, Content.DESCRIPTION),
    Suffix(".vocab", _SURE, Content.DESCRIPTION),
    Suffix(".merges", _SURE, Content.DESCRIPTION),
    Suffix(".bpe", _SURE),
    Suffix(".jinja", _SURE),
    *(Suffix(ending, Trait.TEXT, Content.DESCRIPTION) for ending in _PASSIVE),
    *(Suffix(ending, Trait.TEXT) for ending in _OTHERS),
    Suffix(
        content=Content.DESCRIPTION,
        pattern=r"license|licence|notice|readme|copying|authors|changelog|use_policy",
    ),
)
_ENDINGS: Final = endings(SUFFIXES)
_SURE_ENDINGS: Final = endings(SUFFIXES, Trait.SURE_TEXT)
_BASES: Final = frozenset((
    "license", "readme", "notice", "modelfile", "dockerfile", "makefile", "authors",
    "contributors", "copying", "version", "changelog", "codeowners", "manifest", "usage",
    "requirements",
))  # fmt: skip
_UNWRITTEN: Final = (b"\0" * 8, b"\xff" * 8)
"""Never in text: a page that was never written, or that was erased."""
_CONTROL_SHARE: Final = 0.02
_FOREIGN: Final = bytes(range(128, 256))
_FOREIGN_SHARE: Final = 0.5
"""Share of bytes beyond ASCII: more than any text in a single-byte encoding has."""


def matches(name: FileName, head: bytes, source: Source) -> bool:
    """Return whether a file is plain text of a repository, by its name and its bytes."""
    base = name.lower().rsplit("/", 1)[-1].rsplit("!", 1)[-1]
    named = base.endswith(_ENDINGS) or (
        base.split(".")[0] in _BASES and not name.has(Trait.WEIGHTS)
    )
    if named and source.size == 0:
        return True
    if named:
        utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
        damaged = base.endswith(_SURE_ENDINGS) and unwritten(head) is not None
        return utf16 or damaged or controls(head) <= len(head) * _CONTROL_SHARE
    return head.startswith(b"version https://git-lfs.github.com/spec/")


def unwritten(raw: bytes) -> int | None:
    """Return the position of bytes that no text has, or None."""
    return min((raw.index(run) for run in _UNWRITTEN if run in raw), default=None)


def is_text(head: bytes) -> bool:
    """Return whether a file is text, by its byte order mark or first bytes in UTF-8."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if controls(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 > 0  # a character that the end of the head cuts
    return True


def is_binary(head: bytes) -> bool:
    """Return whether a file named as text is not text in any encoding, by its first bytes."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    if controls(head) > len(head) * _CONTROL_SHARE:
        return True
    foreign = len(head) - len(head.translate(None, _FOREIGN))
    return foreign > len(head) * _FOREIGN_SHARE and not is_text(head)


FORMAT: Final = Format(
    name="text",
    suffixes=SUFFIXES,
    matches=matches,
    parse=later("agents.checks.artifacts.formats.text_reader"),
    rules=(
        "TW-MODEL-CARD-COMMAND",
        "TW-MODEL-GIT-FILTER",
        "TW-MODEL-LFS-POINTER",
        "TW-MODEL-MARKUP-SCRIPT",
        "TW-MODEL-PATH-ESCAPES",
        "TW-MODEL-SCRIPT-HOSTILE",
        "TW-MODEL-SCRIPT-RISKY",
        "TW-MODEL-YAML-TAG",
    ),
)

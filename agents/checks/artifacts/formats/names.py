"""Derives a file's properties from its name, by the declared formats."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import PurePosixPath
from typing import Final

from agents.checks.artifacts.formats.format import Content, FileName, Format, Suffix, Trait
from agents.checks.artifacts.formats.registry import ALL


def _suffixes() -> Iterable[Suffix]:
    return (suffix for known in ALL for suffix in known.suffixes)


def suffix_of(path: str) -> str:
    """Return a file name's last suffix in lower case; `.gitattributes` is its own suffix."""
    name = PurePosixPath(path.replace("\\", "/")).name.lower()
    suffix = PurePosixPath(name).suffix
    return suffix or (name if name.startswith(".") else "")


def file_name(name: str) -> FileName:
    """Return a file's name as readers are given it."""
    return FileName(name, has_trait)


def has_trait(name: str, trait: Trait) -> bool:
    """Return whether a file name has a trait: by its ending, or by a pattern of its format."""
    return bool(_pattern(trait).search(name))


@cache
def _pattern(trait: Trait, behind: str = "") -> re.Pattern[str]:
    """Return the pattern of the names that have a trait.

    Args:
        trait: The trait.
        behind: A pattern of what may follow the ending.
    """
    named = [suffix for suffix in _suffixes() if trait in suffix.traits]
    ends = sorted({re.escape(suffix.ending) for suffix in named if suffix.ending})
    patterns = [suffix.pattern for suffix in named if suffix.pattern]
    return re.compile("|".join([f"(?:{'|'.join(ends)}){behind}$", *patterns]), re.IGNORECASE)


def is_pickle_name(name: str) -> bool:
    """Return whether a loader unpickles a file of this name; a suffix of compression may follow."""
    return bool(_pattern(Trait.PICKLED, r"(?:\.\w{1,3})?").search(name))


def is_file_name(name: str) -> bool:
    """Return whether a name ends like a model's file, and so names a file, not a model."""
    return any(
        has_trait(name, trait)
        for trait in (Trait.TEXT, Trait.WEIGHTS, Trait.NONEMPTY, Trait.BINARY, Trait.USUAL)
    )


def promised_formats(suffix: str) -> frozenset[str] | None:
    """Return the formats that a suffix promises: empty for any text, None for anything."""
    return _promises().get(suffix)


def promises_magic(name: str) -> bool:
    """Return whether every format that a name implies begins with a magic."""
    declared = _declared().get(suffix_of(name), ())
    return bool(declared) and all(known.magic is not None for known in declared)


def is_declared(name: str) -> bool:
    """Return whether a name implies a format that is not text."""
    return suffix_of(name) in _declared() and not has_trait(name, Trait.TEXT)


@cache
def _declared() -> dict[str, tuple[Format, ...]]:
    result: dict[str, tuple[Format, ...]] = {}
    for known in ALL:
        for suffix in known.suffixes:
            if suffix.ending:
                result[suffix.ending] = (*result.get(suffix.ending, ()), known)
    return result


@cache
def _promises() -> dict[str, frozenset[str]]:
    return {
        suffix.ending: frozenset(suffix.promises)
        for suffix in _suffixes()
        if suffix.promises is not None
    }


@cache
def endings_of(content: Content) -> frozenset[str]:
    """Return the suffixes of files that hold a kind of content."""
    return frozenset(suffix.ending for suffix in _suffixes() if suffix.content is content)


def is_safe(path: str) -> bool:
    """Return whether a file name is of a format that holds tensors only."""
    return suffix_of(path) in endings_of(Content.TENSORS)


def is_passive(path: str) -> bool:
    """Return whether a file name only describes the model."""
    suffix = suffix_of(path)
    if suffix:
        return suffix in endings_of(Content.DESCRIPTION)
    return bool(_undotted().fullmatch(PurePosixPath(path).name.lower()))


@cache
def _undotted() -> re.Pattern[str]:
    """Return the pattern of the names without a suffix that only describe a model."""
    return re.compile(
        "|".join(
            suffix.pattern
            for suffix in _suffixes()
            if suffix.pattern and suffix.content is Content.DESCRIPTION
        )
    )


def may_execute(path: str) -> bool:
    """Return whether a file name is of a format that can hold code; unknown formats can."""
    return not is_safe(path) and not is_passive(path)


def is_sized(path: str) -> bool:
    """Return whether a file's size shows the number of parameters of its model."""
    return suffix_of(path) in _sized()


@cache
def _sized() -> frozenset[str]:
    return frozenset(suffix.ending for suffix in _suffixes() if Trait.SIZED in suffix.traits)


def claimed_suffixes(claim: str) -> frozenset[str] | None:
    """Return the suffixes that prove a format that a model card claims, None for no known one."""
    return _claims().get(claim)


@cache
def _claims() -> dict[str, frozenset[str]]:
    claims: dict[str, frozenset[str]] = {}
    for suffix in _suffixes():
        if suffix.claim:
            claims[suffix.claim] = claims.get(suffix.claim, frozenset()) | {suffix.ending}
    return claims


HEAD_BYTES: Final = 16
"""Bytes that are enough to check a file's content."""


def is_content_of(path: str, head: bytes) -> bool:
    """Return whether a file begins as its safe format requires; True for any other format.

    Args:
        path: The file's name.
        head: Its first `HEAD_BYTES`, fewer of a shorter file.
    """
    begins = _beginnings().get(suffix_of(path))
    return begins is None or begins(head)


@cache
def _beginnings() -> dict[str, Callable[[bytes], bool]]:
    return {
        suffix.ending: known.begins
        for known in ALL
        if known.begins is not None
        for suffix in known.suffixes
        if suffix.content is Content.TENSORS
    }

"""Defines the record that declares a file format: its names, its magic, its reader, its rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Flag, StrEnum, auto
from importlib import import_module
from typing import Final, Self

import msgspec

from agents.checks.artifacts.scanning import Scan, Source


class Content(StrEnum):
    """The content that a file with a suffix can have, by the response procedure."""

    TENSORS = "tensors"
    """Only tensors."""
    DESCRIPTION = "description"
    """A description of the model; loading it alone runs no code."""
    CODE = "code"
    """Code, or objects that a loader deserialises. An unknown suffix counts as this."""


class Trait(Flag):
    """Further properties of the files with a suffix."""

    NAMED = auto()
    """The suffix is enough to recognise the format."""
    WEIGHTS = auto()
    """Weights: never a program."""
    SIZED = auto()
    """The file's size shows the number of parameters."""
    NONEMPTY = auto()
    """A complete file is never empty."""
    MAGIC = auto()
    """Every complete file begins with its format's magic."""
    BINARY = auto()
    """Never text."""
    PICKLED = auto()
    """A loader unpickles the file."""
    PICKLE_TEXT = auto()
    """May be a pickle of protocol 0, which is text, but not markup or JSON."""
    MIXED = auto()
    """Weights of several formats, some of them text."""
    TEXT = auto()
    """Text."""
    SURE_TEXT = auto()
    """Text; anything else is damage."""
    VARIANTS = auto()
    """Files of this suffix beside one another hold the same model, quantised in several ways."""
    USUAL = auto()
    """Common among a model's files, although it is executable."""


NONE = Trait(0)
SPACES: Final = b" \t\n\r\v\f"
"""The bytes that `bytes.lstrip` removes."""


class FileName(str):
    """A file's name, with the properties that the declared formats give it.

    Readers use the name that they are given, not the registry, which imports them.
    """

    __slots__ = ("_has_trait",)
    _has_trait: Callable[[str, Trait], bool]

    def __new__(cls, name: str, has_trait: Callable[[str, Trait], bool]) -> Self:
        """Return the name.

        Args:
            name: The name of a file; a member's follows its archive's name and `!`.
            has_trait: Returns whether a file name has a trait, by all declared formats.
        """
        self = super().__new__(cls, name)
        self._has_trait = has_trait
        return self

    def has(self, trait: Trait) -> bool:
        """Return whether the name has a trait."""
        return self._has_trait(self.rpartition("!")[2], trait)

    def others(self) -> Callable[[str, Trait], bool]:
        """Return the function that tells whether another file's name has a trait."""
        return self._has_trait


Matches = Callable[[FileName, bytes, Source], bool]
"""Takes a name, first bytes and the file; returns whether the file is in the format."""
Parse = Callable[[Scan, FileName, Source], None]


class Suffix(msgspec.Struct, frozen=True):
    """One way in which the files of a format are named."""

    ending: str = ""
    """The end of the name in lower case, with its dot."""
    traits: Trait = NONE
    content: Content = Content.CODE
    promises: tuple[str, ...] | None = None
    """The formats that a file of this name may be recognised as; None: any format; empty: any
    text."""
    claim: str = ""
    """The format that a model card claims when such a file proves it."""
    pattern: str = ""
    """A regular expression over the whole name, in place of `ending`."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One file format. Only the module that recognises it declares it."""

    name: str
    suffixes: tuple[Suffix, ...] = ()
    firsts: bytes | None = None
    """The possible first bytes of a file that is recognised by its content; a file with an ending
    of `suffixes` may start differently. None: any."""
    magic: re.Pattern[bytes] | None = None
    """The first bytes of every file; None for a format that has no magic."""
    matches: Matches | None = None
    """None for a container or a pickle, which dispatch recognises itself."""
    parse: Parse | None = None
    """None for a format that is only recognised."""
    begins: Callable[[bytes], bool] | None = None
    """Whether a few first bytes can be of the format: a check that needs no scan."""
    numeric: bool = False
    """Mostly numbers, which no reader interprets: they are searched for hidden files."""
    programless: bool = False
    """Its numbers are never a program, unlike the compiled kernels of a graph."""
    rules: tuple[str, ...] = ()
    """The ids of the rules that its reader reports."""


def endings(suffixes: Iterable[Suffix], trait: Trait = NONE) -> tuple[str, ...]:
    """Return the endings that have all given traits, in the form that `str.endswith` takes."""
    return tuple(suffix.ending for suffix in suffixes if suffix.ending and trait in suffix.traits)


def parse_numbers(scan: Scan, name: FileName, source: Source) -> None:
    """Read nothing: the search for hidden files covers a file that holds only numbers."""
    del scan, name, source


def later(module: str) -> Parse:
    """Return the `parse` of a module that is imported for the first file of its format.

    Args:
        module: Its full name.
    """
    reader: Parse | None = None

    def parse(scan: Scan, name: FileName, source: Source) -> None:
        nonlocal reader
        if reader is None:
            reader = import_module(module).parse
        reader(scan, name, source)

    return parse

"""Writes the page of ways in which model files hide: python -m tests.corpus.evasions PAGE."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path

import msgspec

from tests.corpus import samples

DATA = Path(__file__).parents[1] / "data" / "evasions.toml"
HEAD = """# How model files hide from scanners

Known ways in which hostile model files evade scanners, with the advisories and issues that describe
them. The tests have samples of each way, written for them; a test checks that `tidewatch scan`
calls every sample malicious.
"""


class Evasion(msgspec.Struct, frozen=True, kw_only=True):
    """One way."""

    title: str
    group: str
    hides: str
    samples: tuple[str, ...]
    """Patterns of names of hostile samples."""
    references: tuple[str, ...] = ()

    def among(self, names: Iterable[str]) -> list[str]:
        """Return the names of the samples that hide so."""
        return [name for name in names if any(fnmatchcase(name, sample) for sample in self.samples)]


def evasions() -> list[Evasion]:
    """Return all ways."""
    return msgspec.convert(tomllib.loads(DATA.read_text("utf-8"))["evasion"], list[Evasion])


def page(names: Iterable[str]) -> str:
    """Return the page.

    Args:
        names: Of all hostile samples.
    """
    known = list(names)
    parts = [HEAD]
    for group, ways in groupby(evasions(), key=lambda way: way.group):
        parts.append(f"\n## {group}\n\n")
        parts.append("| way | how it hides | known from | samples |\n|---|---|---|--:|\n")
        for way in ways:
            known_from = ", ".join(way.references)
            count = len(way.among(known))
            parts.append(f"| {way.title} | {way.hides} | {known_from} | {count} |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(name for name, _ in samples("hostile")), "utf-8")

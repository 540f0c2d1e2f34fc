"""Finds requirements that a lock leaves unresolved until installation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from agents.checks.packages.requirements import Requirements
from agents.checks.packages.versions import canonical_name

_RESOLVED: Final = re.compile(
    r"([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?\s*(?:==|@)[^#]*(?:#\s*via (.*))?"
)
_MINE: Final = ("-r ", "-c ")


class Needed(msgspec.Struct, frozen=True):
    """A package of a resolved installation."""

    name: str
    extras: frozenset[str]
    askers: tuple[str, ...]
    """The packages that require it."""

    def __str__(self) -> str:
        """Return it as written in a requirement."""
        return f"{self.name}[{','.join(sorted(self.extras))}]" if self.extras else self.name


def read_resolution(text: str) -> Iterator[Needed]:
    """Yield what `uv pip compile --no-strip-extras --annotation-style line` wrote."""
    for line in text.splitlines():
        match = _RESOLVED.match(line)
        if match is not None:
            askers = [asker.strip() for asker in (match[3] or "").split(",")]
            yield Needed(
                canonical_name(match[1]),
                _canonical_extras((match[2] or "").split(",")),
                tuple(asker for asker in askers if asker and not f"{asker} ".startswith(_MINE)),
            )


def open_ends(lock: Requirements, resolution: str) -> list[str]:
    """Return the requirements of a lock's packages that the lock does not contain.

    pip resolves such a package at installation, to the latest release: a package that is missing,
    or that is locked without an extra that another requires.

    Args:
        lock: The lock.
        resolution: The resolution of the lock itself, as `read_resolution` reads it.

    Source: pip's hash-checking mode, which treats a requirement with an extra as a different one.
    """
    lines: dict[str, int] = {}
    extras: dict[str, frozenset[str]] = {}
    for line in lock.lines:
        if line.is_requirement and line.name is not None:
            name = canonical_name(line.name)
            lines.setdefault(name, line.line)
            extras[name] = extras.get(name, frozenset()) | _canonical_extras(line.extras)
    found = []
    for needed in read_resolution(resolution):
        asks = f"which {_one_of(needed.askers)} for"
        if needed.name not in lines:
            found.append(f"{needed} is not locked, {asks}")
        elif missing := sorted(needed.extras - extras[needed.name]):
            several = "extras" if len(missing) > 1 else "extra"
            found.append(
                f"line {lines[needed.name]}: {needed.name} is locked without its {several} "
                f"{', '.join(missing)}, {asks}"
            )
    return found


def _canonical_extras(extras: Iterator[str] | list[str] | tuple[str, ...]) -> frozenset[str]:
    return frozenset(canonical_name(extra.strip()) for extra in extras if extra.strip())


def _one_of(askers: tuple[str, ...]) -> str:
    if not askers:
        return "a package asks"
    if len(askers) == 1:
        return f"{askers[0]} asks"
    return f"one of {', '.join(askers[:5])} asks"

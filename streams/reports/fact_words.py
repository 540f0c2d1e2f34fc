"""Writes facts of intelligence as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from schemas.intel import IntelFact, VersionRange
from streams.cli.output import plain


def versions_of(fact: IntelFact) -> str:
    """Return the versions that a fact is about, by name and by range.

    Args:
        fact: The fact; without versions and ranges it is about all.
    """
    return ", ".join([*fact.versions, *map(_range, fact.ranges)]) or "all"


def fact_lines(fact: IntelFact) -> Iterator[str]:
    """Yield the content of a fact, a line for each of its parts.

    Args:
        fact: The fact; a part of it that is empty is left out.
    """
    parts = msgspec.to_builtins(fact) | {"versions": versions_of(fact), "ranges": ()}
    for name in fact.__struct_fields__:
        if text := _text(parts.get(name)):
            yield plain(f"{name}: {text}")


def _range(affected: VersionRange) -> str:
    start = f"from {affected.introduced}" if affected.introduced != "0" else ""
    if affected.fixed is not None:
        end = f"before {affected.fixed}"
    elif affected.last_affected is not None:
        end = f"up to {affected.last_affected}"
    else:
        end = "on" if start else "all"
    return f"{start} {end}".strip()


def _text(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_text(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)

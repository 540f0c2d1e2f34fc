"""Writes a number with its noun, in the singular where it is one."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number and its noun, as `1 file` and `1,184 files`.

    Args:
        number: How many.
        noun: The noun in the singular.
        plural: The noun in the plural, where that is not the singular with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"

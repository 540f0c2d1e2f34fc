"""Writes a number with its noun in the singular or plural."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number and its noun, as `1 file` and `1,184 files`.

    Args:
        number: How many.
        noun: The noun in the singular.
        plural: The noun in the plural, if irregular; `files` and `entries` are formed from `file`
            and `entry`.
    """
    return f"{number:,} {noun if number == 1 else plural or _plural(noun)}"


def _plural(noun: str) -> str:
    of_y = noun.endswith("y") and not noun.endswith(("ay", "ey", "oy", "uy"))
    return f"{noun[:-1]}ies" if of_y else f"{noun}s"

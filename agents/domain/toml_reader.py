"""Reads TOML that others wrote, in time in proportion to its length."""

from __future__ import annotations

import tomllib
from typing import Any, Final

from agents.domain.late_pattern import late_pattern

MAX_KEY_PARTS: Final = 100
"""Most parts of a dotted key: `tomllib` takes minutes for a key of 50,000."""
_PART: Final = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+')[ \t]*+"""
# It starts at the first part alone, and not in a text.
_LONG_KEY: Final = late_pattern(
    rf"(?<![A-Za-z0-9_.\\-]){_PART}(?:\.[ \t]*+{_PART}){{{MAX_KEY_PARTS}}}"
)


def read_toml(text: str) -> dict[str, Any]:
    """Return a TOML document.

    Raises:
        tomllib.TOMLDecodeError: it is no TOML, or one of its keys has too many parts.
        RecursionError: its values are nested too deeply.
    """
    if _LONG_KEY.search(text):
        raise tomllib.TOMLDecodeError(f"a key of more than {MAX_KEY_PARTS} parts")
    return tomllib.loads(text)

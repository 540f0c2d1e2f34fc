"""Judges file paths that a model names: whether they stay beside it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

from agents.domain.late_pattern import late_pattern

_SCHEME: Final = late_pattern(
    r"^[a-zA-Z][a-zA-Z0-9+.-]*://|^(file|data|jar|gopher):", re.IGNORECASE
)
_DRIVE: Final = late_pattern(r"^[a-zA-Z]:")


def escapes(path: str) -> bool:
    """Return whether a path leads out of its folder on any system: up, absolute, a drive, a URL.

    Source: CVE-2022-25882, CVE-2024-27318, CVE-2026-27489 (variants that a plain test misses).
    """
    plain = unicodedata.normalize("NFKC", path)
    for form in {path, plain, unquote(path), unquote(unquote(path))}:
        flat = form.replace("\\", "/").replace("\x00", "").strip()
        if flat.startswith(("/", "~", "$", "%")) or _SCHEME.search(flat) or _DRIVE.match(flat):
            return True
        if any(
            part.strip() == ".." or (part.strip(". ") == "" and part.count(".") > 1)
            for part in flat.split("/")
        ):
            return True
    return False


def is_remote(path: str) -> bool:
    """Return whether a path is a URL."""
    return bool(_SCHEME.search(path.strip()))

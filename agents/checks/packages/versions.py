"""Package names and versions in canonical form, in bounded caches."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from schemas.components import canonical_package

CACHE_SIZE: Final = 32_768
"""Entries per cache: some tens of megabytes at most."""
VERSION_LIMIT: Final = 256
"""Characters of a version that is still parsed; longer ones compare as text only."""
_YEARS: Final = range(1900, 2101)
_CROWDING_MAJOR: Final = 99
_DATE_DIGITS: Final = 6

canonical_name = lru_cache(CACHE_SIZE)(canonical_package)
"""PEP 503 normalisation, cached."""


@lru_cache(CACHE_SIZE)
def parse_version(text: str) -> Version | None:
    """Return a PEP 440 version, or None for other text."""
    if len(text) > VERSION_LIMIT:
        return None
    try:
        return Version(text)
    except (InvalidVersion, ValueError):
        return None


@lru_cache(CACHE_SIZE)
def canonical_version(text: str) -> str:
    """Return a text that is the same for versions equal under PEP 440."""
    parsed = parse_version(text)
    if parsed is None:
        return text.strip().lower()
    release = list(parsed.release)
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    public = parsed.public
    tail = public.partition("!")[2] or public
    suffix = tail[len(".".join(map(str, parsed.release))) :]
    local = f"+{parsed.local}" if parsed.local else ""
    return f"{parsed.epoch}!{'.'.join(map(str, release))}{suffix}{local}"


@lru_cache(CACHE_SIZE)
def release_of_file(filename: str) -> tuple[str, str] | None:
    """Return the canonical project and version in a distribution's file name; None without."""
    try:
        if filename.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(filename)
            return str(name), str(version)
        if filename.endswith((".tar.gz", ".zip")):
            sdist, release = parse_sdist_filename(filename)
            return str(sdist), str(release)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return None


@lru_cache(CACHE_SIZE)
def crowds_out(text: str) -> bool:
    """Return whether a version is inflated to exceed every other (99.0.1, 9999.9).

    Calendar versions (2026.11, 20261120) are ordinary.
    """
    parsed = parse_version(text)
    if parsed is None:
        return False
    major = parsed.release[0]
    if major < _CROWDING_MAJOR or major in _YEARS:
        return False
    digits = str(major)
    if len(digits) >= _DATE_DIGITS and set(digits) != {"9"}:
        return int(digits[:4]) not in _YEARS and int(digits[:2]) not in range(15, 60)
    return True


@lru_cache(CACHE_SIZE)
def is_nines(text: str) -> bool:
    """Return whether a version is written in nines (99.0.1, 9999.9, 9.9.9): above any other."""
    parsed = parse_version(text)
    if parsed is None:
        return False
    release = parsed.release
    if len(str(release[0])) > 1 and set(str(release[0])) == {"9"}:
        return True
    return len(release) > 2 and all(set(str(part)) == {"9"} for part in release)  # noqa: PLR2004 -- 9.9 is a version like others

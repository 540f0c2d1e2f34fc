"""Caches scan results by digest and scanner version between runs of the command line."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

import agents
import schemas
from agents.checks.artifacts.report import FileReport
from schemas.canonical import length_prefixed, stable_hash
from streams.private_files import private_folder

_REPORTS: Final = msgspec.json.Decoder(FileReport)

MAX_ENTRY: Final = 4 << 20
LIBRARIES: Final = (
    "fickling", "jinja2", "lz4", "msgspec", "numpy", "orjson", "py7zr", "pyyaml", "safetensors",
    "zstandard",
)  # fmt: skip
"""The distributions whose versions a verdict depends on: the scanner's parsers."""


def content_digest(folders: Iterable[Path]) -> str:
    """Return the SHA-256 of the names and contents of all files below folders.

    Args:
        folders: The folders; each file counts by its path relative to its folder.

    Raises:
        OSError: a file can't be read.
    """
    digest = hashlib.sha256()
    for folder in folders:
        paths = sorted(
            Path(parent, name)
            for parent, _, names in os.walk(folder)
            if not parent.endswith("__pycache__")
            for name in names
        )
        for path in paths:
            digest.update(length_prefixed(path.relative_to(folder).as_posix()))
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def scanner_version() -> str:
    """Return a version that changes with every rule, the scanner's code, and its libraries.

    It covers all of `agents` and `schemas`. A version number would have to be raised by hand with
    each change, and a forgotten one would return old verdicts.
    """
    folders = [Path(folder) for package in (agents, schemas) for folder in package.__path__]
    return stable_hash(
        content_digest(folders),
        platform.python_version(),
        *(f"{name}={metadata.version(name)}" for name in LIBRARIES),
    )


class ReportCache:
    """Reports in a folder; an entry that can't be read counts as missing."""

    def __init__(self, folder: Path, version: str | None = None) -> None:
        """Use a folder; it is created with the first report.

        Args:
            folder: The folder of the reports.
            version: The scanner version whose reports count; by default the current one.
        """
        self._folder = folder
        self._version = scanner_version() if version is None else version
        self._beside: tuple[frozenset[str], str] | None = None
        """The siblings that were asked for last, which a whole folder shares, and their hash."""

    def _place(self, sha256: str, path: str, siblings: frozenset[str]) -> Path:
        # Names and sibling files are inputs of the scanner.
        known = self._beside
        if known is None or known[0] is not siblings:
            known = self._beside = (siblings, stable_hash(*sorted(siblings)))
        key = stable_hash(self._version, sha256, path, known[1])
        return self._folder / key[:2] / f"{key}.json"

    def get(self, sha256: str, path: str, siblings: frozenset[str]) -> FileReport | None:
        """Return the report of these bytes under this name, or None."""
        try:
            raw = self._place(sha256, path, siblings).read_bytes()
            return _REPORTS.decode(raw)
        except (OSError, msgspec.DecodeError):
            return None

    def put(self, report: FileReport, siblings: frozenset[str]) -> None:
        """Store a report; a failed write only slows down the next run."""
        raw = msgspec.json.encode(report)
        if report.sha256 is None or len(raw) > MAX_ENTRY:
            return
        place = self._place(report.sha256, report.path, siblings)
        try:
            private_folder(place.parent)
            handle, name = tempfile.mkstemp(dir=place.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
            Path(name).replace(place)
        except OSError:
            return

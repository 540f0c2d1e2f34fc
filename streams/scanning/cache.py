"""Scan results by digest and rule version, kept between runs of the command line."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from agents.checks.artifacts.report import FileReport
from agents.domain.rules import all_rules
from schemas.canonical import stable_hash
from schemas.version import VERSION

MAX_ENTRY: Final = 4 << 20


@cache
def rules_version() -> str:
    """Return what changes whenever a rule, or Tidewatch itself, does."""
    rules = all_rules()
    return stable_hash(VERSION, *(f"{name}={rules[name].version}" for name in sorted(rules)))


class ReportCache:
    """Reports in a folder; an entry that can't be read is as good as none."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; it is made when the first report is kept."""
        self._folder = folder

    def _place(self, sha256: str, path: str, siblings: frozenset[str]) -> Path:
        # Names and neighbours are part of what the scanner judges.
        key = stable_hash(rules_version(), sha256, path, *sorted(siblings))
        return self._folder / key[:2] / f"{key}.json"

    def get(self, sha256: str, path: str, siblings: frozenset[str]) -> FileReport | None:
        """Return the report of these very bytes under this name, or None."""
        try:
            raw = self._place(sha256, path, siblings).read_bytes()
            return msgspec.json.decode(raw, type=FileReport)
        except (OSError, msgspec.DecodeError):
            return None

    def put(self, report: FileReport, siblings: frozenset[str]) -> None:
        """Keep a report; a disk that refuses only costs the next run its time."""
        raw = msgspec.json.encode(report)
        if report.sha256 is None or len(raw) > MAX_ENTRY:
            return
        place = self._place(report.sha256, report.path, siblings)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=place.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
            Path(name).replace(place)
        except OSError:
            return

"""Remembers reports by digest and version of the rules, within a limit."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import cache
from importlib import resources
from typing import Final, Protocol

import msgspec

from agents.checks.artifacts.report import FileReport
from schemas.severity import Verdict

MAX_ENTRIES: Final = 10_000
_DATA: Final = ("rules.toml", "formats/rules.toml", "allowed_globals.json", "stdlib_modules.txt")


class ScanCache(Protocol):
    """Where reports are kept. It belongs to one tenant, or to none."""

    def get(self, sha256: str, path: str) -> FileReport | None:
        """Return the report of these bytes under `path`, if it is known."""

    def put(self, report: FileReport) -> None:
        """Keep a report that has a digest."""


@cache
def rule_version() -> str:
    """Return a digest of the rules and lists that verdicts come from."""
    digest = hashlib.sha256()
    for name in _DATA:
        digest.update(resources.files("agents.checks.artifacts").joinpath(name).read_bytes())
    return digest.hexdigest()[:16]


class MemoryScanCache:
    """The reports used last, in memory.

    The file's name takes part in what is found, so it is part of the key. Incomplete reports are
    not kept: another try may say more.
    """

    def __init__(self, entries: int = MAX_ENTRIES) -> None:
        """Keep nothing yet.

        Args:
            entries: How many reports are kept.
        """
        self._entries = entries
        self._kept: OrderedDict[tuple[str, str, str], FileReport] = OrderedDict()

    def get(self, sha256: str, path: str) -> FileReport | None:
        """Return the report of these bytes under `path`, if it is known."""
        key = (sha256, rule_version(), path)
        report = self._kept.get(key)
        if report is not None:
            self._kept.move_to_end(key)
        return report

    def put(self, report: FileReport) -> None:
        """Keep a report that has a digest and is complete."""
        if report.sha256 is None or report.verdict is Verdict.INCOMPLETE:
            return
        self._kept[report.sha256, rule_version(), report.path] = msgspec.structs.replace(report)
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)

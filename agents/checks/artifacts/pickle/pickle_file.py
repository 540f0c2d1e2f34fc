"""Holds the state that the streams of one pickle share."""

from __future__ import annotations

from agents.checks.artifacts.scanning import Scan, Source


class PickleFile:
    """The shared state of the streams of one file."""

    def __init__(self, scan: Scan, source: Source, *, script: bool) -> None:
        """Begin with nothing reported.

        Args:
            scan: Where to report.
            source: The file.
            script: Whether it belongs to a TorchScript archive.
        """
        self.scan = scan
        self.source = source
        self.script = script
        self.seen: set[tuple[str, str, str]] = set()
        """Reported imports, by kind, module and name."""
        self.nested = 0

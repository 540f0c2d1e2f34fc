"""Scans an open file on disk, read by range."""

from __future__ import annotations

import os
from collections.abc import Callable

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.report import FileReport
from agents.checks.artifacts.scanning import Budget
from agents.domain.detection import Detection


class FileSource:
    """A file on disk by range."""

    def __init__(self, descriptor: int) -> None:
        """Read from an open descriptor, which the caller closes."""
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        if length <= 0 or offset >= self.size:
            return b""
        return os.pread(self._descriptor, min(length, self.size - offset), offset)


def scan_descriptor(
    descriptor: int,
    path: str,
    siblings: frozenset[str] = frozenset(),
    *,
    digest: bool = False,
    budget: Budget | None = None,
    sink: Callable[[Detection], None] | None = None,
    second_opinion: bool = True,
) -> FileReport:
    """Scan an open regular file in this process.

    Args:
        descriptor: Open for reading.
        path: Its name, as reported.
        siblings: Paths of the other files of the same folder.
        digest: Whether to compute its SHA-256 (one streaming pass).
        budget: The limits of its cost.
        sink: Called with each detection at once.
        second_opinion: Whether to ask fickling too.
    """
    sha256 = None
    if digest:
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            import hashlib  # noqa: PLC0415 -- brings OpenSSL

            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    source = FileSource(descriptor)
    return scan_source(
        path,
        source,
        siblings,
        budget=budget,
        sha256=sha256,
        sink=sink,
        second_opinion=second_opinion,
    )

"""Reads a sample with the format parsers alone: the first format that matches, members by it."""

from __future__ import annotations

import io
import zipfile

from agents.checks.artifacts.formats.names import file_name
from agents.checks.artifacts.formats.registry import FORMATS
from agents.checks.artifacts.scanning import (
    Budget,
    BudgetExceededError,
    BytesSource,
    CorruptFileError,
    Scan,
    Source,
)
from agents.domain.rules import rule_named
from schemas.severity import Severity

PICKLE_HEADS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"cos\n", b"cposix\n")


def descend(scan: Scan, name: str, source: Source) -> None:
    head = source.read(0, 4096)
    if head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(source.read(0, source.size))) as archive:
            for member in archive.namelist():
                scan.descend(member, BytesSource(archive.read(member)))
        return
    named = file_name(name)
    for known in FORMATS:
        if known.matches(named, head, source):
            scan.formats.append(known.name)
            try:
                known.parse(scan, named, source)
            except CorruptFileError as error:
                scan.mark_corrupt(str(error))
            except BudgetExceededError as error:
                scan.mark_incomplete(str(error))
            return
    scan.formats.append("pickle" if head.startswith(PICKLE_HEADS) else "unknown")


def read(
    name: str, raw: bytes, siblings: frozenset[str] = frozenset(), steps: int = 5_000_000
) -> Scan:
    scan = Scan(name, descend, Budget(1 << 26, steps), siblings=siblings)
    descend(scan, name, BytesSource(raw))
    return scan


def severity(scan: Scan) -> Severity:
    """Return the worst severity of what was found."""
    found = [
        detection.severity or rule_named(detection.rule_id).severity
        for detection in scan.detections
    ]
    return max(found, key=lambda one: one.rank, default=Severity.INFORMATIONAL)


def read_sample(name: str, raw: bytes | dict[str, bytes]) -> list[Scan]:
    """Read a file, or every file of a repository with the others as its siblings."""
    if isinstance(raw, bytes):
        return [read(name, raw)]
    return [read(path, content, frozenset(raw)) for path, content in raw.items()]

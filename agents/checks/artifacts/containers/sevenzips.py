"""Unpacks 7z archives in memory, within the scan's limits."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from agents.checks.artifacts.containers.inflation import report_bomb
from agents.checks.artifacts.containers.zips import is_escaping
from agents.checks.artifacts.scanning import BudgetExceededError, BytesSource, Scan, Source

if TYPE_CHECKING:
    from py7zr import SevenZipFile

MAX_PACKED: Final = 512 << 20
MAX_UNPACKED: Final = 256 << 20


def scan_7z(scan: Scan, source: Source) -> None:
    """Scan all members of a 7z archive; a member that can't be unpacked is incomplete."""
    import py7zr  # noqa: PLC0415 -- costs memory where it is not needed
    from py7zr.io import Py7zIO, WriterFactory  # noqa: PLC0415 -- the same

    scan.formats.append("7z")
    if source.size > MAX_PACKED:
        scan.mark_incomplete(f"a 7z archive of {source.size} bytes")
        return

    class Held(Py7zIO):
        """One member in memory."""

        def __init__(self) -> None:
            self.raw = bytearray()

        def write(self, s: bytes | bytearray) -> int:
            scan.budget.expand(len(s))
            if len(self.raw) + len(s) > MAX_UNPACKED:
                raise BudgetExceededError(f"a member of more than {MAX_UNPACKED} bytes")
            self.raw += s
            return len(s)

        def read(self, size: int | None = None) -> bytes:
            return bytes(self.raw[:size])

        def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002
            return 0

        def flush(self) -> None:
            """Nothing is buffered."""

        def size(self) -> int:
            return len(self.raw)

    class Holder(WriterFactory):
        """Holds members as they are unpacked."""

        def __init__(self) -> None:
            self.members: dict[str, Held] = {}

        def create(self, filename: str) -> Any:  # noqa: ANN401
            self.members[filename] = Held()
            return self.members[filename]

    holder = Holder()
    try:
        with py7zr.SevenZipFile(io.BytesIO(source.read(0, source.size))) as archive:
            if not _is_unpackable(scan, source, archive):
                return
            archive.extractall(factory=holder)
    except BudgetExceededError as error:
        scan.mark_incomplete(error.what)
    except Exception as error:  # noqa: BLE001 -- py7zr lets errors of any kind through on hostile input
        scan.mark_incomplete(f"the 7z archive can't be unpacked: {type(error).__name__}: {error}")
    for name, member in holder.members.items():
        scan.descend(name, BytesSource(bytes(member.raw)))


def _is_unpackable(scan: Scan, source: Source, archive: SevenZipFile) -> bool:
    """Report what the archive's list of members shows; return whether to unpack it."""
    if archive.needs_password():
        scan.mark_incomplete("the 7z archive is encrypted")
        return False
    expanded = sum(entry.uncompressed for entry in archive.list())
    if expanded > MAX_UNPACKED:
        scan.mark_incomplete(f"the 7z archive expands to {expanded} bytes")
        report_bomb(scan, source.size, expanded)
        return False
    for entry in archive.list():
        if is_escaping(entry.filename):
            scan.report(
                "TW-ARCHIVE-TRAVERSAL",
                f"unpacking {entry.filename[:200]!r} writes outside the folder",
                name=entry.filename[:200],
            )
    return True

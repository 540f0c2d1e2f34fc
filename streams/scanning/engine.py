"""Scans many targets at once; one that can't be read or scanned never stops the others."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from agents.checks.artifacts.report import FileReport, failed, reasons_beyond
from agents.checks.artifacts.sandbox.pool import SandboxPool
from agents.checks.artifacts.scanning import severity_of
from agents.fetching.errors import FetchError
from agents.fetching.sources import DescriptorSource, OpenSource, sha256_stream
from schemas.severity import Severity
from streams.reports.entries import FileEntry, finding_entry
from streams.scanning.targets import Target

if TYPE_CHECKING:
    from streams.scanning.cache import ReportCache

ALWAYS_DIGEST: Final = Severity.HIGH
"""Least severity of a finding that names the digest of its file."""
SMALL: Final = 64 << 10
"""Bytes of a file that is read here and scanned together with others."""
TOGETHER: Final = 64
"""Files that are scanned together, at most."""
TOGETHER_BYTES: Final = 1 << 20


class _Read(msgspec.Struct, frozen=True):
    """A small file, read."""

    target: Target
    content: bytes
    sha256: str | None
    """None unless asked for."""


class _Scanner(msgspec.Struct, frozen=True):
    """The shared state of the scans of all targets."""

    pool: SandboxPool
    digest: bool
    cache: ReportCache | None
    done: Callable[[], None]
    wanted: Callable[[Target, bytes | None], bool]

    def entries(self, targets: Sequence[Target]) -> list[FileEntry]:
        """Return the entries of a few targets that are wanted, in their order."""
        made: dict[int, FileEntry] = {}
        small: dict[int, _Read] = {}
        size = 0
        for at, target in enumerate(targets):
            taken = self._take(target)
            if not isinstance(taken, _Read):
                if taken is not None:
                    made[at] = taken
                self.done()
                continue
            if size + len(taken.content) > TOGETHER_BYTES:
                self._finish(small, made)
                size = 0
            small[at] = taken
            size += len(taken.content)
        self._finish(small, made)
        return [made[at] for at in sorted(made)]

    def _take(self, target: Target) -> FileEntry | _Read | None:
        """Return a small file that is to be scanned, else its entry; None if it is not wanted."""
        asked = False
        try:
            source = target.open()
            try:
                content = _small(source)
                asked = True
                if not self.wanted(target, content):
                    return None
                sha256 = None
                if self.digest or self.cache is not None:
                    sha256 = (
                        sha256_stream(source)
                        if content is None
                        else hashlib.sha256(content).hexdigest()
                    )
                known = self._known(target, sha256)
                if known is not None:
                    return _entry(target, known)
                if content is not None:
                    return _Read(target, content, sha256)
                return self._concluded(
                    target, self._scan(target, source), sha256, lambda: sha256_stream(source)
                )
            finally:
                source.close()
        except FetchError as error:
            if not asked and not self.wanted(target, None):
                return None
            return _entry(target, failed(target.path, 0, error.explain()))
        except Exception as error:  # noqa: BLE001 -- one file never stops the others, nor reads as clean
            return _broken(target, error)

    def _known(self, target: Target, sha256: str | None) -> FileReport | None:
        if self.cache is None or sha256 is None:
            return None
        return self.cache.get(sha256, target.name, target.siblings)

    def _scan(self, target: Target, source: OpenSource) -> FileReport:
        if isinstance(source, DescriptorSource):
            return self.pool.scan_descriptor(target.name, source.descriptor, target.siblings)
        return self.pool.scan_source(target.name, source, target.siblings)

    def _finish(self, small: dict[int, _Read], made: dict[int, FileEntry]) -> None:
        """Scan small files together, and add their entries to those that are made."""
        while small:
            siblings = next(iter(small.values())).target.siblings
            alike = [at for at, read in small.items() if read.target.siblings is siblings]
            taken = [(at, small.pop(at)) for at in alike]
            try:
                reports = self.pool.scan_small(
                    [(read.target.name, read.content) for _, read in taken], siblings
                )
            except Exception as error:  # noqa: BLE001 -- the same
                made.update((at, _broken(read.target, error)) for at, read in taken)
            else:
                for (at, read), report in zip(taken, reports, strict=True):
                    made[at] = self._made(read, report)
            for _ in taken:
                self.done()

    def _made(self, read: _Read, report: FileReport) -> FileEntry:
        try:
            return self._concluded(
                read.target,
                report,
                read.sha256,
                lambda: hashlib.sha256(read.content).hexdigest(),
            )
        except Exception as error:  # noqa: BLE001 -- the same
            return _broken(read.target, error)

    def _concluded(
        self,
        target: Target,
        report: FileReport,
        sha256: str | None,
        compute: Callable[[], str],
    ) -> FileEntry:
        """Return the entry of a scan, with its file's digest if that matters, and cache the report.

        Args:
            target: The scanned target.
            report: Its report.
            sha256: The file's digest, if it was computed before.
            compute: Computes it.
        """
        if sha256 is None and any(
            severity_of(found).rank >= ALWAYS_DIGEST.rank for found in report.detections
        ):
            sha256 = compute()
        if sha256 is not None:
            report = msgspec.structs.replace(report, sha256=sha256)
        if self.cache is not None and not reasons_beyond(report.reasons, report.detections):
            # An unfinished scan may finish next time; only complete results are cached.
            self.cache.put(report, target.siblings)
        return _entry(target, report)


def _small(source: OpenSource) -> bytes | None:
    """Return the content of a small file of this machine; None for all others."""
    if not isinstance(source, DescriptorSource) or not 0 < source.size <= SMALL:
        return None
    with contextlib.suppress(OSError):  # a scan of this file alone reports it
        content = source.read(0, SMALL + 1)
        return content if len(content) == source.size else None
    return None


def _entry(target: Target, report: FileReport) -> FileEntry:
    return FileEntry(
        path=target.path,
        format=report.format,
        size=report.size,
        sha256=report.sha256,
        verdict=report.verdict,
        findings=tuple(finding_entry(found) for found in report.detections),
        reasons=report.reasons,
    )


def _broken(target: Target, error: Exception) -> FileEntry:
    reason = f"the scan failed: {type(error).__name__}: {error}"
    return _entry(target, failed(target.path, 0, reason[:300]))


def scan_targets(
    targets: Sequence[Target],
    pool: SandboxPool,
    *,
    digest: bool = False,
    cache: ReportCache | None = None,
    done: Callable[[], None] = lambda: None,
    wanted: Callable[[Target, bytes | None], bool] = lambda *_: True,
) -> list[FileEntry]:
    """Scan targets and return the entries of those that are wanted, in the same order.

    Args:
        targets: The targets.
        pool: The scanner processes, each of which scans one target at a time.
        digest: Compute the SHA-256 of every file.
        cache: Results of earlier runs; needs digests.
        done: Called after each file.
        wanted: Returns whether a target is scanned, by its content too where it is small; called
            from several threads.
    """
    scanner = _Scanner(pool, digest, cache, done, wanted)
    groups = list(_groups(targets, pool.processes))
    return [entry for group in pool.gather(scanner.entries, groups) for entry in group]


def _groups(targets: Sequence[Target], processes: int) -> Iterable[Sequence[Target]]:
    """Return targets in groups, so small that each process gets some of them."""
    size = max(min(TOGETHER, len(targets) // (4 * processes)), 1)
    return (targets[at : at + size] for at in range(0, len(targets), size))

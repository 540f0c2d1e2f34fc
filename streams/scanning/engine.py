"""Scans many targets at once; one that can't be read or scanned never stops the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from agents.checks.artifacts.report import FileReport, failed, severity_of
from agents.checks.artifacts.sandbox.pool import SandboxPool
from agents.fetching.errors import FetchError
from agents.fetching.sources import DescriptorSource, sha256_stream
from schemas.severity import Severity
from streams.reports.entries import FileEntry, finding_entry
from streams.scanning.cache import ReportCache
from streams.scanning.targets import Target

ALWAYS_DIGEST: Final = Severity.HIGH
"""Least severity of a finding that names the digest of its file."""


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


def scan_targets(
    targets: Sequence[Target],
    pool: SandboxPool,
    *,
    digest: bool = False,
    cache: ReportCache | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[FileEntry]:
    """Scan targets and return their entries in the same order.

    Args:
        targets: What to scan.
        pool: The scanner processes, each of which scans one target at a time.
        digest: Compute the SHA-256 of every file.
        cache: Results of earlier runs; needs digests.
        done: Called after each file.
    """

    def one(target: Target) -> FileEntry:
        try:
            return _entry(target, _scan(target, pool, digest=digest, cache=cache))
        except FetchError as error:
            return _entry(target, failed(target.path, 0, error.explain()))
        except Exception as error:  # noqa: BLE001 -- one file never stops the others, nor reads as clean
            reason = f"the scan failed: {type(error).__name__}: {error}"
            return _entry(target, failed(target.path, 0, reason[:300]))
        finally:
            done()

    return pool.gather(one, targets)


def _scan(
    target: Target, pool: SandboxPool, *, digest: bool, cache: ReportCache | None
) -> FileReport:
    source = target.open()
    try:
        sha256 = sha256_stream(source) if digest or cache else None
        if cache is not None and sha256 is not None:
            known = cache.get(sha256, target.name, target.siblings)
            if known is not None:
                return known
        if isinstance(source, DescriptorSource):
            report = pool.scan_descriptor(target.name, source.descriptor, target.siblings)
        else:
            report = pool.scan_source(target.name, source, target.siblings)
        serious = any(severity_of(found).rank >= ALWAYS_DIGEST.rank for found in report.detections)
        if sha256 is None and serious:
            sha256 = sha256_stream(source)
        report = msgspec.structs.replace(report, sha256=sha256)
        if cache is not None and not report.reasons:
            # An unfinished scan may finish next time; only complete results are cached.
            cache.put(report, target.siblings)
        return report
    finally:
        source.close()

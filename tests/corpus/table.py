"""Scans the corpus and prints the table: python -m tests.corpus.table [-v]."""

from __future__ import annotations

import sys
import time
from collections import Counter

from agents.checks.artifacts.dispatch import scan_source
from agents.checks.artifacts.report import FileReport
from agents.checks.artifacts.scanning import BytesSource
from schemas.severity import Verdict
from tests.corpus import KINDS, samples

ORDER = (
    Verdict.MALICIOUS,
    Verdict.INCOMPLETE,
    Verdict.CORRUPT,
    Verdict.SUSPICIOUS,
    Verdict.UNSUPPORTED,
    Verdict.CLEAN,
)


def verdict(name: str, content: bytes | dict[str, bytes]) -> tuple[Verdict, list[FileReport]]:
    """Return the worst verdict over a sample's files, and their reports."""
    if isinstance(content, bytes):
        # The area is no folder of the sample.
        content = {name.split("/", 1)[1]: content}
    siblings = frozenset(content)
    reports = [
        scan_source(path, BytesSource(raw), siblings, second_opinion=True)
        for path, raw in content.items()
    ]
    return worst_of(reports), reports


def worst_of(reports: list[FileReport]) -> Verdict:
    """Return the worst verdict of a sample's files."""
    return min((report.verdict for report in reports), key=ORDER.index)


def main() -> None:
    """Print one line per kind, and with -v each sample that is not as it should be."""
    for kind in KINDS:
        counts: Counter[str] = Counter()
        started = time.perf_counter()
        for name, content in samples(kind):
            found, reports = verdict(name, content)
            counts[str(found)] += 1
            wanted = {
                "hostile": found is Verdict.MALICIOUS,
                "suspicious": found is Verdict.SUSPICIOUS,
                "harmless": found is Verdict.CLEAN,
                "damaged": found is not Verdict.CLEAN,
            }
            if "-v" in sys.argv and not wanted[kind]:
                for report in reports:
                    rules = sorted({detection.rule_id for detection in report.detections})
                    print("  ", kind, name, report.path, report.verdict, rules, report.reasons[:2])
        seconds = time.perf_counter() - started
        print(f"{kind:9} {sum(counts.values()):4} files in {seconds:5.1f} s: {dict(counts)}")


if __name__ == "__main__":
    main()

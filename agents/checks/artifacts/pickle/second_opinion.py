"""Runs fickling's analyses on a pickle, and reports where they disagree.

Source: fickling 0.1.12. Only the analyses that judge imports and calls are used: the others
consider every framework's imports unsafe. `is_likely_safe`, `load` and `scan_zip_archive` are never
called: they read the first stream only, or load.
"""

from __future__ import annotations

import contextlib
import io
import pickletools
import re
from typing import Final

from agents.checks.artifacts.pickle.globals import Level, judge, own_modules
from agents.checks.artifacts.pickle.heads import IMPORTS, starts_like_pickle
from agents.checks.artifacts.scanning import Scan, Source, severity_of
from schemas.severity import Severity

MAX_OPCODES: Final = 50_000
MAX_STREAMS: Final = 100
"""Each takes fickling a millisecond or more, even if it is short."""
MAX_BYTES: Final = 8 << 20
TRUSTED_ANALYSES: Final = frozenset(
    ("UnsafeImports", "UnsafeImportsML", "OvertlyBadEval", "ScannerDeactivation")
)

_IMPORTING: Final = frozenset(("GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"))
_IMPORT: Final = re.compile(r"from ([\w.]+) import ([\w.]+)")


def ask_fickling(scan: Scan, source: Source) -> None:
    """Run fickling on a file that is itself a pickle, if nothing critical was found.

    Args:
        scan: The file's scan; where it disagrees is reported there.
        source: The file's bytes.
    """
    if any(severity_of(detection) is Severity.CRITICAL for detection in scan.detections):
        return
    if source.size > MAX_BYTES or not starts_like_pickle(source.read(0, 4096)):
        return
    raw = source.read(0, source.size)
    if _is_accounted_for(scan, raw) or not _is_worth_asking(raw):
        return
    reported: set[str] = set()
    for analysis, overt, message in _opinions(raw):
        rule_id = "TW-PICKLE-SECOND-OPINION"
        if overt and not _is_known(message):
            rule_id = "TW-PICKLE-DISAGREEMENT"
        if rule_id not in reported:  # the first of each kind is enough
            reported.add(rule_id)
            scan.report(rule_id, f"fickling ({analysis}): {message[:300]}", name=analysis)


def _is_accounted_for(scan: Scan, raw: bytes) -> bool:
    """Return whether nothing was found: each import is on the exact allow-list.

    fickling considers every call unsafe, including those that make arrays in NumPy and PyTorch: its
    opinion adds something only where this analysis is uncertain. Dangerous names are also searched
    in the bytes, independently of the analysis.
    """
    if scan.detections or scan.corrupt or scan.incomplete:
        return False
    return not any(
        judge(*(part.decode("latin-1") for part in match.groups() if part), 2).level
        is Level.DANGEROUS
        for match in IMPORTS.finditer(raw)
    )


def _is_known(message: str) -> bool:
    """Return whether the import that fickling warns of is on the exact allow-list, or harmless.

    It also warns of a package's module that has the name of one of Python's, which is legitimate:
    an import from such a module is reported as unlisted unless its name suggests that it runs
    something. fickling shows the names of the stream, which may be Python 2's. If the protocol does
    not map those, this analysis has already reported them as dangerous, and fickling is not run.
    """
    match = _IMPORT.search(message)
    if match is None:
        return False
    judged = judge(match[1], match[2], 2)
    if judged.level is not Level.UNKNOWN or judged.runner or judged.in_known:
        return judged.level is Level.ALLOWED
    return not own_modules().isdisjoint(match[1].split(".")[1:])


def _is_worth_asking(raw: bytes) -> bool:
    """Return whether the streams are short and few, and import something or are followed by more.

    The streams are read as fickling reads them; its opinion covers imports only.
    """
    imports, count, streams = False, 0, 0
    stream = io.BytesIO(raw)
    while stream.tell() < len(raw):
        streams += 1
        try:
            for opcode, _, _ in pickletools.genops(stream):
                count += 1
                if count > MAX_OPCODES or streams > MAX_STREAMS:
                    return False
                imports = imports or opcode.name in _IMPORTING
        except (ValueError, OverflowError, MemoryError):
            return streams > 1  # the rest is not a pickle; fickling reads as much as it can
    return imports or streams > 1


def _opinions(raw: bytes) -> list[tuple[str, bool, str]]:
    """Return the results of the trusted analyses: name, whether overtly malicious, reason."""
    quiet = io.StringIO()  # it writes warnings to standard output and error
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        from fickling.analysis import Severity as Theirs  # type: ignore[import-untyped]  # noqa: PLC0415 -- costs 60 ms
        from fickling.analysis import check_safety  # noqa: PLC0415 -- the same
        from fickling.fickle import StackedPickle  # type: ignore[import-untyped]  # noqa: PLC0415 -- the same

        found: list[tuple[str, bool, str]] = []
        try:
            for stream in StackedPickle.load(io.BytesIO(raw), fail_on_decode_error=False).pickled:
                for result in check_safety(stream).results:
                    if result.analysis_name in TRUSTED_ANALYSES and not result:
                        overt = result.severity >= Theirs.LIKELY_OVERTLY_MALICIOUS
                        found.append((result.analysis_name, overt, result.message or ""))
        except Exception:  # noqa: BLE001 -- it raises errors of many kinds on what it does not know
            return found
    return found

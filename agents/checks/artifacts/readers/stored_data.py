"""Searches the data of formats that run nothing for content that a second loader would run.

A pickle, archive or program in a tensor does nothing by itself, but weights never look like one by
chance, and its author has a loader that extracts it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Final

from agents.checks.artifacts.dangerous_names import modules
from agents.checks.artifacts.formats.format import Format
from agents.checks.artifacts.pickle.streams import scan_pickle
from agents.checks.artifacts.scanning import (
    Budget,
    BudgetExceededError,
    BytesSource,
    CorruptFileError,
    Scan,
    Source,
    SourceRange,
    severity_of,
)
from schemas.severity import Severity

NAME: Final = "data"
"""The member name of a found file, with its offset."""
HEAD: Final = 16 << 20
"""Bytes searched from the beginning; of longer files the last `TAIL` too."""
TAIL: Final = 1 << 20
CHUNK: Final = 1 << 20
OVERLAP: Final = 1 << 8
MAX_TRIALS: Final = 2_000
"""Trials of one kind in one file; random weights have some ten pickle heads in each MiB."""
MAX_ARCHIVES: Final = 8
TRIAL_STEPS: Final = 200_000
TRIAL_BYTES: Final = 16 << 20
ALL_STEPS: Final = 1_000_000
STEPS_SHARE: Final = 16
"""Steps of all trials of one file together, plus so many for each of its bytes."""
# A pattern that begins with a plain byte is searched for ten times as fast as one that begins with
# a choice: each has its own.
_BINARY_PICKLE: Final = re.compile(
    rb"\x80[\x02-\x05](?=[\x95\x80-\x93}\]()cKJMINXUSVTBCGLFiq\x8a\x8c])"
)
_BASE64: Final = re.compile(rb"gA[I-X][A-Za-z0-9+/]{16,65536}={0,2}")
_ZIP: Final = re.compile(rb"PK\x03\x04[\x0a-\x3f]\0.{2}[\0\x08]\0", re.DOTALL)
_GZIP: Final = re.compile(rb"\x1f\x8b\x08[\0\x08].{4}[\0\x02\x04][\0-\x0d\xff]", re.DOTALL)
_PROGRAMS: Final = (
    re.compile(rb"\x7fELF[\x01\x02][\x01\x02]\x01[\0-\x1f].\0{7}[\x01-\x04\0]", re.DOTALL),
    re.compile(rb"This program (?:cannot|must) be run (?:in DOS|under)"),
)
_ZEROS: Final = bytes(CHUNK)
_WEB_SHELL: Final = re.compile(
    rb"<\?(?:php|=)[^?]{0,400}\b(?:system|exec|shell_exec|passthru|eval|assert|popen)\s*\("
)


@cache
def _text_pickle() -> re.Pattern[bytes]:
    modules_ = "|".join(sorted(modules("argument")))
    return re.compile(rf"c(?:{modules_})\n[A-Za-z_]\w*\n".encode("ascii"))


def search_data(
    scan: Scan, source: Source, formats: Sequence[Format], *, unrecognised: bool
) -> None:
    """Report files hidden among a file's numbers, if they are malicious.

    Args:
        scan: Where to report.
        source: The file.
        formats: The formats it was recognised as.
        unrecognised: No format was recognised; it is searched like a file of numbers.

    Source: KR03, ST01 and ON02 of the evasions known of model scanners.
    """
    numeric = unrecognised or any(known.numeric for known in formats)
    if not numeric or f"{NAME}@" in (scan.member or ""):
        return  # nor within a found file: it was searched with the whole
    programless = any(known.programless for known in formats)
    trials = _Trials(scan, source)
    left = dict.fromkeys((_BINARY_PICKLE, _text_pickle(), _BASE64), MAX_TRIALS)
    left |= dict.fromkeys((_ZIP, _GZIP), MAX_ARCHIVES)
    for offset, chunk in _chunks(source):
        scan.budget.step(1 + len(chunk) // 64)
        if chunk == _ZEROS:
            continue
        if unrecognised and (shell := _WEB_SHELL.search(chunk)):
            scan.report(
                "TW-MODEL-PROGRAM-DISGUISED",
                "a web shell is inside other content",
                offset=offset + shell.start(),
            )
        for pattern, most in tuple(left.items()):
            matches = list(islice(pattern.finditer(chunk), most + 1))
            if len(matches) > most:
                scan.mark_incomplete("not all that its data may hide was tried")
            left[pattern] = max(most - len(matches), 0)
            for match in matches[:most]:
                trials.attempt(offset + match.start(), match)
        if not programless:
            continue
        programs = [found.start() for pattern in _PROGRAMS if (found := pattern.search(chunk))]
        if programs:
            scan.report(
                "TW-MODEL-EXECUTABLE",
                "a program is among the numbers",
                offset=offset + min(programs),
                name="data",
            )


def _chunks(source: Source) -> Iterator[tuple[int, bytes]]:
    ranges = [(0, min(source.size, HEAD))]
    if source.size > HEAD:
        ranges.append((max(source.size - TAIL, HEAD), source.size))
    for offset, end in ranges:
        at = offset
        while at < end:
            chunk = source.read(at, min(CHUNK, end - at))
            yield at, chunk
            if len(chunk) < CHUNK:
                break
            at += len(chunk) - OVERLAP


class _Trials:
    """Scans what may begin within a file's data, each offset once, within one allowance."""

    def __init__(self, scan: Scan, source: Source) -> None:
        """Start without trials."""
        self._scan = scan
        self._source = source
        self._steps = ALL_STEPS + STEPS_SHARE * min(source.size, HEAD + TAIL)
        self._begun: set[int] = set()

    def _again(self, offset: int) -> bool:
        if offset in self._begun:
            return True
        self._begun.add(offset)
        return False

    def attempt(self, offset: int, match: re.Match[bytes]) -> None:
        """Scan what may begin at an offset; only malicious findings count, others are chance."""
        scan, source = self._scan, self._source
        if self._steps < 0 or (match.re is not _BASE64 and self._again(offset)):
            return
        given = min(TRIAL_STEPS, self._steps)
        budget = Budget(TRIAL_BYTES, given)
        trial = scan.trial(f"{NAME}@{offset}", budget)
        rest: Source = SourceRange(source, offset, min(source.size - offset, TRIAL_BYTES))
        try:
            if match.re in (_ZIP, _GZIP):
                trial.scan(f"{NAME}@{offset}", rest)
            elif match.re is _BASE64:
                scan_pickle(trial, BytesSource(_decoded(match.group())), expected=False)
            else:
                scan_pickle(trial, rest, expected=False, tried=lambda at: self._again(offset + at))
        except (BudgetExceededError, CorruptFileError):
            pass  # it was not a member in the first place; earlier findings are kept
        self._steps -= given - budget.steps
        if self._steps < 0:
            scan.mark_incomplete("not all that its data may hide was tried")
        scan.adopt(
            [
                detection
                for detection in trial.detections
                # a trial runs out of its own small budget, which makes no bomb
                if severity_of(detection).rank >= Severity.CRITICAL.rank
                and detection.rule_id != "TW-ARCHIVE-BOMB"
            ]
        )


def _decoded(raw: bytes) -> bytes:
    text = raw.rstrip(b"=")
    try:
        return base64.b64decode(text[: len(text) & ~3] if len(text) % 4 == 1 else text + b"==")
    except (ValueError, binascii.Error):
        return b""

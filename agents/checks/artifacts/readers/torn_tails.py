"""Finds files whose end was never written: a run of one byte that begins where no data ends.

A write that breaks off leaves zeros up to the size that the file was given. Weights hold zeros of
their own (biases, padding of embeddings, masks), but those begin where a tensor or a row does.
"""
# ruff: noqa: PLR2004 -- shares and lengths are literal where they are weighed

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Final

import msgspec

from agents.checks.artifacts.scanning import Scan, Source

LAST: Final = 64
"""Bytes at the end that must be equal before anything else is read."""
SAMPLE: Final = 512
"""Bytes read at each place where the run is searched."""
BEFORE: Final = 512
"""Bytes before the run that must differ from it."""


class Span(msgspec.Struct, frozen=True):
    """The position of a tensor in its file."""

    begin: int
    end: int
    item: int
    """Bytes of an element, or of a block of them."""
    row: int
    """Bytes of a row, of tensors of two or more dimensions; else of an element."""
    name: str


def run_begins(source: Source, begin: int, end: int) -> int:
    """Return where the run of zeros or of 0xff begins that reaches up to `end`.

    Bytes between samples are assumed to be like them: at most some forty samples are read.

    Args:
        source: The file.
        begin: Where its data begins.
        end: Where its data ends.

    Returns:
        An offset from `begin` to `end`; `end` if there is no such run.
    """
    last = source.read(max(end - LAST, begin), min(LAST, end - begin))
    if not last or last[-1] not in (0, 255) or last.strip(last[-1:]):
        return end
    fill = last[-1:]
    known, step = end - len(last), SAMPLE
    while known > begin:  # farther back each time, until the bytes differ
        at = max(known - step, begin)
        if source.read(at, min(SAMPLE, known - at)).strip(fill):
            break
        known, step = at, step * 2
    else:
        return begin
    low = max(known - step, begin)
    while known - low > SAMPLE:
        middle = (low + known) // 2
        if source.read(middle, min(SAMPLE, known - middle)).strip(fill):
            low = middle
        else:
            known = middle
    piece = source.read(low, known - low + SAMPLE)
    return min(low + len(piece.rstrip(fill)), known) if piece.strip(fill) else low


def report_torn_tail(scan: Scan, source: Source, spans: Sequence[Span], end: int) -> None:
    """Mark a file of tensors as damaged when its end was never written.

    Args:
        scan: Where to report.
        source: The file.
        spans: Its tensors, in order of position.
        end: Where the last of them ends.
    """
    filled = [span for span in spans if span.end > span.begin]
    if not filled or end > source.size:
        return
    at = run_begins(source, filled[0].begin, end)
    if at >= end or at <= filled[0].begin:
        return
    index = bisect.bisect_right([span.begin for span in filled], at) - 1
    span, later = filled[index], filled[index + 1 :]
    if not span.begin < at < span.end or not _is_dense(source, span, at):
        return
    offset = at - span.begin
    rest = -offset % span.row
    matrices = sum(span.row > span.item for span in later)
    if span.row > span.item:
        padded = source.read(at - span.row, min(rest, 64)) if offset > span.row else b"x"
        torn = rest >= max(span.row // 8, 2 * span.item) and bool(padded.strip(b"\0\xff"))
        torn = torn and end - at >= LAST
    else:
        torn = offset % span.item != 0 or span.end - at >= max(512, (span.end - span.begin) // 4)
    if torn or (len(later) >= 2 and matrices):
        scan.mark_corrupt(
            f"nothing was written from offset {at} on, within {span.name[:80]!r}: "
            f"{end - at} bytes alike up to the end"
        )


def _is_dense(source: Source, span: Span, at: int) -> bool:
    """Return whether the bytes before the run are data unlike the run."""
    before = source.read(max(at - BEFORE, span.begin), min(BEFORE, at - span.begin))
    return len(before) >= 16 and before.count(0) + before.count(255) < len(before) // 3


def is_unwritten(source: Source, least: int) -> bool:
    """Return whether a file ends in a long enough run of zeros or 0xff.

    Args:
        source: The file.
        least: The least length, in bytes.
    """
    return source.size > least and source.size - run_begins(source, 0, source.size) >= least

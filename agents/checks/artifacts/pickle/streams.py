"""Scans pickles, whose machine is loaded for the first source that may be one."""

from __future__ import annotations

from collections.abc import Callable

from agents.checks.artifacts.pickle.heads import OPENING
from agents.checks.artifacts.scanning import Scan, Source


def scan_pickle(
    scan: Scan,
    source: Source,
    *,
    expected: bool,
    script: bool = False,
    start: int = 0,
    tried: Callable[[int], bool] | None = None,
) -> bool:
    """Scan every stream of a source.

    Args:
        scan: Where to report.
        source: The bytes.
        expected: Whether other evidence says that it is a pickle. A broken stream is then corrupt;
            otherwise it counts as a pickle only if it does something.
        script: Whether it belongs to a TorchScript archive.
        start: Offset of the first stream.
        tried: Returns whether a stream was tried at an offset before, and records it. When given,
            only streams that follow one another are read, up to one that was.

    Returns:
        Whether it is a pickle.
    """
    if not expected and source.read(start, 1) not in OPENING:
        return False
    from agents.checks.artifacts.pickle.stream_reader import read_streams  # noqa: PLC0415 -- of few files

    return read_streams(scan, source, expected=expected, script=script, start=start, tried=tried)

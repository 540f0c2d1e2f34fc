"""Reads pickles: finds every stream of a file, judges each, and checks the bytes between them."""
# ruff: noqa: PLR2004 -- numbers of formats are what they are

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agents.checks.artifacts.pickle.heads import IMPORTS, Candidates
from agents.checks.artifacts.pickle.hyper_parameters import report_instantiator, report_named_calls
from agents.checks.artifacts.pickle.machine import BUDGET_EXHAUSTED, Machine
from agents.checks.artifacts.pickle.observer import Stream
from agents.checks.artifacts.pickle.pickle_file import PickleFile
from agents.checks.artifacts.pickle.storages import WIDTHS, storage_sizes
from agents.checks.artifacts.pickle.symbols import Global, StreamEnd
from agents.checks.artifacts.scanning import BudgetExceededError, Scan, Source

MAX_ATTEMPTS: Final = 20_000
"""Offsets after the first stream where another stream is tried."""
MAX_TRIED: Final = 1 << 20
TRIED_SHARE: Final = 16
"""The most bytes that failed attempts may read, absolute and as a multiple of the file's size."""
SWEEP: Final = 1 << 20
SWEEP_OVERLAP: Final = 1 << 10
LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""The magic number of PyTorch's format before 1.6."""
LEGACY_STREAMS: Final = 5
"""A number, a version, the system, the object and the keys of its storages."""


def read_streams(
    scan: Scan,
    source: Source,
    *,
    expected: bool,
    script: bool,
    start: int,
    tried: Callable[[int], bool] | None,
) -> bool:
    """Scan every stream of a source; arguments and result are those of `scan_pickle`."""
    reader = _Reader(scan, source, script=script, tried=tried)
    return reader.read(start, expected=expected)


class _Reader:
    """Goes through the streams of one file."""

    def __init__(
        self,
        scan: Scan,
        source: Source,
        *,
        script: bool,
        tried: Callable[[int], bool] | None,
    ) -> None:
        self.scan = scan
        self.source = source
        self.tried = tried
        self.file = PickleFile(scan, source, script=script)

    def read(self, start: int, *, expected: bool) -> bool:
        # Over 60 lines: one loop over candidates, whose steps share its state.
        offset, attempts, streams = start, 0, 0
        size = self.source.size
        candidates = Candidates(self.source)
        allowance = MAX_TRIED + TRIED_SHARE * size
        legacy, storages = False, list[tuple[Any, ...]]()
        adjoining = True
        while offset < size:
            attempts += 1
            if attempts > MAX_ATTEMPTS or allowance < 0:
                if streams:
                    self.sweep(offset)
                break
            sure = expected and not streams
            trial = Stream(self.file, at_once=sure)
            try:
                machine = Machine(self.source, offset, trial, self.scan.budget)
                end = machine.run()
            except (MemoryError, BudgetExceededError):
                if sure or trial.dangerous:  # earlier observations stay
                    trial.settle(None)
                raise
            # PyTorch's five follow one another; below protocol 2 they begin with no magic number
            magic = self._magic(offset) or (legacy and 0 < streams < LEGACY_STREAMS)
            short = adjoining and magic and end.stopped  # PyTorch's first two are numbers
            broken = adjoining and magic and streams > 0
            adopted = sure or short or broken or trial.convincing(end, magic, within=streams > 0)
            if adopted:
                streams += 1
                if streams == 1:
                    self.scan.formats.append("pickle")
                trial.settle(end)
                report_instantiator(self.scan, machine.memo, end)
                report_named_calls(self.scan, machine.memo, end)
                self.scan.storages.extend(storage_sizes(self.scan.member or "", machine.persistent))
                legacy = legacy or (streams == 1 and end.result == LEGACY_MAGIC)
                if legacy and streams == LEGACY_STREAMS - 1:
                    storages = machine.persistent
                elif legacy and streams == LEGACY_STREAMS:
                    self._storages(storages, end)
            elif attempts == 1 and not end.stopped:
                return False
            if end.reason == BUDGET_EXHAUSTED:
                self.sweep(end.offset)
                break
            if self.tried is not None:
                if not end.stopped or self.tried(end.offset):
                    break
                offset = end.offset
                continue
            if end.stopped and adopted:
                following = end.offset
                if self._magic(following) or (legacy and streams < LEGACY_STREAMS):
                    offset = following
                    adjoining = not (
                        legacy and streams >= LEGACY_STREAMS
                    )  # there, lengths of storages follow
                    continue
            else:
                # The rest of a broken stream is not a new stream; continue after the break.
                following = max(end.offset, offset + 1) if adopted else offset + 1
                if not adopted:
                    allowance -= max(end.offset, machine.reached) - offset
            if adopted and self.scan.formats and not expected and not end.stopped:
                expected = True
            adjoining = False
            offset = candidates.next(following)
        if legacy and streams < LEGACY_STREAMS:
            self.scan.mark_corrupt("the file ends before its list of storages")
        return streams > 0

    def _storages(self, storages: list[tuple[Any, ...]], end: StreamEnd) -> None:
        """Mark the file corrupt if a storage of PyTorch's legacy format is cut off or damaged."""
        sizes = {
            storage[2]: (storage[1], storage[4])
            for storage in storages
            if isinstance(storage[2], str)
        }
        keys = end.result if isinstance(end.result, list) else []
        position = end.offset
        for key in keys:
            kind, count = sizes.get(key, (None, None)) if isinstance(key, str) else (None, None)
            width = WIDTHS.get(kind.name) if isinstance(kind, Global) else None
            if width is None or not isinstance(count, int):
                return
            declared = int.from_bytes(self.source.read(position, 8), "little")
            position += 8 + count * width
            if position > self.source.size:
                self.scan.mark_corrupt(f"the storage {key[:40]!r} is cut off")
                return
            if declared != count:
                self.scan.mark_corrupt(f"the storage {key[:40]!r} has a different length")
                return

    def _magic(self, offset: int) -> bool:
        head = self.source.read(offset, 2)
        return len(head) == 2 and head[0] == 0x80 and head[1] <= 5

    def sweep(self, offset: int) -> None:
        """Search for imports only, from `offset` on, and report that the rest was not analysed."""
        self.scan.mark_incomplete(f"not analysed from offset {offset} on, except for imports")
        self.scan.report(
            "TW-PICKLE-UNANALYSED", "the pickle exceeds the limits of the scan", offset=offset
        )
        size = self.source.size
        stream = Stream(self.file)
        while offset < size:
            chunk = self.source.read(offset, SWEEP)
            for match in IMPORTS.finditer(chunk):
                module, name = (part.decode("latin-1") for part in match.groups() if part)
                stream.imported(Global(module, name, offset + match.start(), "sweep"), 4)
            if len(chunk) < SWEEP:
                break
            offset += len(chunk) - SWEEP_OVERLAP
        stream.settle(None)

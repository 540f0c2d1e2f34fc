"""Fuzz targets of the format parsers: each alone, whatever it would say of the name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from agents.checks.artifacts.formats.names import file_name
from agents.checks.artifacts.formats.registry import FORMATS, Format
from agents.checks.artifacts.scanning import (
    Budget,
    BudgetExceededError,
    BytesSource,
    CorruptFileError,
    Scan,
    Source,
)
from tests.corpus import model_formats, repositories

STEPS = 200_000


def _stay(scan: Scan, name: str, source: Source) -> None:
    """Descend nowhere: what is within is another target's."""


def _parse(known: Format, raw: bytes) -> None:
    source = BytesSource(raw)
    name = file_name("sample")
    scan = Scan(name, _stay, Budget(1 << 24, STEPS))
    known.matches(name, raw[:8192], source)
    try:
        known.parse(scan, name, source)
    except (CorruptFileError, BudgetExceededError):
        return


def _files() -> list[tuple[str, bytes]]:
    files: list[tuple[str, bytes]] = []
    for corpus in (model_formats, repositories):
        for kind in (corpus.harmless, corpus.hostile):
            for name, raw in kind():
                files += raw.items() if isinstance(raw, dict) else [(name, raw)]
    return files


def _seeds() -> list[bytes]:
    """Return each sample with the number of the first format that takes it in front."""
    seeds = []
    for name, raw in _files():
        for index, known in enumerate(FORMATS):
            if known.matches(file_name(name), raw[:8192], BytesSource(raw)):
                seeds.append(bytes([index]) + raw)
                break
    return seeds


TARGETS: dict[str, Callable[[bytes], None]] = {
    known.name: partial(_parse, known) for known in FORMATS
}
SEEDS = _seeds()


def target(raw: bytes) -> None:
    """Parse what follows the first byte by the format that it numbers."""
    if raw:
        _parse(FORMATS[raw[0] % len(FORMATS)], raw[1:])

"""Recognises compiled TensorRT engines, whose content only their own runtime can read."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait, endings
from agents.checks.artifacts.readers.embedded import report_text
from agents.checks.artifacts.scanning import CorruptFileError, Scan, Source
from agents.domain.late_pattern import late_pattern

TENSORRT: Final = (b"ptrt", b"ftrt", b"trte")
TAIL: Final = 1 << 20
MIN_ENGINE: Final = 32
_PLUGIN: Final = late_pattern(rb"[\w./\\-]{1,200}\.(?:so|dll|dylib)(?:\.\d+)*\b")
_BACKEND: Final = late_pattern(
    rb"(?i)(?<![a-z])(?:executorch|et)_?(?:custom|shell|exec)\w*|/bin/\w+|system\("
)


SUFFIXES: Final = (
    Suffix(".engine", Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.BINARY),
    Suffix(".plan", Trait.NAMED | Trait.WEIGHTS | Trait.NONEMPTY | Trait.BINARY),
    Suffix(".trt", Trait.NAMED),
    Suffix(".ptrt", Trait.NAMED),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is a TensorRT engine, by its first bytes or its name."""
    del source
    lower = name.lower()
    if head.startswith(TENSORRT):
        return True
    return lower.endswith(_NAMED) and not head.startswith(
        (b"PK\x03\x04", b"\x7fELF", b"version https://git-lfs", b"\x80", b"MZ")
    )


def parse(scan: Scan, name: str, source: Source) -> None:
    """Report the libraries an engine names; the engine itself is opaque.

    Raises:
        CorruptFileError: shorter than any engine.
    """
    del name
    if source.size < MIN_ENGINE:
        raise CorruptFileError("shorter than any engine")
    tail = source.read(max(source.size - TAIL, 0), TAIL) if source.size > TAIL else b""
    for raw in (source.read(0, TAIL), tail):
        report_libraries(scan, raw)
    scan.mark_incomplete("a compiled engine is opaque")
    scan.report(
        "TW-MODEL-ENGINE-OPAQUE", "a compiled engine, readable by its runtime only", offset=0
    )


def report_libraries(scan: Scan, raw: bytes) -> None:
    """Report the libraries and commands that bytes of a compiled model name.

    Args:
        scan: Where to report.
        raw: A part of the file.
    """
    scan.budget.step(len(raw) // 8)
    for match in _PLUGIN.finditer(raw):
        scan.report(
            "TW-MODEL-ENGINE-PLUGIN",
            f"the engine names {match.group()[:120].decode()!r}",
            offset=match.start(),
            name=match.group()[:120].decode(),
        )
    if found := _BACKEND.search(raw):
        scan.report(
            "TW-MODEL-ENGINE-PLUGIN",
            f"the engine names {found.group()[:80].decode('latin-1')!r}",
            offset=found.start(),
            name=found.group()[:80].decode("latin-1"),
        )
    report_text(scan, "engine", raw.decode("latin-1"))


FORMAT: Final = Format(
    name="engine",
    suffixes=SUFFIXES,
    matches=matches,
    parse=parse,
    numeric=True,
    rules=(
        "TW-MODEL-ENGINE-OPAQUE",
        "TW-MODEL-ENGINE-PLUGIN",
    ),
)

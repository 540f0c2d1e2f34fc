"""Compares the storages that a PyTorch pickle declares with the records that hold them.

Source: torch/serialization.py, persistent ids of `torch.save`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from agents.checks.artifacts.pickle.symbols import Global
from agents.checks.artifacts.scanning import Scan

WIDTHS: Final = {
    f"{kind}Storage": width
    for width, kinds in (
        (1, "Byte Char Bool QInt8 QUInt8 Untyped"),
        (2, "Half BFloat16 Short"),
        (4, "Float Int QInt32"),
        (8, "Double Long ComplexFloat"),
        (16, "ComplexDouble"),
    )
    for kind in kinds.split()
}
"""Bytes of an element of each storage."""
_SHAPES: Final = re.compile(r"(^|/)traced_inputs/[^/]+$")
"""Inputs that a model was traced with: TorchScript keeps their shapes without the numbers."""


def storage_sizes(member: str, persistent: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, int]]:
    """Yield the record and the declared bytes of each storage that has a known width.

    Args:
        member: The pickle within its archive: the records of `data.pkl` are in `data/`.
        persistent: The persistent ids that it names.
    """
    folder = member.rpartition("!")[2].removesuffix(".pkl")
    for fields in persistent:
        kind, key, count = fields[1], fields[2], fields[4]
        width = WIDTHS.get(kind.name) if isinstance(kind, Global) else None
        if folder and width is not None and isinstance(key, str) and type(count) is int:
            yield f"{folder}/{key}", count * width


def report_storages(scan: Scan, records: dict[str, int]) -> None:
    """Report the first storage whose declared size differs from its record's.

    Args:
        scan: Holds the declarations of the archive's pickles.
        records: Bytes of each member of the archive, by its name.
    """
    for record, declared in scan.storages:
        held = records.get(record)
        shapes_only = held == 0 and _SHAPES.search(record)
        if held is not None and held != declared and not shapes_only:
            scan.report(
                "TW-MODEL-TORCH-STORAGE",
                f"{record[:80]!r} is declared with {declared} bytes and has {held}",
                name=record[:200],
            )
            return

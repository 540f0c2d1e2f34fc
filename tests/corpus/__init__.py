"""Model files made by hand: hostile in each known way and in variants, harmless, damaged."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

AREAS = (
    "pickles",
    "containers",
    "model_formats",
    "repositories",
    "source_code",
    "programs",
    "structures",
    "torn",
    "surroundings",
    "ordinary",
    "named",
)
KINDS = ("hostile", "suspicious", "harmless", "damaged")
Sample = tuple[str, bytes | dict[str, bytes]]


def samples(kind: str) -> Iterator[Sample]:
    """Yield the samples of a kind from all areas, by `area/name`: one file, or a folder of them."""
    for area in AREAS:
        module = import_module(f"tests.corpus.{area}")
        for name, content in getattr(module, kind, tuple)():
            yield f"{area}/{name}", content

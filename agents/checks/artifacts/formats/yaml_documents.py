"""Declares YAML documents: configurations, projects, pipelines."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import Content, Format, Suffix, Trait, endings, later
from agents.checks.artifacts.scanning import Source

SUFFIXES: Final = (
    Suffix(".yaml", Trait.NAMED | Trait.TEXT, Content.DESCRIPTION, promises=()),
    Suffix(".yml", Trait.NAMED | Trait.TEXT, Content.DESCRIPTION, promises=()),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is YAML, by its name or by its directive."""
    del source
    lower = name.lower()
    return (
        lower.endswith(_NAMED)
        or lower.rsplit("/", 1)[-1] in ("mlmodel", "mlproject")
        or head.startswith((b"%YAML", b"--- !!", b"!!python"))
    )


FORMAT: Final = Format(
    name="yaml",
    suffixes=SUFFIXES,
    matches=matches,
    parse=later("agents.checks.artifacts.formats.yaml_reader"),
    rules=(
        "TW-MODEL-METADATA-CODE",
        "TW-MODEL-YAML-ALIASES",
        "TW-MODEL-YAML-RESOLVER",
        "TW-MODEL-YAML-TAG",
    ),
)

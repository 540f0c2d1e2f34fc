"""Declares Python source, which loaders of models import."""

from __future__ import annotations

from typing import Final

from agents.checks.artifacts.formats.format import Format, Suffix, Trait, endings, later
from agents.checks.artifacts.scanning import Source

SUFFIXES: Final = (
    Suffix(".py", Trait.NAMED | Trait.TEXT, promises=("python",)),
    Suffix(".pyw", Trait.NAMED),
    Suffix(".pyi", Trait.NAMED),
)
_NAMED: Final = endings(SUFFIXES, Trait.NAMED)


def matches(name: str, head: bytes, source: Source) -> bool:
    """Return whether a file is Python source, by its name or its first line."""
    del source
    if "code/__torch__" in name:
        return False  # TorchScript, which its own container judges
    return name.lower().endswith(_NAMED) or (
        head.startswith(b"#!") and b"python" in head.split(b"\n", 1)[0]
    )


FORMAT: Final = Format(
    name="python",
    suffixes=SUFFIXES,
    firsts=b"#",
    matches=matches,
    parse=later("agents.checks.artifacts.python.code"),
    rules=(
        "TW-MODEL-CODE-DISGUISED",
        "TW-MODEL-CODE-EVAL",
        "TW-MODEL-CODE-EXFILTRATES",
        "TW-MODEL-CODE-HOOKS",
        "TW-MODEL-CODE-LOADS",
        "TW-MODEL-CODE-NATIVE",
        "TW-MODEL-CODE-NETWORK",
        "TW-MODEL-CODE-PRESENT",
        "TW-MODEL-CODE-SPAWN",
        "TW-MODEL-CODE-UNREADABLE",
    ),
)

"""Tells the code of a program from a model's, by the files beside it.

A loader of models imports what lies beside weights or what their configuration names. In an
installed environment, a wheel or a project without a model, nothing says that a loader runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from agents.checks.artifacts.formats.format import FileName, Trait
from agents.checks.artifacts.scanning import Scan
from agents.domain.late_pattern import late_pattern

_INSTALLED: Final = late_pattern(r"^(|.*/)[^/]+\.dist-info/RECORD$")
_PROJECT: Final = late_pattern(r"^(|.*/)(?:pyproject\.toml|setup\.py|setup\.cfg)$")
_OF_MODEL: Final = late_pattern(
    r"(?i)(?:^|/)(?:(?:\w+_)?config\.json|model_index\.json|modules\.json|params\.json|MLmodel|"
    r"tokenizer\.json|hubconf\.py|handler\.py|cog\.yaml|model-config\.ya?ml|"
    r"(?:model|config)\.(?:ya?ml|xml)|MANIFEST\.json)$"
)
"""Files that a loader or a server of models begins with."""
_ALWAYS: Final = late_pattern(
    r"(?i)(?:^|/)(?:setup|conftest|sitecustomize|usercustomize|hubconf|handler|inference|predict|"
    r"serve|model|pipeline|(?:modeling|configuration|tokenization|processing|image_processing|"
    r"feature_extraction)_\w+)\.pyw?$"
)
"""Code that installing, testing, starting Python or loading a model runs by its name."""
_TEST: Final = late_pattern(r"(?i)/tests?/")
"""Folders of samples for a program's own tests."""


class _Programs(msgspec.Struct, frozen=True):
    """The programs in a listing: where environments and projects begin, and which have a model."""

    environments: frozenset[str]
    projects: frozenset[str]
    with_model: frozenset[str]

    def unit(self, path: str) -> str | None:
        """Return the project or the installed package that a file belongs to, None if to none."""
        end = len(path)
        while end >= 0:
            end = path.rfind("/", 0, end)
            root = path[: end + 1]
            if root in self.environments:
                first, slash, _ = path[len(root) :].partition("/")
                return root + first + slash
            if root in self.projects:
                return root
        return None


@lru_cache(maxsize=2)  # a listing is that of many files
def _programs(listing: frozenset[str], has_trait: Callable[[str, Trait], bool]) -> _Programs:
    roots = _Programs(
        frozenset(found[1] for name in listing if (found := _INSTALLED.match(name))),
        frozenset(found[1] for name in listing if (found := _PROJECT.match(name))),
        frozenset(),
    )
    if not (roots.environments or roots.projects):
        return roots
    models = (
        unit
        for name in listing
        if ((settings := _OF_MODEL.search(name)) or has_trait(name, Trait.WEIGHTS))
        and not _TEST.search(name)
        and (unit := roots.unit(name)) is not None
        # What is installed is imported, whatever settings lie in it: only weights need a loader.
        and (unit in roots.projects or not settings)
    )
    return msgspec.structs.replace(roots, with_model=frozenset(models))


def is_of_program(scan: Scan, name: FileName) -> bool:
    """Return whether a scanned file is a program's own, and nothing says that a loader runs it.

    Args:
        scan: The file's scan.
        name: Its name.
    """
    listing = scan.listing if scan.member else scan.siblings
    path = (scan.member or scan.path).rpartition("!")[2]
    if not listing or path not in listing or _ALWAYS.search(path):
        return False
    programs = _programs(listing, name.others())
    unit = programs.unit(path)
    return unit is not None and unit not in programs.with_model

"""Recognises settings files by name."""

from __future__ import annotations

from typing import Final

TOML: Final = (".toml", "pipfile", ".replit")
INI: Final = (".ini", ".cfg", ".conf", ".properties", ".env", ".gitconfig", ".service")
GIN: Final = ".gin"
JSONNET: Final = (".jsonnet", ".libsonnet")


def is_settings(base: str) -> bool:
    """Return whether a file holds settings, by its name in lower case."""
    return base.endswith((*TOML, *INI, *JSONNET, GIN))

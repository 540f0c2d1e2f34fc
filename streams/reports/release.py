"""The release of Tidewatch that made a report."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Return the installed version; of a bare source tree, one that says so."""
    try:
        return version("tidewatch")
    except PackageNotFoundError:
        return "0+source"

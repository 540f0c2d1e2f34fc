"""Finds and opens the files to scan: regular ones, in a fixed order."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_FILES: Final = 1_000_000
"""Per folder."""


def open_regular(path: Path) -> int:
    """Open a regular file for reading, following no link in its last part, blocking on no pipe.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"not a regular file: {path}")
    return descriptor


def list_tree(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each regular file below a folder in a fixed order, with its path as reported.

    Links to folders are not entered. Links to files are yielded, and those to folders that lead
    out of this one: see `escapes`.
    """
    count = 0
    for folder, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        # of folders, only links that lead out: targets inside are scanned at their own path
        away = [outer for outer in folders if _leads_out(Path(folder, outer), root)]
        for entry in sorted([*files, *away]):
            count += 1
            if count > MAX_FILES:
                return
            path = Path(folder, entry)
            yield path, path.relative_to(root).as_posix()


def _leads_out(path: Path, root: Path) -> bool:
    return path.is_symlink() and escapes(path, root)


def escapes(path: Path, root: Path) -> bool:
    """Return whether a path, its links followed, leaves `root`.

    Links that lead to one another in a circle leave nothing.
    """
    real, base = resolved(path), resolved(root)
    return real is not None and base is not None and lies_outside(real, base)


def resolved(path: Path) -> Path | None:
    """Return where a path leads, its links followed; None for links in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return None


def lies_outside(real: Path, base: Path) -> bool:
    """Return whether a path is outside a folder; no link leads on from either.

    A snapshot of a hub's cache is one with the `blobs` that its links name.
    """
    if real.is_relative_to(base):
        return False
    cache = next(
        (ancestor.parent for ancestor in (base, *base.parents) if ancestor.name == "snapshots"),
        None,
    )
    return cache is None or not real.is_relative_to(cache / "blobs")


def link_text(path: Path) -> bytes:
    """Return the target of a link relative to its own folder, the text that replaces it."""
    text = os.path.relpath(path.resolve(), path.parent.resolve())
    return Path(text).as_posix().encode("utf-8", "surrogateescape")

"""Opens the files to scan, regular ones only, and judges where links lead."""

from __future__ import annotations

import os
import stat
from pathlib import Path


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

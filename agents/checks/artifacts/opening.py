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
        OSError: it can't be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"not a regular file: {path}")
    return descriptor


def list_tree(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each regular file below a folder in a fixed order, with its path as reported.

    Links to folders are not entered. Links to files are yielded: see `escapes`.
    """
    count = 0
    for folder, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        for entry in sorted(files):
            count += 1
            if count > MAX_FILES:
                return
            path = Path(folder, entry)
            yield path, path.relative_to(root).as_posix()


def escapes(path: Path, root: Path) -> bool:
    """Tell whether a path, its links followed, leaves `root`."""
    return not path.resolve().is_relative_to(root.resolve())

"""List the files of a component with sizes and SHA-256, and compute the component's digest."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from agents.response.anchors import anchored
from agents.response.outcome import BAD, NotCarriedOutError
from schemas.components import digest_of_files

CHUNK: Final = 1024 * 1024
MAX_FILES: Final = 100_000
"""Most files of one component."""


class InventoryFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of a component, by its path within it."""

    path: str
    size: int = 0
    sha256: str | None = None
    link: str | None = None
    """Target of a symbolic link; links are kept, never followed."""
    special: bool = False
    """True for a socket, pipe or device."""


def sha256_of(path: Path) -> tuple[str, int]:
    """Return the SHA-256 in hex of a regular file, and the bytes read.

    Raises:
        OSError: It can't be read, or is a link.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return _hashed(file)


def _hashed(file: IO[bytes]) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def inventory(path: Path) -> tuple[InventoryFile, ...]:
    """Return every file of a component, hashed, in the order of their paths.

    No link is followed, on the path or below it, even if something is renamed meanwhile.

    Args:
        path: A folder or file, absolute, without links above it.

    Raises:
        NotCarriedOutError: More than `MAX_FILES`, or a link leads there.
        OSError: Something can't be read.
    """
    with anchored(path) as held:
        if not stat.S_ISDIR(held.lstat().st_mode):
            with _folder(held.parent) as folder:
                return (_entry(path.name, held.name, folder),)
        found: list[tuple[list[str], InventoryFile]] = []
        # each folder is held open while it is read, so it can't be replaced
        for root, folders, files, folder in os.fwalk(held, follow_symlinks=False):
            below = os.path.relpath(root, held)
            links = [name for name in folders if _is_link(name, folder)]
            for name in (*files, *links):
                if len(found) >= MAX_FILES:
                    raise NotCarriedOutError(BAD, f"more than {MAX_FILES} files", where=str(path))
                relative = name if below == "." else f"{below}/{name}"
                found.append((relative.split("/"), _entry(relative, name, folder)))
        return tuple(entry for _, entry in sorted(found, key=lambda item: item[0]))


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


def _is_link(name: str, folder: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _entry(relative: str, name: str, folder: int) -> InventoryFile:
    """Return a file by its name in an open folder."""
    shown = relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if _is_link(name, folder):
        return InventoryFile(path=shown, link=os.readlink(name, dir_fd=folder))
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return InventoryFile(path=shown, special=True)
    # opening a pipe would wait for its writer
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return InventoryFile(path=shown, special=True)
        sha256, size = _hashed(file)
    return InventoryFile(path=shown, size=size, sha256=sha256)


def digest_of(entries: Iterable[InventoryFile]) -> str | None:
    """Return the component's digest, or None if it holds anything but regular files."""
    pairs = [(entry.path, entry.sha256) for entry in entries]
    known = [(path, sha256) for path, sha256 in pairs if sha256 is not None]
    return digest_of_files(known) if known and len(known) == len(pairs) else None

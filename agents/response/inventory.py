"""The files of a component, with sizes and SHA-256, links not followed; and their one digest."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from agents.response.outcome import BAD, NotCarriedOutError
from schemas.components import digest_of_files

CHUNK: Final = 1024 * 1024
MAX_FILES: Final = 100_000
"""Files of one component."""


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file, by its path within the component."""

    path: str
    size: int = 0
    sha256: str | None = None
    link: str | None = None
    """Where a symbolic link points; links are kept, never followed."""
    special: bool = False
    """Neither file nor link: a socket, pipe or device."""


def sha256_of(path: Path) -> tuple[str, int]:
    """Return the SHA-256 in hex of a regular file, and the bytes read.

    Raises:
        OSError: It can't be read, or is a link.
    """
    digest = hashlib.sha256()
    size = 0
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def walk(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield what is below a folder, or the file itself: relative path and place, sorted.

    Links are yielded, never followed.

    Raises:
        NotCarriedOutError: More than `MAX_FILES`.
        OSError: A folder can't be read.
    """
    if path.is_symlink() or not path.is_dir():
        yield path.name, path
        return
    found: list[Path] = []
    folders = [path]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                    continue
                found.append(Path(entry.path))
                if len(found) > MAX_FILES:
                    raise NotCarriedOutError(BAD, f"more than {MAX_FILES} files", where=str(path))
    for one in sorted(found):
        yield one.relative_to(path).as_posix(), one


def inventory(path: Path) -> tuple[FileEntry, ...]:
    """Return every file of a component, hashed.

    Raises:
        NotCarriedOutError: More than `MAX_FILES`.
        OSError: Something can't be read.
    """
    return tuple(_entry(name, place) for name, place in walk(path))


def _entry(name: str, place: Path) -> FileEntry:
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    status = place.lstat()
    if stat.S_ISLNK(status.st_mode):
        return FileEntry(path=shown, link=str(place.readlink()))
    if not stat.S_ISREG(status.st_mode):
        return FileEntry(path=shown, special=True)
    sha256, size = sha256_of(place)
    return FileEntry(path=shown, size=size, sha256=sha256)


def digest_of(entries: Iterable[FileEntry]) -> str | None:
    """Return the component's digest; None where something in it is no regular file."""
    pairs = [(entry.path, entry.sha256) for entry in entries]
    known = [(path, sha256) for path, sha256 in pairs if sha256 is not None]
    return digest_of_files(known) if known and len(known) == len(pairs) else None

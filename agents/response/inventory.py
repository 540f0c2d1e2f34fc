"""List the files of a component with sizes and SHA-256, and compute the component's digest."""

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
"""Most files of one component."""


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    digest = hashlib.sha256()
    size = 0
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def walk(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield relative and full path of the files below a folder, or of a file itself, sorted.

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
    for file in sorted(found):
        yield file.relative_to(path).as_posix(), file


def inventory(path: Path) -> tuple[FileEntry, ...]:
    """Return every file of a component, hashed.

    Raises:
        NotCarriedOutError: More than `MAX_FILES`.
        OSError: Something can't be read.
    """
    return tuple(_entry(name, file) for name, file in walk(path))


def _entry(name: str, file: Path) -> FileEntry:
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    status = file.lstat()
    if stat.S_ISLNK(status.st_mode):
        return FileEntry(path=shown, link=str(file.readlink()))
    if not stat.S_ISREG(status.st_mode):
        return FileEntry(path=shown, special=True)
    sha256, size = sha256_of(file)
    return FileEntry(path=shown, size=size, sha256=sha256)


def digest_of(entries: Iterable[FileEntry]) -> str | None:
    """Return the component's digest, or None if it holds anything but regular files."""
    pairs = [(entry.path, entry.sha256) for entry in entries]
    known = [(path, sha256) for path, sha256 in pairs if sha256 is not None]
    return digest_of_files(known) if known and len(known) == len(pairs) else None

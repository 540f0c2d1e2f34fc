"""Read files below a root, opening each path component without following links."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agents.fetching.errors import FetchError, RefusedError
from agents.fetching.fetch_scope import Location
from agents.fetching.sources import DescriptorSource

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
MAX_LISTED: Final = 10_000
"""Most files listed of a folder; more raise an error."""


def _refuse(error: OSError, where: str) -> FetchError:
    if error.errno in {errno.ELOOP, errno.EMLINK}:
        return RefusedError("the path leads through a symbolic link", where=where)
    if error.errno == errno.ENOTDIR:
        # With O_NOFOLLOW, a link among the folders gives "not a directory".
        return RefusedError("a folder of the path is a link or a file", where=where)
    return FetchError(f"the file can't be opened ({error.strerror})", where=where)


def open_below(root: Location, location: Location) -> DescriptorSource:
    """Open a regular file below a root.

    The root belongs to the operator and may be reached through links; nothing below it may.

    Raises:
        RefusedError: the path leads through a link, or is not a regular file.
        FetchError: the file is missing or not readable.
    """
    where = location.uri[:200]
    below = location.path[len(root.path.rstrip("/")) :].strip("/")
    base = os.path.realpath(root.path)
    try:
        if not below:
            return _regular(os.open(base, _FILE), where)
        descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            *folders, name = below.split("/")
            for folder in folders:
                inner = os.open(folder, _DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            return _regular(os.open(name, _FILE, dir_fd=descriptor), where)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _refuse(error, where) from error


def _regular(descriptor: int, where: str) -> DescriptorSource:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RefusedError("not a regular file", where=where)
    return DescriptorSource(descriptor)


def list_below(root: Location, location: Location) -> Iterator[tuple[str, int]]:
    """Yield path and size of the regular files in a folder below a root; skip links.

    Raises:
        RefusedError: the folder is reached through a link.
        FetchError: the folder can't be read, or holds more than `MAX_LISTED` files.
    """
    where = location.uri[:200]
    base = Path(os.path.realpath(root.path))
    below = location.path[len(root.path.rstrip("/")) :].strip("/")
    folder = base.joinpath(*below.split("/")) if below else base
    if Path(os.path.realpath(folder)) != folder:
        raise RefusedError("the path leads through a symbolic link", where=where)
    count = 0
    try:
        for path, folders, names in os.walk(folder, followlinks=False):
            folders.sort()
            for name in sorted(names):
                full = Path(path, name)
                found = full.lstat()
                if not stat.S_ISREG(found.st_mode):
                    continue
                count += 1
                if count > MAX_LISTED:
                    raise FetchError(f"more than {MAX_LISTED} files", where=where)
                yield full.relative_to(folder).as_posix(), found.st_size
    except OSError as error:
        raise _refuse(error, where) from error

"""Opens a path component by component, follows no links, and holds the opened folders.

A path that was checked by name may lead elsewhere when it is used by name: a writer in the store
may replace a folder with a link in between. A held folder stays the same even if it is renamed.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agents.response.outcome import REFUSED, NotCarriedOutError

_STEP: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_HELD: Final = re.compile(r"/proc/self/fd/\d+(?=/|$)")
_LINKS: Final = frozenset({errno.ELOOP, errno.ENOTDIR})


@contextmanager
def opened(folder: Path, *, make: bool = False) -> Iterator[Path]:
    """Hold a folder open, and yield a path to it that can't be redirected.

    Args:
        folder: Absolute, and without links: resolve what the operator named before.
        make: Create missing folders.

    Raises:
        NotCarriedOutError: A component is a link, or not a folder.
        FileNotFoundError: It is not there.
    """
    start = _HELD.match(str(folder))
    if start is None:
        held, parts = os.open("/", _STEP), folder.parts[1:]
    else:  # it is below a folder that is held open already
        held, parts = os.open(start[0], os.O_PATH | os.O_DIRECTORY), folder.parts[5:]
    try:
        for part in parts:
            try:
                onward = _step(part, held, make=make)
            except OSError as error:
                if error.errno not in _LINKS:
                    raise
                raise NotCarriedOutError(
                    REFUSED, "the path contains a link", where=str(folder)
                ) from error
            os.close(held)
            held = onward
        yield Path(f"/proc/self/fd/{held}")
    finally:
        os.close(held)


def _step(part: str, held: int, *, make: bool) -> int:
    try:
        return os.open(part, _STEP, dir_fd=held)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(
        FileExistsError
    ):  # another process created it first: opening it checks that it is a folder
        os.mkdir(part, dir_fd=held)
    return os.open(part, _STEP, dir_fd=held)


@contextmanager
def anchored(path: Path, *, make: bool = False) -> Iterator[Path]:
    """Hold the folder of a path open, and yield the path below it.

    Its last component may be missing, or a link: the caller decides what to do with it.

    Args:
        path: Absolute, and without links above its last component.
        make: Create missing folders above it.

    Raises:
        NotCarriedOutError: A component is a link.
        FileNotFoundError: Its folder is not there.
    """
    with opened(path.parent, make=make) as folder:
        yield folder / path.name

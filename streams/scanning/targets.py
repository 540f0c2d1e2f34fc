"""What a user names to be scanned: files, folders and locations, as things that can be opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from agents.fetching.errors import FetchError
from agents.fetching.sources import DescriptorSource, OpenSource

LOCAL_TENANT = "local"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One file, where it is, and the paths beside it."""

    path: str
    """As reported."""
    name: str
    """Within its folder or repository."""
    open: Callable[[], OpenSource]
    siblings: frozenset[str] = frozenset()
    file: Path | None = None
    """Where it lies on this machine, if it does."""
    root: Path | None = None
    """The folder within which it may name other files."""


def is_location(text: str) -> bool:
    """Tell whether a user's argument is a URI and not a path."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.isascii() and scheme.replace("+", "").isalnum()


def open_local(path: Path) -> OpenSource:
    """Open a regular file of this machine; the user's own links are followed.

    Raises:
        FetchError: absent, not readable, or no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FetchError(f"can't be opened ({error.strerror})", where=str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FetchError("not a regular file", where=str(path))
    return DescriptorSource(descriptor)


def shown_path(path: Path | str) -> str:
    """Return a path as text that any report can hold: bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def local_targets(path: Path, root: Path | None = None) -> Iterator[Target]:
    """Yield a file, or all files below a folder, in order of their paths.

    Folders reached through links are not entered: they may lead round in a circle. One that leads
    out of the folder, and a folder that can't be read, is a target that fails when it is opened.

    Args:
        path: The file or folder.
        root: For a file: the folder within which it may name others; its own by default.
    """
    if not path.is_dir():
        yield Target(
            path=shown_path(path),
            name=shown_path(path.name),
            open=partial(open_local, path),
            file=path,
            root=root or path.parent,
        )
        return
    found: list[Path] = []
    refused: dict[Path, FetchError] = {}

    def refuse(error: OSError) -> None:
        folder = Path(os.fsdecode(error.filename))
        refused[folder] = FetchError(
            f"the folder can't be read ({error.strerror})", where=shown_path(folder)
        )

    inside = path.resolve()
    for folder, folders, names in os.walk(path, onerror=refuse):
        folders.sort()
        found += [Path(folder, name) for name in names]
        for link in (Path(folder, name) for name in folders):
            if link.is_symlink() and not _leads_to(link, inside):
                refused[link] = FetchError(
                    "a link to a folder outside of what is scanned, which was not entered",
                    where=shown_path(link),
                    remedy="name that folder as well",
                )
    siblings = frozenset(shown_path(one.relative_to(path).as_posix()) for one in found)
    for one in sorted([*found, *refused]):
        yield Target(
            path=shown_path(one),
            name=shown_path(one.relative_to(path).as_posix()),
            open=partial(_fail, refused[one]) if one in refused else partial(open_local, one),
            siblings=siblings,
            file=one,
            root=path,
        )


def _leads_to(link: Path, folder: Path) -> bool:
    """Tell whether a link leads into a folder, whose files are targets anyway."""
    try:
        return link.resolve().is_relative_to(folder)
    except (OSError, RuntimeError):
        return False


def _fail(error: FetchError) -> OpenSource:
    raise error

"""Scan targets: files, folders and locations as objects that can be opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import msgspec

from agents.checks.artifacts.opening import escapes, link_text
from agents.fetching.errors import FetchError
from agents.fetching.sources import DescriptorSource, OpenSource

LOCAL_TENANT = "local"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One file, its location, and its sibling paths."""

    path: str
    """As reported."""
    name: str
    """Within its folder or repository."""
    open: Callable[[], OpenSource]
    siblings: frozenset[str] = frozenset()
    file: Path | None = None
    """Its local path, if it has one."""
    root: Path | None = None
    """The folder within which it may name other files."""


def is_location(text: str) -> bool:
    """Return whether a user's argument is a URI and not a path."""
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


class _LinkText:
    """A link as the text of where it leads."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.size = len(raw)

    def read(self, offset: int, length: int) -> bytes:
        return self._raw[offset : offset + length]

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def shown_path(path: Path | str) -> str:
    """Return a path as text for reports: bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def local_targets(path: Path, root: Path | None = None) -> Iterator[Target]:
    """Yield a file, or all files below a folder, in order of their paths.

    Links to folders are not followed: they may form a cycle. A link that leads out of the folder
    is judged by its target, not followed. A folder that can't be read is a target that fails when
    it is opened. A blob of a hub's cache is a target under the names that its snapshots give it,
    not under its own, which says nothing of its format.

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
    away: set[Path] = set()
    refused: dict[Path, FetchError] = {}

    def refuse(error: OSError) -> None:
        folder = Path(os.fsdecode(error.filename))
        refused[folder] = FetchError(
            f"the folder can't be read ({error.strerror})", where=shown_path(folder)
        )

    for folder, folders, names in os.walk(path, onerror=refuse):
        folders.sort()
        found += [Path(folder, name) for name in names]
        links = [Path(folder, name) for name in (*folders, *names)]
        away.update(link for link in links if link.is_symlink() and escapes(link, path))
    siblings = frozenset(
        shown_path(target.relative_to(path).as_posix()) for target in {*found, *away}
    )
    for target in sorted({*found, *away, *refused} - _named_blobs(found, away)):
        opened: Callable[[], OpenSource] = partial(open_local, target)
        if target in refused:
            opened = partial(_fail, refused[target])
        elif target in away:
            opened = partial(_LinkText, link_text(target))
        yield Target(
            path=shown_path(target),
            name=shown_path(target.relative_to(path).as_posix()),
            open=opened,
            siblings=siblings,
            file=None if target in away or target in refused else target,
            root=path,
        )


def _named_blobs(found: list[Path], away: set[Path]) -> set[Path]:
    """Return the blobs of a hub's cache that a link of a snapshot names."""
    blobs = {path.resolve(): path for path in found if path.parent.name == "blobs"}
    if not blobs:
        return set()
    linked = (link.resolve() for link in found if link.is_symlink() and link not in away)
    return {blobs[target] for target in linked if target in blobs}


def _fail(error: FetchError) -> OpenSource:
    raise error

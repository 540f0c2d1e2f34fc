"""Scan targets: files, folders and locations as objects that can be opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Self

import msgspec

from agents.checks.artifacts.formats.links import MAX_LINK
from agents.checks.artifacts.formats.links import matches as is_written_link
from agents.checks.artifacts.opening import lies_outside, link_text, resolved
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
    local: str = ""
    """Its local path, if it has one: of many files, a path object for each takes longer."""
    root: Path | None = None
    """The folder within which it may name other files."""

    @property
    def file(self) -> Path | None:
        """Its local path, if it has one."""
        return Path(self.local) if self.local else None


def is_location(text: str) -> bool:
    """Return whether a user's argument is a URI and not a path."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.isascii() and scheme.replace("+", "").isalnum()


def open_local(path: Path | str) -> OpenSource:
    """Open a regular file of this machine; the user's own links are followed.

    Raises:
        FetchError: absent, not readable, or no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FetchError(f"can't be opened ({error.strerror})", where=str(path)) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FetchError("not a regular file", where=str(path))
    return DescriptorSource(descriptor, status.st_size)


class _LinkText:
    """A link as the text of its target."""

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
    text = os.fspath(path)
    return text if text.isascii() else os.fsencode(text).decode("utf-8", "backslashreplace")


def local_targets(path: Path, root: Path | None = None) -> Iterator[Target]:
    """Yield a file, or all files below a folder, in order of their paths.

    Links to folders are not followed: they may form a cycle. A link that leads outside the folder
    is judged by its target, not followed. A folder that can't be read is a target that fails when
    it is opened. A blob of a hub's cache is a target under the names that its snapshots give it,
    not under its own, which says nothing of its format; so it is where links are stored as text.

    Args:
        path: The file or folder.
        root: For a file: the folder within which it may name others; its own by default.
    """
    if not path.is_dir():
        yield Target(
            path=shown_path(path),
            name=shown_path(path.name),
            open=partial(open_local, path),
            local=str(path),
            root=root or path.parent,
        )
        return
    found: list[str] = []
    leads: dict[str, Path | None] = {}
    """Of each link, where it leads."""
    refused: dict[str, FetchError] = {}

    def refuse(error: OSError) -> None:
        folder = str(Path(os.fsdecode(error.filename)))
        refused[folder] = FetchError(
            f"the folder can't be read ({error.strerror})", where=shown_path(folder)
        )

    for start, folder_links, files, file_links in _walked(path, refuse):
        found += (start + name for name in files)
        for name in (*folder_links, *file_links):
            leads[start + name] = resolved(Path(start + name))
    base = resolved(path)
    away = {
        link
        for link, real in leads.items()
        if real is not None and base is not None and lies_outside(real, base)
    }
    skipped = len(_start(path))
    siblings = frozenset(shown_path(text[skipped:]) for text in {*found, *away})
    blobs = {text for text in found if _is_blob(text)}
    written = _written_links(found, blobs, leads) if blobs else {}
    named = {*written.values(), *_named_blobs(blobs, away, leads)}
    targets = {*found, *away, *refused} - named
    ordered = sorted(targets, key=lambda text: text.split(os.sep))  # noqa: PTH206 -- the same
    for text in ordered:
        held = written.get(text, text)
        opened: Callable[[], OpenSource] = partial(open_local, held)
        if text in refused:
            opened = partial(_fail, refused[text])
        elif text in away:
            opened = partial(_LinkText, link_text(Path(text)))
        yield Target(
            path=shown_path(text),
            name=shown_path(text[skipped:]) or ".",
            open=opened,
            siblings=siblings,
            local="" if text in away or text in refused else held,
            root=path,
        )


def _walked(
    path: Path, refuse: Callable[[OSError], None]
) -> Iterator[tuple[str, list[str], list[str], list[str]]]:
    """Yield each folder's content: prefix of its paths, links to folders, files, links to files.

    Like `os.walk`, which discards what the folder says about links: asking again costs a call for
    each.

    Args:
        path: The outermost folder.
        refuse: Called with the reason if a folder can't be read.
    """
    waiting = [os.fspath(path)]
    while waiting:
        folder = waiting.pop()
        folders: list[str] = []
        links: tuple[list[str], list[str]] = ([], [])
        files: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    is_folder = _is_folder(entry)
                    if entry.is_symlink():
                        links[is_folder].append(entry.name)
                    if not is_folder:
                        files.append(entry.name)
                    elif not entry.is_symlink():
                        folders.append(entry.name)
        except OSError as error:
            refuse(error)
            continue
        start = _start(Path(folder))
        yield start, sorted(links[True]), files, links[False]
        waiting += [start + name for name in sorted(folders, reverse=True)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _start(folder: Path) -> str:
    """Return the prefix of the paths of a folder's files."""
    return "" if folder == Path() else os.path.join(folder, "")  # noqa: PTH118 -- a path object has no last slash


def _is_blob(text: str) -> bool:
    """Return whether a path is of a file that a hub's cache keeps under its digest."""
    return text.rpartition(os.sep)[0].rpartition(os.sep)[2] == "blobs"


def _named_blobs(
    blobs: Iterable[str], away: AbstractSet[str], leads: Mapping[str, Path | None]
) -> set[str]:
    """Return the blobs of a hub's cache that a link of a snapshot names."""
    folders: dict[str, Path | None] = {}
    places: dict[Path | None, str] = {}
    for text in blobs:
        folder, _, name = text.rpartition(os.sep)
        if text in leads:
            places[leads[text]] = text
            continue
        if folder not in folders:  # resolved once for all that it holds
            folders[folder] = resolved(Path(folder))
        real = folders[folder]
        if real is not None:
            places[real / name] = text
    linked = {real for link, real in leads.items() if link not in away}
    return {text for real, text in places.items() if real is not None and real in linked}


def _written_links(
    found: Iterable[str], blobs: AbstractSet[str], leads: Collection[str]
) -> dict[str, str]:
    """Return the files of snapshots that are links stored as text, with their blobs."""
    written: dict[str, str] = {}
    for text in found:
        if text in leads or f"{os.sep}snapshots{os.sep}" not in f"{os.sep}{text}":
            continue
        try:
            with open_local(text) as source:
                head = source.read(0, MAX_LINK)
                is_link = is_written_link(text, head, source)
        except (FetchError, OSError):
            continue  # reported when it is scanned
        if is_link:
            folder = os.path.dirname(text)  # noqa: PTH120 -- of many
            blob = os.path.normpath(os.path.join(folder, os.fsdecode(head.strip())))  # noqa: PTH118 -- of many
            if blob in blobs:
                written[text] = blob
    return written


def _fail(error: FetchError) -> OpenSource:
    raise error

"""Atomic file operations: a kill at any time leaves the old state or the new one."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agents.response.outcome import FAILED, NotCarriedOutError

STAGING: Final = ".tidewatch-"
"""Prefix of temporary names, which nothing in use has."""
LEAVING: Final = f"{STAGING}leaving-"
"""Prefix of a complete source during a move; an arriving copy may be incomplete."""
ARRIVING: Final = f"{STAGING}arriving-"


class ChangedMeanwhileError(NotCarriedOutError):
    """The source of a move changed after it was checked; it is back in its place."""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, private to this user, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def write_whole(path: Path, raw: bytes, *, mode: int = 0o600) -> None:
    """Replace a file's content at once: a reader sees the old bytes or the new ones.

    Args:
        path: The file; its folder exists.
        raw: The new content.
        mode: Permissions of a new file; an existing file keeps its own.
    """
    partial = path.with_name(f"{STAGING}{path.name}")
    if path.exists():
        mode = stat.S_IMODE(path.stat().st_mode)
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as opened:
        os.fchmod(opened.fileno(), mode)
        opened.write(raw)
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def switch_link(link: Path, target: str) -> None:
    """Replace a symbolic link atomically.

    Args:
        link: The link; it may not exist yet.
        target: What it points to, relative to its folder.
    """
    partial = link.with_name(f"{STAGING}{link.name}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(link)
    sync_folder(link.parent)


def move(source: Path, target: Path, verified: Callable[[Path], bool]) -> None:
    """Move a file or folder; across file systems by copy, verification and removal.

    The first step takes the source out of use in both cases. A repetition continues where the last
    run ended. A complete target stays as it is, even if the source exists again.

    Args:
        source: The file or folder to move; below a folder that is held open if others may write
            there.
        target: Its new path; the folder exists.
        verified: Returns whether the target is the intended content.

    Raises:
        ChangedMeanwhileError: The target is something else; it is put back.
        NotCarriedOutError: The source is gone, or the copy is not the same.
        OSError: The file system refuses.
    """
    staging = source.with_name(f"{LEAVING}{source.name}")
    if os.path.lexists(target):
        _remove(staging)
        return
    if not os.path.lexists(staging):
        if not os.path.lexists(source):
            raise NotCarriedOutError(FAILED, "it is no longer there", where=str(source))
        try:
            os.rename(source, target)  # noqa: PTH104 -- beside the EXDEV it may answer with
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            source.rename(staging)
            sync_folder(source.parent)
        else:
            sync_folder(source.parent)
            sync_folder(target.parent)
            if not verified(target):
                # It was moved by name, and the name now belongs to something else.
                _put_back(target, source)
                raise _changed(source)
            return
    partial = target.with_name(f"{ARRIVING}{target.name}")
    _remove(partial)
    _copy(staging, partial)
    if not verified(partial):
        raise NotCarriedOutError(
            FAILED,
            "the copy differs from what was to be moved",
            where=staging.name,
            remedy="it is out of use; find out who else writes there, then repeat the command",
        )
    partial.rename(target)
    sync_folder(target.parent)
    _remove(staging)
    sync_folder(source.parent)


def _put_back(target: Path, source: Path) -> None:
    """Undo a rename, unless something else has taken the name."""
    if not os.path.lexists(source):
        target.rename(source)
        sync_folder(source.parent)
        sync_folder(target.parent)


def _changed(source: Path) -> ChangedMeanwhileError:
    return ChangedMeanwhileError(
        FAILED,
        f"{source.name} changed while it was moved: left where it was",
        remedy="find out who else writes there, then have the command repeated",
    )


def undo_move(source: Path, target: Path) -> None:
    """Undo a `move` that was interrupted before its target was complete.

    Args:
        source: The path before the move.
        target: The path after it.
    """
    staging = source.with_name(f"{LEAVING}{source.name}")
    if os.path.lexists(target) or not os.path.lexists(staging) or os.path.lexists(source):
        return
    _remove(target.with_name(f"{ARRIVING}{target.name}"))
    staging.rename(source)
    sync_folder(source.parent)


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink() or not source.is_dir():
        shutil.copy2(source, target, follow_symlinks=False)
    else:
        shutil.copytree(source, target, symlinks=True)
    paths = [target, *target.rglob("*")] if target.is_dir() else [target]
    for path in paths:
        if not path.is_symlink():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

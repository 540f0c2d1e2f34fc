"""Decides for each file which kinds of manifest it is, and whether it is an artifact."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from streams.adapters.manifests.kinds import HEAD, SMALL, Content, Kind, kinds_of, may_be_manifest
from streams.scanning.targets import Target


class ManifestTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A file of one or more kinds of manifest."""

    target: Target
    file: Path
    root: Path
    """No file outside it is read, whatever the manifest names."""
    kinds: tuple[Kind, ...]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The work of a scan."""

    manifests: tuple[ManifestTarget, ...] = ()
    artifacts: tuple[Target, ...] = ()
    """Includes manifests that may contain more than their readers read."""


def select(targets: Iterable[Target], kind: Kind | None = None) -> Selection:
    """Sort files of this machine into manifests and artifacts.

    Args:
        targets: The files; remote ones are artifacts.
        kind: The kind of all of them, if the user gives one.
    """
    manifests: list[ManifestTarget] = []
    artifacts: list[Target] = []
    for target in targets:
        kinds = _kinds(target, kind)
        if kinds and target.file is not None and target.root is not None:
            manifests.append(
                ManifestTarget(
                    target=target, file=target.file, root=target.root, kinds=tuple(kinds)
                )
            )
        if not kinds or any(wanted.scanned for wanted in kinds):
            artifacts.append(target)
    return Selection(manifests=tuple(manifests), artifacts=tuple(artifacts))


def _kinds(target: Target, kind: Kind | None) -> Sequence[Kind]:
    if target.file is None:
        return ()
    if kind is not None:
        return (kind,)
    if not may_be_manifest(target.path):
        return ()
    try:
        status = os.stat(target.file)  # noqa: PTH116 -- of many files: a path's own takes longer
        if not stat.S_ISREG(status.st_mode):
            return ()
        return kinds_of(target.path.replace("\\", "/"), _content(target.file, status.st_size))
    except OSError:
        # The next reader reports the error.
        return ()


def _content(file: Path, size: int) -> Content:
    if size <= SMALL:
        return Content(file.read_bytes())
    with file.open("rb") as opened:
        head = opened.read(HEAD)
        opened.seek(max(size - HEAD, HEAD))
        return Content(head + opened.read(HEAD), partial(file.read_bytes))

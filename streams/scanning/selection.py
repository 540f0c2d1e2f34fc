"""Decides for each file which kinds of manifest it is, and whether it is an artifact."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from streams.adapters.manifests.kinds import (
    HEAD,
    SMALL,
    Kind,
    ManifestContent,
    kinds_of,
    may_be_manifest,
)
from streams.scanning.targets import Target


class ManifestTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A file of one or more kinds of manifest."""

    target: Target
    file: Path
    root: Path
    """No file outside it is read, whatever the manifest names."""
    kinds: tuple[Kind, ...]


class Selection:
    """Sorts files of this machine into manifests and artifacts, one by one, from any thread."""

    def __init__(self, kind: Kind | None = None) -> None:
        """Begin with no manifest.

        Args:
            kind: The kind of all files, if the user gives one.
        """
        self._kind = kind
        self._manifests: dict[int, ManifestTarget] = {}

    def is_artifact(self, target: Target, content: bytes | None) -> bool:
        """Return whether a target is scanned; a manifest is, if it may contain more than is read.

        Args:
            target: The file; remote ones are artifacts.
            content: All of it, if it was read.
        """
        kinds = self._kinds(target, content)
        if kinds and target.local and target.root is not None:
            self._manifests[id(target)] = ManifestTarget(
                target=target, file=Path(target.local), root=target.root, kinds=tuple(kinds)
            )
        return not kinds or any(wanted.scanned for wanted in kinds)

    def manifests(self, targets: Iterable[Target]) -> list[ManifestTarget]:
        """Return the manifests among targets that were sorted, in their order."""
        found = self._manifests
        return [found[id(target)] for target in targets if id(target) in found]

    def _kinds(self, target: Target, content: bytes | None) -> Sequence[Kind]:
        if not target.local:
            return ()
        if self._kind is not None:
            return (self._kind,)
        if not may_be_manifest(target.path):
            return ()
        path = target.path.replace("\\", "/")
        if content is not None:
            return kinds_of(path, ManifestContent(content))
        try:
            status = os.stat(target.local)  # noqa: PTH116 -- of many files: a path's own takes longer
            if not stat.S_ISREG(status.st_mode):
                return ()
            return kinds_of(path, _content(Path(target.local), status.st_size))
        except OSError:
            # The next reader reports the error.
            return ()


def _content(file: Path, size: int) -> ManifestContent:
    if size <= SMALL:
        return ManifestContent(file.read_bytes())
    with file.open("rb") as opened:
        head = opened.read(HEAD)
        opened.seek(max(size - HEAD, HEAD))
        return ManifestContent(head + opened.read(HEAD), partial(file.read_bytes))

"""Reads folders of models, with the digest of each file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from schemas.events import TYPE_REGISTRY_PUSH, Event, File, PushAction, RegistryPush
from streams.baseline.units import (
    BaselineError,
    BaselineOrigin,
    Unit,
    event_of,
    fingerprint,
    unreadable,
)

MAX_FILES: Final = 4000
"""Files of one model: they go into one event."""
CHUNK: Final = 1 << 20
_CACHED: Final = re.compile(r"(?P<kind>models|datasets)--(?P<name>[^/]+(?:--[^/]+)?)")
"""A repository in the cache of the hub's client."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


class _Model:
    """One folder that is a model."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.root = root
        self.files: list[tuple[str, Path, os.stat_result]] = []


def folder_units(path: Path, origin: BaselineOrigin) -> Iterator[Unit]:
    """Yield a unit for each model below a folder: each folder that has files of its own.

    In the cache of the hub's client, models are named by repository and commit.

    Raises:
        BaselineError: It can't be read, or a model has too many files.
    """
    for model in _models(path):
        stamps = [f"{name}|{stat.st_size}|{stat.st_mtime_ns}" for name, _, stat in model.files]
        yield Unit(
            place=str(model.folder),
            fingerprint=fingerprint(
                "folder", origin.tenant, origin.system, str(model.folder), *stamps
            ),
            events=partial(_events, model, origin),
        )


def _models(path: Path) -> Iterator[_Model]:
    root = path.resolve()
    snapshots = sorted(root.glob("**/snapshots/*")) if _is_cache(root) else []
    if snapshots:
        for snapshot in snapshots:
            model = _Model(snapshot, root)
            _collect(model, whole=True)
            if model.files:
                yield model
        return
    for folder, names, _ in os.walk(root, onerror=_fail):
        names.sort()
        model = _Model(Path(folder), root)
        _collect(model, whole=False)
        if model.files:
            # subfolders are part of it, as in a repository
            model.files.clear()
            _collect(model, whole=True)
            names.clear()
            yield model


def _fail(error: OSError) -> None:
    raise unreadable(Path(error.filename or ""), error)


def _is_cache(root: Path) -> bool:
    if _CACHED.fullmatch(root.name):
        return True
    return any(_CACHED.fullmatch(entry.name) for entry in root.iterdir() if entry.is_dir())


def _collect(model: _Model, *, whole: bool) -> None:
    for folder, names, files in os.walk(model.folder, onerror=_fail):
        names[:] = sorted(name for name in names if name not in {".git", ".cache"})
        for name in sorted(files):
            place = Path(folder) / name
            try:
                real = place.resolve(strict=True)
                stat = real.stat()
            except OSError as error:
                raise unreadable(place, error) from error
            if not real.is_relative_to(model.root):
                raise BaselineError(
                    "a link leads out of the folder", where=str(place), remedy="name its target"
                )
            if real.is_file():
                model.files.append((place.relative_to(model.folder).as_posix(), real, stat))
            if len(model.files) > MAX_FILES:
                raise BaselineError(
                    f"a model of more than {MAX_FILES:,} files",
                    where=str(model.folder),
                    remedy="name the folders of models below it",
                )
        if not whole:
            return


def _events(model: _Model, origin: BaselineOrigin) -> list[Event[Any]]:
    files = tuple(
        File(path=name, size=stat.st_size, digests={"sha256": _sha256(real)})
        for name, real, stat in model.files
    )
    kind, registry, repository, revision = _named(model, origin)
    since = max((stat.st_mtime for _, _, stat in model.files), default=0.0)
    found = event_of(
        origin,
        TYPE_REGISTRY_PUSH,
        f"{kind}:{registry}/{repository}",
        RegistryPush(
            action=PushAction.PULL,
            kind=kind,
            registry=registry,
            repository=repository,
            revision=revision,
            files=files,
            systems=(origin.system,),
        ),
        what="folder",
        time=datetime.fromtimestamp(since, UTC),
    )
    return [found]


def _named(model: _Model, origin: BaselineOrigin) -> tuple[str, str, str, str | None]:
    """Return the name of a folder: kind, registry, repository and revision."""
    for parent in (model.folder, *model.folder.parents):
        match = _CACHED.fullmatch(parent.name)
        if match is not None:
            commit = model.folder.name if _COMMIT.fullmatch(model.folder.name) else None
            kind = "dataset" if match["kind"] == "datasets" else "model"
            return kind, "huggingface", match["name"].replace("--", "/"), commit
    below = model.folder.relative_to(model.root).as_posix()
    name = model.root.name if below == "." else f"{model.root.name}/{below}"
    return "model", origin.registry or origin.system, name or "root", None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise unreadable(path, error) from error
    return digest.hexdigest()

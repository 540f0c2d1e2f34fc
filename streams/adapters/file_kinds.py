"""Distinguishes packages, datasets and models by the names of their files."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from typing import Final

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from schemas.events import ArtifactKind

_PACKAGES: Final = {
    ".whl": "pypi",
    ".egg": "pypi",
    ".conda": "conda",
    ".jar": "maven",
    ".pom": "maven",
    ".war": "maven",
    ".nupkg": "nuget",
    ".gem": "gem",
    ".crate": "cargo",
    ".deb": "debian",
    ".rpm": "rpm",
    ".apk": "alpine",
}
"""Endings that only packages have."""
_SDISTS: Final = (".tar.gz", ".zip")
_NPM: Final = ".tgz"
_CRAN: Final = ("src/contrib", "bin/windows/contrib", "bin/macosx")
"""Folders in which an index of R keeps its packages."""
_DATA: Final = (".parquet", ".arrow", ".tfrecord", ".avro", ".orc")
"""Endings of containers of rows; text, such as CSV, is found beside models as well."""


def ecosystem_of(path: str) -> str | None:
    """Return the ecosystem of a package's file, as package URLs name it; None for anything else.

    An archive in gzip or zip is a package only where its folders say so: models are packed the same
    way. Indexes keep a source distribution below `name/version`, npm a package below `name/-`, R a
    package below `contrib`.

    Args:
        path: The file with its folders, below its repository.
    """
    folder, name = posixpath.split(path.replace("\\", "/").strip("/"))
    lowered = name.lower()
    known = _PACKAGES.get(posixpath.splitext(lowered)[1])
    if known is not None:
        return known
    if lowered.endswith(_SDISTS) and _is_sdist(folder, name):
        return "pypi"
    if lowered.endswith((*_SDISTS, _NPM)) and any(f"/{place}/" in f"/{folder}/" for place in _CRAN):
        return "cran"
    return "npm" if lowered.endswith(_NPM) and posixpath.basename(folder) == "-" else None


def _is_sdist(folder: str, name: str) -> bool:
    try:
        project, version = parse_sdist_filename(name)
    except InvalidSdistFilename:
        return False
    parts = folder.split("/")
    return parts[-1] == str(version) and canonicalize_name(parts[-2] if parts[1:] else "") == (
        project
    )


def wheel_version(path: str) -> str | None:
    """Return the version in the name of a wheel or source distribution, or None."""
    name = posixpath.basename(path)
    try:
        if name.lower().endswith(".whl"):
            return str(parse_wheel_filename(name)[1])
        return str(parse_sdist_filename(name)[1])
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def kind_of_files(paths: Collection[str]) -> ArtifactKind:
    """Return package, dataset or model: the first two only if every file is of that kind."""
    if paths and all(ecosystem_of(path) for path in paths):
        return ArtifactKind.PACKAGE
    if paths and all(path.lower().endswith(_DATA) for path in paths):
        return ArtifactKind.DATASET
    return ArtifactKind.MODEL

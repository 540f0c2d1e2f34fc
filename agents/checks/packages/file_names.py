"""Compares the project and version that a distribution's file name states with its metadata."""

from __future__ import annotations

import posixpath
from typing import Final
from urllib.parse import unquote

from agents.checks.packages.pinning import SHOWN_LIMIT, detect_line
from agents.checks.packages.seen import detect
from agents.checks.packages.subject import InstallSubject
from agents.checks.packages.versions import (
    canonical_name,
    canonical_version,
    parse_version,
    release_of_file,
)
from agents.domain.detection import Detection
from schemas.events import Package

_RULE: Final = "TW-PKG-FILE-NAME"


def contradiction(filename: str, name: str, version: str | None) -> str | None:
    """Return how a file name contradicts the metadata, None if it does not.

    A version without its local part, as inventories give it, is the same one.

    Args:
        filename: The name of a wheel or source distribution; other names state nothing.
        name: The project, canonical.
        version: The version, if known.

    Source: the binary distribution format, and PEP 625 for source distributions.
    """
    if version and _is_plain(filename, name, version):
        return None
    stated = release_of_file(filename)
    if stated is None:
        return None
    project, release = stated
    if project != name:
        return f"the project {project}"
    if version and not _is_same(version, release):
        return f"the version {release}"
    return None


def _is_plain(filename: str, name: str, version: str) -> bool:
    """Return whether a file name is the usual one of a release, without parsing it."""
    usual = f"{name.replace('-', '_')}-{version}"
    return filename == f"{usual}.tar.gz" or (
        filename.startswith(f"{usual}-") and filename.endswith(".whl")
    )


def _is_same(version: str, release: str) -> bool:
    if canonical_version(version) == canonical_version(release):
        return True
    given = parse_version(version)
    # An invalid version can't be compared; a missing local part says nothing.
    return given is None or (
        "+" not in version
        and canonical_version(given.public) == canonical_version(release.partition("+")[0])
    )


def _filename_of(package: Package) -> str:
    if package.filename:
        return package.filename
    if package.vcs is not None or not package.url:
        return ""
    return _basename(package.url)


def _basename(url: str) -> str:
    path = url.partition("#")[0].partition("?")[0].replace("\\", "/")
    return unquote(posixpath.basename(path))


def check_file_names(subject: InstallSubject) -> list[Detection]:
    """Return one finding for each file whose name contradicts what it is installed as.

    A direct reference among the requirements may name one project and fetch another.

    Args:
        subject: The install.
    """
    found: list[Detection] = []
    for entry in subject.seen:
        package = entry.package
        filename = _filename_of(package)
        states = filename and contradiction(filename, entry.name, package.version)
        if states:
            found.append(
                detect(
                    _RULE,
                    entry,
                    f"the file {filename[:200]} of {entry.name} {package.version or ''} states"
                    f" {states[:200]}",
                    {"filename": filename, "states": states},
                    locator=f"filename:{entry.name}:{filename}",
                )
            )
        if len(found) >= SHOWN_LIMIT:
            return found
    for line in subject.lines:
        if line.url is None or line.vcs is not None or not line.name:
            continue
        filename = _basename(line.url)
        states = contradiction(filename, canonical_name(line.name), None)
        if states and len(found) < SHOWN_LIMIT:
            found.append(
                detect_line(
                    _RULE,
                    line,
                    f"the file {filename[:200]} asked for as {line.name} states {states[:200]}",
                    filename=filename,
                    states=states,
                )
            )
    return found

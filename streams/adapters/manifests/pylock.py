"""pylock.toml, and the named ones of a project (`pylock.gpu.toml`): the lock of PEP 751."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.domain.toml_reader import read_toml
from schemas.events import Installer, Package, Vcs
from streams.adapters.manifests.found import (
    Distribution,
    Found,
    InstallOptions,
    digests_of,
    from_files,
    with_digest,
)
from streams.adapters.payload import refuse


def files_of(entry: Mapping[str, Any]) -> list[Distribution]:
    """Return the distributions of a lock's entry."""
    found = [*entry.get("wheels", ()), *([entry["sdist"]] if "sdist" in entry else [])]
    if isinstance(entry.get("archive"), dict):
        found.append(entry["archive"])
    files = []
    for file in found:
        digests = dict(file.get("hashes", {}))
        kind, colon, value = str(file.get("hash", "")).partition(":")
        if colon:
            digests[kind] = value
        files.append(Distribution(file.get("url") or file.get("path"), digests))
    return files


def _vcs(entry: Mapping[str, Any]) -> Vcs:
    return Vcs(
        vcs=entry.get("type", "git"),
        url=entry.get("url"),
        commit_id=entry.get("commit-id"),
        requested_revision=entry.get("commit-id"),
    )


def _directory(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "editable": bool(entry.get("editable")),
        "direct": True,
        "url": f"file:{entry.get('path') or '.'}",
    }


def read_document(document: Mapping[str, Any]) -> Found:
    """Return the contents of a parsed pylock.toml."""
    found = Found(installer=Installer(name=str(document.get("created-by", "pylock"))))
    for entry in document.get("packages", ()):
        version = entry.get("version")
        files = files_of(entry)
        fields = from_files(files)
        if isinstance(entry.get("vcs"), dict):
            fields.update(vcs=_vcs(entry["vcs"]), url=entry["vcs"].get("url"), direct=True)
        elif isinstance(entry.get("archive"), dict):
            fields.update(direct=True, url=with_digest(fields.get("url"), files))
        elif isinstance(entry.get("directory"), dict):
            fields.update(_directory(entry["directory"]))
        package = Package(
            name=entry["name"],
            version=version,
            index_url=entry.get("index"),
            requires_dist=tuple(dependency["name"] for dependency in entry.get("dependencies", ())),
            attestations=(),
            **fields,
        )
        found.add_locked(package, digests_of(files))
    return found


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the packages of a pylock.toml."""
    document = read_toml(raw.decode())
    if "lock-version" not in document:
        raise refuse("no lock-version: not a pylock.toml")
    return read_document(document)

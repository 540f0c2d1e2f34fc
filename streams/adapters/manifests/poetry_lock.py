"""poetry.lock, of every format version."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from schemas.events import Installer, Package, Vcs
from streams.adapters.manifests.found import (
    File,
    Found,
    InstallOptions,
    digests_of,
    entries,
    filename_of,
    lock_in,
    table,
)
from streams.adapters.payload import refuse


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the contents of a poetry.lock; packages have no file locations."""
    document = tomllib.loads(raw.decode())
    metadata = table(document.get("metadata"))
    if not isinstance(document.get("package"), list) or "content-hash" not in metadata:
        raise refuse("no packages and content-hash: not a poetry.lock")
    found = Found(installer=Installer(name="poetry"))
    # Before format 2 the files were at the end, by package.
    older = table(metadata.get("files"))
    for entry in entries(document["package"]):
        name, version = str(entry["name"]), entry.get("version")
        files = locked_files(entry.get("files") or older.get(name))
        lock_in(found.lock, name, version, digests_of(files))
        found.packages.append(
            Package(
                name=name,
                version=version,
                requires_dist=tuple(table(entry.get("dependencies"))),
                **of_one(files),
                **_source(table(entry.get("source"))),
            )
        )
    return found


def locked_files(listed: Any) -> list[File]:  # noqa: ANN401 -- any value of TOML
    """Return the files that poetry or PDM list of a package: by name or URL, with one hash."""
    files = []
    for one in entries(listed):
        kind, _, value = str(one.get("hash") or "").partition(":")
        files.append(File(one.get("url") or one.get("file"), {kind: value} if value else {}))
    return files


def of_one(files: list[File]) -> dict[str, Any]:
    """Return what a package of one file has, where no URL of it is known."""
    if len(files) != 1 or not files[0].url:
        return {}
    return {"hashes": files[0].digests, "filename": filename_of(files[0].url)}


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    url = source.get("url")
    match source.get("type"):
        case "legacy":
            return {"index_url": url}
        case "git":
            commit = source.get("resolved_reference")
            asked = source.get("reference") or "HEAD"
            vcs = Vcs(url=url, commit_id=commit, requested_revision=asked)
            return {"direct": True, "url": url, "vcs": vcs}
        case "url":
            return {"direct": True, "url": url}
        case "file" | "directory":
            return {"direct": True, "url": f"file:{url}", "editable": bool(source.get("develop"))}
    return {}

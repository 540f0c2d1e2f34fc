"""pdm.lock."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from agents.checks.packages.requirements import read_line
from schemas.events import Installer, Package, Vcs
from streams.adapters.manifests.found import (
    Found,
    InstallOptions,
    digests_of,
    entries,
    from_files,
    lock_in,
    table,
    texts,
)
from streams.adapters.manifests.poetry_lock import locked_files, of_one
from streams.adapters.payload import refuse


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the contents of a pdm.lock."""
    document = tomllib.loads(raw.decode())
    metadata = table(document.get("metadata"))
    if not isinstance(document.get("package"), list) or "lock_version" not in metadata:
        raise refuse("no packages and lock_version: not a pdm.lock")
    found = Found(installer=Installer(name="pdm"))
    # Before lock version 4.4 the files were at the end, by package and version.
    older = table(metadata.get("files"))
    seen: set[tuple[str, str | None]] = set()
    for entry in entries(document["package"]):
        name, version = str(entry["name"]), entry.get("version")
        files = locked_files(entry.get("files") or older.get(f"{name} {version}"))
        lock_in(found.lock, name, version, digests_of(files))
        if (name, version) in seen:  # once for each set of extras
            continue
        seen.add((name, version))
        whole = from_files(files) if files and "://" in (files[0].url or "") else of_one(files)
        found.packages.append(
            Package(
                name=name,
                version=version,
                requires_dist=tuple(
                    line.name
                    for one in texts(entry.get("dependencies"))
                    if (line := read_line(one)).name
                ),
                **{**whole, **_source(entry)},
            )
        )
    return found  # fmt: skip


def _source(entry: Mapping[str, Any]) -> dict[str, Any]:
    if url := entry.get("git"):
        commit = entry.get("revision")
        asked = entry.get("ref") or "HEAD"
        vcs = Vcs(url=url, commit_id=commit, requested_revision=asked)
        return {"direct": True, "url": url, "vcs": vcs}
    if path := entry.get("path"):
        editable = bool(entry.get("editable"))
        return {"direct": True, "url": f"file:{path}", "editable": editable}
    if url := entry.get("url"):
        return {"direct": True, "url": url}
    return {}

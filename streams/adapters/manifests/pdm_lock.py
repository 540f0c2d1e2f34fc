"""pdm.lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.checks.packages.requirements import read_line
from schemas.events import Installer, Package, Vcs
from streams.adapters.manifests.found import (
    Found,
    InstallOptions,
    digests_of,
    from_files,
    lock_in,
    texts,
)
from streams.adapters.manifests.locked_packages import locked_packages, of_one


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the contents of a pdm.lock."""
    found = Found(installer=Installer(name="pdm"))
    seen: set[tuple[str, str | None]] = set()
    for locked in locked_packages(raw, file="pdm.lock", mark="lock_version"):
        name, version, files = locked.name, locked.version, locked.files
        if (name, version) in seen:  # once for each set of extras
            lock_in(found.lock, name, version, digests_of(files))
            continue
        seen.add((name, version))
        whole = from_files(files) if files and "://" in (files[0].url or "") else of_one(files)
        package = Package(
            name=name,
            version=version,
            requires_dist=tuple(
                line.name
                for dependency in texts(locked.entry.get("dependencies"))
                if (line := read_line(dependency)).name
            ),
            **{**whole, **_source(locked.entry)},
        )
        found.add_locked(package, digests_of(files))
    return found


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

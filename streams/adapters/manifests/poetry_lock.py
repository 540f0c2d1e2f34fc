"""poetry.lock, of every format version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.events import Installer, Package, Vcs
from streams.adapters.manifests.found import Found, InstallOptions, digests_of, table
from streams.adapters.manifests.locked_packages import locked_packages, of_one


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the contents of a poetry.lock; packages have no file locations."""
    found = Found(installer=Installer(name="poetry"))
    for locked in locked_packages(raw, file="poetry.lock", mark="content-hash"):
        package = Package(
            name=locked.name,
            version=locked.version,
            requires_dist=tuple(table(locked.entry.get("dependencies"))),
            **of_one(locked.files),
            **_source(table(locked.entry.get("source"))),
        )
        found.add_locked(package, digests_of(locked.files))
    return found


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

"""uv.lock: of a project, of a workspace with its members, with forks and conflicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents.checks.packages.versions import canonical_name
from agents.domain.toml_reader import read_toml
from schemas.events import Installer, Package, Vcs
from streams.adapters.manifests.found import (
    Found,
    InstallOptions,
    digests_of,
    entries,
    from_files,
    table,
    texts,
    with_digest,
)
from streams.adapters.manifests.pylock import files_of
from streams.adapters.payload import refuse


def read_document(document: Mapping[str, Any]) -> Found:
    """Return the contents of a parsed uv.lock.

    The project and the members of its workspace are not installed from an index; their
    dependencies, in any extra or group, are the requested packages.
    """
    found = Found(installer=Installer(name="uv"))
    members = {
        canonical_name(member) for member in texts(table(document.get("manifest")).get("members"))
    }
    listed = entries(document.get("package"))
    own = [package for package in listed if _is_own(package, members)]
    wanted = {name for package in own for name in _wanted(package)}
    for entry in listed:
        if not _is_own(entry, members):
            _add(found, entry, wanted)
    return found


def _is_own(entry: Mapping[str, Any], members: set[str]) -> bool:
    """Return whether a package is the project itself or a member of its workspace."""
    source = table(entry.get("source"))
    # Virtual: never installed itself, only its dependencies.
    if "virtual" in source or source.get("editable") == ".":
        return True
    local = bool({"editable", "directory", "path"} & source.keys())
    return local and canonical_name(str(entry["name"])) in members


def _wanted(entry: Mapping[str, Any]) -> Iterator[str]:
    groups: list[Sequence[Any]] = [entry.get("dependencies") or ()]
    for name in ("optional-dependencies", "dev-dependencies"):
        groups.extend(table(entry.get(name)).values())
    for group in groups:
        yield from (canonical_name(dependency["name"]) for dependency in group)


def _add(found: Found, entry: Mapping[str, Any], wanted: set[str]) -> None:
    source = table(entry.get("source"))
    version = entry.get("version")
    files = files_of(entry)
    fields = from_files(files)
    if "git" in source:
        url, _, commit = str(source["git"]).partition("#")
        fields.update(
            direct=True,
            url=url,
            vcs=Vcs(url=url, commit_id=commit or None, requested_revision=commit or None),
        )
    elif "url" in source:
        fields.update(direct=True, url=with_digest(source["url"], files))
    elif local := next(
        (source[kind] for kind in ("editable", "directory", "path") if kind in source), None
    ):
        fields.update(direct=True, editable="editable" in source, url=f"file:{local}")
    package = Package(
        name=entry["name"],
        version=version,
        requested=canonical_name(entry["name"]) in wanted,
        index_url=source.get("registry"),
        requires_dist=tuple(dependency["name"] for dependency in entry.get("dependencies", ())),
        **fields,
    )
    found.add_locked(package, digests_of(files))


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the packages of a uv.lock."""
    document = read_toml(raw.decode())
    if not isinstance(document.get("package"), list) or "version" not in document:
        raise refuse("no version and packages: not a uv.lock")
    return read_document(document)

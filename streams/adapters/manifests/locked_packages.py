"""Reads what poetry.lock and pdm.lock have in common: a list of packages with their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agents.domain.toml_reader import read_toml
from streams.adapters.manifests.found import (
    Distribution,
    entries,
    filename_of,
    table,
    texts,
)
from streams.adapters.payload import refuse


class LockedPackage(NamedTuple):
    """A package of a lock."""

    entry: Mapping[str, Any]
    """Its entry in the lock."""
    name: str
    version: str | None
    files: list[Distribution]


def locked_packages(raw: bytes, *, file: str, mark: str) -> Iterator[LockedPackage]:
    """Yield the packages of a lock.

    Args:
        raw: The lock.
        file: The usual name of such a lock.
        mark: The key of its metadata that no other lock has.
    """
    document = read_toml(raw.decode())
    metadata = table(document.get("metadata"))
    if not isinstance(document.get("package"), list) or mark not in metadata:
        raise refuse(f"no packages and {mark}: not a {file}")
    # Older versions list files at the end: poetry's by package, PDM's by package and version; the
    # oldest of poetry's list digests alone.
    older = table(metadata.get("files")) or table(metadata.get("hashes"))
    for entry in entries(document["package"]):
        name, version = str(entry["name"]), entry.get("version")
        listed = entry.get("files") or older.get(f"{name} {version}") or older.get(name)
        yield LockedPackage(entry, name, version, _files(listed))


def of_one(files: list[Distribution]) -> dict[str, Any]:
    """Return the details of a package of one file whose URL is not known."""
    if len(files) != 1 or not files[0].url:
        return {}
    return {"hashes": files[0].digests, "filename": filename_of(files[0].url)}


def _files(listed: Any) -> list[Distribution]:  # noqa: ANN401 -- any value of TOML
    """Return the files that a lock lists of a package: by name or URL, with one hash each."""
    files = [Distribution(None, {"sha256": digest}) for digest in texts(listed)]
    for file in entries(listed):
        kind, _, value = str(file.get("hash") or "").partition(":")
        files.append(
            Distribution(file.get("url") or file.get("file"), {kind: value} if value else {})
        )
    return files

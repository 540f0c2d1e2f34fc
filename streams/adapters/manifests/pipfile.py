"""Pipfile and Pipfile.lock: the requirements of pipenv and what it locked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agents.domain.toml_reader import read_toml
from schemas.events import Installer, Package, Vcs
from streams.adapters.manifests.found import (
    Found,
    InstallOptions,
    entries,
    lock_in,
    table,
    texts,
)
from streams.adapters.payload import refuse


def read_lock_file(raw: bytes, _options: InstallOptions) -> Found:
    """Return the contents of a Pipfile.lock."""
    document = table(msgspec.json.decode(raw))
    if "_meta" not in document:
        raise refuse("no _meta: not a Pipfile.lock")
    found = _with_sources(entries(table(document["_meta"]).get("sources")))
    indexes = {source.get("name"): source.get("url") for source in
               entries(table(document["_meta"]).get("sources"))}  # fmt: skip
    for category, packages in document.items():
        if category.startswith("_"):
            continue
        for name, entry in table(packages).items():
            _add(found, str(name), table(entry), indexes, locked=True)
    return found


def read(raw: bytes, _options: InstallOptions) -> Found:
    """Return the requirements of a Pipfile, which need not be pinned."""
    document = read_toml(raw.decode())
    if not {"packages", "dev-packages", "source"} & document.keys():
        raise refuse("no packages and source: not a Pipfile")
    sources = entries(document.get("source"))
    found = _with_sources(sources)
    indexes = {source.get("name"): source.get("url") for source in sources}
    for category, packages in document.items():
        if category in {"source", "requires", "scripts", "pipenv"}:
            continue
        for name, entry in table(packages).items():
            given = entry if isinstance(entry, dict) else {"version": str(entry)}
            _add(found, str(name), given, indexes, locked=False)
    return found


def _with_sources(sources: list[dict[str, Any]]) -> Found:
    urls = [str(source["url"]) for source in sources if source.get("url")]
    found = Found(
        installer=Installer(name="pipenv"),
        index_url=urls[0] if urls else None,
        extra_index_urls=tuple(urls[1:]),
    )
    for source in sources:
        host = urlsplit(str(source.get("url") or "")).hostname
        if source.get("verify_ssl") is False and host:
            found.requirements.append(f"--trusted-host {host}")
    return found


def _add(
    found: Found,
    name: str,
    entry: Mapping[str, Any],
    indexes: Mapping[Any, Any],
    *,
    locked: bool,
) -> None:
    text = str(entry.get("version") or "")
    pin = text.removeprefix("==").strip()
    version = pin if text.startswith("==") and not pin.endswith("*") else None
    hashes = texts(entry.get("hashes"))
    fields: dict[str, Any] = {"index_url": indexes.get(entry.get("index"))}
    git = next((kind for kind in ("git", "hg", "svn", "bzr") if entry.get(kind)), None)
    if git is not None:
        url, asked = str(entry[git]), str(entry.get("ref") or "HEAD")
        commit = asked if len(asked) == 40 else None  # noqa: PLR2004 -- a SHA-1
        vcs = Vcs(vcs=git, url=url, commit_id=commit, requested_revision=asked)
        fields = {"direct": True, "url": url, "vcs": vcs}
    elif path := entry.get("path"):
        editable = bool(entry.get("editable"))
        fields = {"direct": True, "url": f"file:{path}", "editable": editable}
    elif file := entry.get("file"):
        fields = {"direct": True, "url": str(file) if "://" in str(file) else f"file:{file}"}
    if len(hashes) == 1 and hashes[0].startswith("sha256:"):
        fields["hashes"] = {"sha256": hashes[0][7:]}
    package = Package(name=name, version=version, requested=not locked, **fields)
    if locked:
        found.add_locked(package, tuple(hashes))
    else:
        lock_in(found.lock, name, version, tuple(hashes))
        found.packages.append(package)

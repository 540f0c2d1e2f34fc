"""pixi.toml and pixi.lock: what pixi takes from a Python index; its other packages are conda's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.domain.toml_reader import read_toml
from schemas.events import Installer, Package
from streams.adapters.manifests.found import (
    Distribution,
    Found,
    InstallOptions,
    digests_of,
    entries,
    from_files,
    table,
    word,
)
from streams.adapters.manifests.pyproject import add_tasks, pixi_parts, read_pixi
from streams.adapters.manifests.yaml_text import read_yaml
from streams.adapters.payload import refuse


def read(raw: bytes, options: InstallOptions) -> Found:
    """Return the Python requirements of a pixi.toml."""
    document = read_toml(raw.decode("utf-8-sig"))
    found = Found(installer=Installer(name="pixi"))
    read_pixi(found, document)
    for part in pixi_parts(document):
        for name in table(part.get("dependencies")):
            if name.lower() not in {"python", "pip"}:
                found.add_foreign("conda", name)
    add_tasks(found, document, options, "pixi.toml")
    return found


def read_lock_file(raw: bytes, _options: InstallOptions) -> Found:
    """Return the Python packages of a pixi.lock, each once for all platforms."""
    document = table(read_yaml(raw))
    if not isinstance(document.get("packages"), list):
        raise refuse("no packages: not a pixi.lock")
    found = Found(installer=Installer(name="pixi"))
    files: dict[tuple[str, str | None], list[Distribution]] = {}
    for entry in entries(document["packages"]):
        url = _python_url(entry)
        if url is None:
            found.add_foreign("conda", str(word(entry.get("conda")) or entry.get("name"))[:100])
            continue
        digest = word(entry.get("sha256"))
        file = Distribution(url, {"sha256": digest} if digest else {})
        files.setdefault((str(entry.get("name")), word(entry.get("version"))), []).append(file)
    for (name, version), listed in files.items():
        _add_locked(found, name, version, listed)
    found.extra_index_urls = tuple(dict.fromkeys(_indexes(document)))
    return found


def _python_url(entry: dict[str, Any]) -> str | None:
    """Return the location of a package of a Python index, None for one of conda."""
    if (url := word(entry.get("pypi"))) is not None:
        return url
    return str(entry.get("url") or ".") if entry.get("kind") == "pypi" else None


def _add_locked(found: Found, name: str, version: str | None, files: list[Distribution]) -> None:
    url = files[0].url or "."
    local = "://" not in url
    if local or url.startswith("git+"):
        direct = f"file:{url}" if local else url.removeprefix("git+")
        package = Package(name=name, version=version, direct=True, editable=local, url=direct)
        found.packages.append(package)
    else:
        package = Package(name=name, version=version, **from_files(files))
        found.add_locked(package, digests_of(files))


def _indexes(document: dict[str, Any]) -> Iterator[str]:
    for environment in table(document.get("environments")).values():
        listed = table(environment).get("indexes")
        yield from (index for index in listed or () if isinstance(index, str))

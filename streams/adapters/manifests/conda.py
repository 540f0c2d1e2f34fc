"""conda's files: environments, explicit lists and the locks of conda-lock.

Only what pip installs into an environment comes from the Python index. The rest comes from
channels, whose packages have their own names: they are reported, but not checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from schemas.events import Installer, Package
from streams.adapters.manifests.found import (
    Distribution,
    Found,
    InstallOptions,
    digests_of,
    entries,
    from_files,
    table,
    texts,
    word,
)
from streams.adapters.manifests.requirements import add_requirements, parsed_requirements
from streams.adapters.manifests.yaml_text import read_yaml
from streams.adapters.payload import refuse

_NAME: Final = re.compile(r"(?:[^\s:]+::)?([A-Za-z0-9_][\w.-]*)")
_OWN: Final = frozenset({"python", "pip", "setuptools", "wheel"})
"""What distinguishes an environment."""


def read_environment(raw: bytes, options: InstallOptions) -> Found:
    """Return the pip requirements of an environment.yml, or of MLflow's python_env.yaml."""
    document = table(read_yaml(raw))
    if not isinstance(document.get("dependencies"), list):
        raise refuse("no dependencies: not an environment of conda")
    found = Found(installer=Installer(name="conda"))
    add_environment(found, document, options)
    return found


def add_environment(found: Found, document: Mapping[str, Any], options: InstallOptions) -> None:
    """Add the pip requirements of an environment, and the names of its other packages.

    Args:
        found: The result to add them to.
        document: The environment, with its list of `dependencies`.
        options: The path of its file, and the files that it may name.
    """
    _add_channels(found, texts(document.get("channels")))
    asked = [
        line for entry in entries(document["dependencies"]) for line in texts(entry.get("pip"))
    ]
    plain = texts(document["dependencies"])
    if "channels" not in document and "python" in document and "name" not in document:
        # MLflow's python_env.yaml: all of it is for pip.
        asked += [*texts(document.get("build_dependencies")), *plain]
        plain = []
    for text in plain:
        match = _NAME.match(text.strip())
        name = match[1] if match else text[:100]
        if name.lower() not in _OWN:
            found.add_foreign("conda", name)
    if asked:
        path = options.path or "environment.yml"
        parsed = parsed_requirements("\n".join(asked), options.files, path)
        add_requirements(found, parsed, options.files)


def _add_channels(found: Found, channels: list[str]) -> None:
    urls = tuple(channel for channel in channels if "://" in channel)
    found.extra_index_urls = (*found.extra_index_urls, *urls)


def read_explicit(raw: bytes, _options: InstallOptions) -> Found:
    """Return the files of channels in an explicit list, by URL."""
    found = Found(installer=Installer(name="conda"))
    channels: dict[str, None] = {}
    for line in raw.decode("utf-8-sig").splitlines():
        url = line.strip().partition("#")[0]
        if "://" not in url or line.lstrip().startswith("#"):
            continue
        # channel / platform / name-version-build.conda
        parts = url.rsplit("/", 2)
        channels[parts[0]] = None
        found.add_foreign("conda", re.sub(r"-[^-]+-[^-]+\.(conda|tar\.bz2)$", "", parts[-1]))
    found.extra_index_urls = tuple(channels)
    return found


def read_lock_file(raw: bytes, _options: InstallOptions) -> Found:
    """Return the packages of a conda-lock.yml, each once for all platforms."""
    document = table(read_yaml(raw))
    if not isinstance(document.get("package"), list):
        raise refuse("no packages: not a conda-lock.yml")
    found = Found(installer=Installer(name="conda-lock"))
    channels = table(document.get("metadata")).get("channels")
    _add_channels(found, [str(channel.get("url") or "") for channel in entries(channels)])
    files: dict[tuple[str, str | None], list[Distribution]] = {}
    for entry in entries(document["package"]):
        name, version = str(entry["name"]), word(entry.get("version"))
        if entry.get("manager") != "pip":
            found.add_foreign("conda", name)
            continue
        digests: dict[str, Any] = table(entry.get("hash"))
        file = Distribution(
            word(entry.get("url")), {key: str(value) for key, value in digests.items()}
        )
        known = files.setdefault((name, version), [])
        if file not in known:
            known.append(file)
    found.foreign = {kind: list(dict.fromkeys(names)) for kind, names in found.foreign.items()}
    for (name, version), listed in files.items():
        package = Package(name=name, version=version, **from_files(listed))
        found.add_locked(package, digests_of(listed))
    return found

"""Settings of installers: the indexes, channels and untrusted hosts of pip, uv, PDM and conda."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from agents.domain.toml_reader import read_toml
from schemas.events import Installer
from streams.adapters.manifests.found import Found, InstallOptions, table, texts, word
from streams.adapters.manifests.ini_text import read_ini
from streams.adapters.manifests.pyproject import read_uv_settings
from streams.adapters.manifests.requirements import add_requirements, parsed_requirements
from streams.adapters.manifests.yaml_text import read_yaml
from streams.adapters.payload import refuse

_SINGLE: Final = {"index-url": "--index-url", "pypi-url": "--index-url"}
_LISTS: Final = {
    "extra-index-url": "--extra-index-url",
    "find-links": "--find-links",
    "trusted-host": "--trusted-host",
    "requirement": "-r",
    "constraint": "-c",
}
_NO_CHECK: Final = frozenset({"false", "no", "0", "off"})


def option_lines(settings: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield settings of pip as the options of a requirements file, each address once.

    A command has settings of its own, which replace the general ones: further addresses of the
    index are listed as further indexes, so that each is judged.

    Args:
        settings: Names, as pip or setuptools write them, and their values.
    """
    seen: set[str] = set()
    for name, value in settings:
        key = name.lower().replace("_", "-")
        single, listed = _SINGLE.get(key), _LISTS.get(key)
        for item in (value.split() if listed else [value.strip()]) if single or listed else []:
            option = listed or single
            if single:
                option = single if single not in seen else "--extra-index-url"
                seen.add(single)
            line = f"{option} {shlex.quote(item)}"
            if item and line not in seen:
                seen.add(line)
                yield line


def add_options(found: Found, lines: Iterable[str], options: InstallOptions, place: str) -> None:
    """Add options, judged as those of a requirements file.

    Args:
        found: The result to add them to.
        lines: The options.
        options: The path of the settings, and texts of files.
        place: The settings' usual name.
    """
    parsed = parsed_requirements("\n".join(lines), options.files, options.path or place)
    add_requirements(found, parsed, options.files)


def read_pip(raw: bytes, options: InstallOptions) -> Found:
    """Return the indexes and untrusted hosts of a pip.conf, of all commands."""
    found = Found(installer=Installer(name="pip"))
    sections = read_ini(raw, "pip.conf")
    settings = [setting for section in sections.values() for setting in section.items()]
    add_options(found, option_lines(settings), options, "pip.conf")
    return found


def read_uv(raw: bytes, _options: InstallOptions) -> Found:
    """Return the indexes and untrusted hosts of a uv.toml."""
    found = Found(installer=Installer(name="uv"))
    read_uv_settings(found, read_toml(raw.decode("utf-8-sig")), "uv.toml")
    return found


def read_pdm(raw: bytes, _options: InstallOptions) -> Found:
    """Return the indexes of a pdm.toml; its accounts are read as a configuration."""
    document = read_toml(raw.decode("utf-8-sig"))
    pypi = table(document.get("pypi"))
    others = (table(value) for name, value in pypi.items() if isinstance(value, dict))
    urls = [word(account.get("url")) for account in others]
    return Found(
        installer=Installer(name="pdm"),
        index_url=word(pypi.get("url")),
        extra_index_urls=tuple(url for url in urls if url),
    )


def read_conda(raw: bytes, _options: InstallOptions) -> Found:
    """Return the channels of a .condarc; one that is a name lies below conda's own addresses."""
    document = read_yaml(raw)
    if document is not None and not isinstance(document, dict):
        raise refuse("no settings: not a .condarc")
    settings = table(document)
    found = Found(installer=Installer(name="conda"))
    urls = list(dict.fromkeys(url for url in _channels(settings) if "://" in url))
    found.extra_index_urls = tuple(urls)
    if str(settings.get("ssl_verify", True)).lower() in _NO_CHECK:
        hosts = dict.fromkeys(host for url in urls if (host := urlsplit(url).hostname))
        # Without an address of its own it fetches from those that conda knows.
        found.requirements += [f"--trusted-host {host}" for host in hosts or ["*"]]
    return found


def _channels(settings: Mapping[str, Any]) -> Iterator[str]:
    for name in ("channels", "default_channels", "whitelist_channels", "allowlist_channels"):
        yield from _listed(settings.get(name))
    if alias := word(settings.get("channel_alias")):
        yield alias
    for name in ("custom_channels", "custom_multichannels"):
        for value in table(settings.get(name)).values():
            yield from _listed(value)


def _listed(value: Any) -> list[str]:  # noqa: ANN401 -- any value of YAML
    return [value] if isinstance(value, str) else texts(value)

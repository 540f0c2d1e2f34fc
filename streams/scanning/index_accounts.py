"""Reads accounts of package indexes and stores as configurations: of twine, Poetry, npm, DVC ..."""

from __future__ import annotations

import tomllib
from typing import Any
from urllib.parse import quote, urlsplit

from agents.checks.pipelines.secrets import find_secret, is_reference
from agents.domain.toml_reader import read_toml
from streams.adapters.manifests.found import table
from streams.adapters.manifests.ini_text import read_ini
from streams.adapters.payload import refuse

_PASSWORD = "password"  # noqa: S105 -- the name of a setting
_NPM_PASSWORDS = frozenset({"_authToken", "_auth", "_password"})
_NETRC = {"login": "username", "password": _PASSWORD, "account": "account"}


def read_pypirc(raw: bytes) -> dict[str, Any]:
    """Return the settings of a .pypirc by index.

    Raises:
        UnreadableRecordError: it is no INI file.

    Source: the .pypirc specification of the Python Packaging User Guide.
    """
    settings: dict[str, Any] = {name: {**given} for name, given in read_ini(raw, ".pypirc").items()}
    for name, given in settings.items():
        _show_password(given, _host(given.get("repository", ""), name))
    return settings


def _host(address: str, name: str) -> str:
    try:
        return urlsplit(address).hostname or name
    except ValueError as error:
        raise refuse(
            f"[{name}] repository: {address[:100]!r} is no address: {str(error)[:100]}"
        ) from error


def read_netrc(raw: bytes) -> dict[str, Any]:
    """Return the accounts of a .netrc by host; macros are left out.

    Raises:
        UnreadableRecordError: it is no text, or an entry has no value.

    Source: the .netrc format of GNU inetutils, which pip, uv and git read.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse("not .netrc: it is no text in UTF-8") from error
    settings: dict[str, Any] = {}
    given: dict[str, Any] = {}
    macro = False
    for number, line in enumerate(text.splitlines(), 1):
        if macro:
            macro = bool(line.strip())
            continue
        words = iter(() if line.lstrip().startswith("#") else line.split())
        for word in words:
            if word == "macdef":
                macro = True
                break
            value = "default" if word == "default" else next(words, None)
            if value is None:
                raise refuse(f"not .netrc: line {number} ends after {word[:40]!r}")
            if word in {"machine", "default"}:
                given = settings.setdefault(value, {})
            elif word in _NETRC:
                given[_NETRC[word]] = value
    for host, account in settings.items():
        _show_password(account, host)
    return settings


def read_npmrc(raw: bytes) -> dict[str, Any]:
    """Return the settings of an .npmrc, those of a registry by its host.

    Raises:
        UnreadableRecordError: it is no text.

    Source: npm's `npmrc` reference: `//registry/:_authToken=token`.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse("not .npmrc: it is no text in UTF-8") from error
    settings: dict[str, Any] = {}
    for line in text.splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or line.lstrip().startswith((";", "#")):
            continue
        value = value.strip("\"'")
        registry, colon, setting = name.rpartition(":")
        setting = setting if colon or name in _NPM_PASSWORDS else ""
        if setting in _NPM_PASSWORDS:
            account = settings.setdefault(registry or "registry", {})
            account[_PASSWORD] = value
            _show_password(account, _host(f"https:{registry}", "registry"))
        elif name == "strict-ssl":
            settings["verify_ssl"] = value != "false"
        else:
            settings[name] = value
    return settings


def read_dvc(raw: bytes) -> dict[str, Any]:
    """Return the settings of DVC by section.

    Raises:
        UnreadableRecordError: it is no INI file.

    Source: DVC's reference of `config` and `remote modify`.
    """
    settings: dict[str, Any] = {name: {**given} for name, given in read_ini(raw, "config").items()}
    for name, given in settings.items():
        _show_password(given, _host(given.get("url", ""), name))
        if str(given.pop("ssl_verify", "")).lower() in {"false", "no", "0", "off"}:
            given["verify_ssl"] = False
    return settings


def read_tool_settings(raw: bytes) -> dict[str, Any]:
    """Return the settings of a poetry.toml or pdm.toml.

    Raises:
        UnreadableRecordError: it is no TOML.

    Source: Poetry's and PDM's configuration references.
    """
    try:
        settings = read_toml(raw.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise refuse(f"no TOML: {str(error)[:200]}") from error
    for accounts in (settings, table(settings.get("http-basic"))):
        for name, given in accounts.items():
            _show_password(table(given), name)
    for given in table(settings.get("certificates")).values():
        if table(given).get("cert") is False:
            given["verify_ssl"] = False  # Poetry's way to turn the check off
    return settings


def _show_password(given: dict[str, Any], host: str) -> None:
    """Write a password as part of an address, if its text alone does not look like a secret.

    Elsewhere a plain word is not a secret; here the setting has no other meaning.
    """
    value = given.get(_PASSWORD)
    if not isinstance(value, str) or not value or is_reference(value):
        return
    if find_secret(_PASSWORD, value) is None:
        user = quote(str(given.get("username") or "user"), safe="")
        given[_PASSWORD] = f"https://{user}:{quote(value, safe='')}@{host}/"

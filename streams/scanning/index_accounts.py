"""Reads the accounts of package indexes in settings of twine, Poetry and PDM as configurations."""

from __future__ import annotations

import tomllib
from typing import Any
from urllib.parse import quote, urlsplit

from agents.checks.pipelines.secrets import find_secret, is_reference
from streams.adapters.manifests.found import table
from streams.adapters.manifests.ini_text import read_ini
from streams.adapters.payload import refuse

_PASSWORD = "password"  # noqa: S105 -- the name of a setting


def read_pypirc(raw: bytes) -> dict[str, Any]:
    """Return the settings of a .pypirc by index.

    Raises:
        UnreadableRecordError: it is no INI file.

    Source: the .pypirc specification of the Python Packaging User Guide.
    """
    settings: dict[str, Any] = {name: {**given} for name, given in read_ini(raw, ".pypirc").items()}
    for name, given in settings.items():
        _show_password(given, urlsplit(given.get("repository", "")).hostname or name)
    return settings


def read_tool_settings(raw: bytes) -> dict[str, Any]:
    """Return the settings of a poetry.toml or pdm.toml.

    Raises:
        UnreadableRecordError: it is no TOML.

    Source: Poetry's and PDM's configuration references.
    """
    try:
        settings = tomllib.loads(raw.decode("utf-8-sig"))
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

"""Builds tenants' fetchers: the operator's rules and secrets joined with each policy.

The file of secrets is TOML, one table for each reference that policies name:

    [secrets."secret-ref:tenant-a-fetch"]
    tenants = ["tenant-a"]
    hosts = ["huggingface.co"]
    token = "env:TENANT_A_HUB_TOKEN"

A value may be written out, or be `env:NAME` or `file:PATH`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from agents.fetching.fetch_scope import Credentials, FetchRules, tenant_reach
from agents.fetching.fetcher import Fetcher
from agents.logs import Logger
from schemas.conversion import Converter
from schemas.policy import Policy
from streams.settings import Settings, SettingsError

_log = Logger(__name__)
_SAID: Final = 1000
"""Problems that are logged once each."""
_SECRETS = ("token", "username", "password", "access_key", "secret_key", "session_token")


class FetchSecrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that `fetch_credentials` names."""

    secrets: dict[str, Credentials] = {}
    """The secrets by the reference that policies name."""


_FILE: Final = Converter(FetchSecrets)


def fetch_rules(settings: Settings) -> FetchRules:
    """Return the operator's rules of fetching."""
    return FetchRules(
        schemes=settings.fetch_schemes,
        private_hosts=settings.fetch_private_hosts,
        redirect_hosts=settings.fetch_redirect_hosts,
        hub=settings.fetch_hub,
        fsspec_schemes=settings.fetch_fsspec_schemes,
        total_seconds=settings.fetch_seconds,
        bytes_per_second=settings.fetch_bytes_per_second,
    )


def _resolve(text: str | None, where: str) -> str | None:
    if text is None:
        return None
    kind, colon, rest = text.partition(":")
    if colon and kind == "env":
        value = os.environ.get(rest)
        if value is None:
            raise SettingsError(f"variable {rest} is not set", where=where, remedy="set it")
        return value
    if colon and kind == "file":
        try:
            return Path(rest).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"file {rest} can't be read", where=where) from error
    return text


def read_credentials(path: Path | None) -> dict[str, Credentials]:
    """Return the secrets of a file by their reference; none for no file.

    Raises:
        SettingsError: the file, or what it refers to, can't be read.
    """
    resolved: dict[str, Credentials] = {}
    for reference, credentials in read_tables(path).items():
        secrets = {name: _resolve(getattr(credentials, name), reference) for name in _SECRETS}
        hosts = credentials.hosts
        if (
            credentials.endpoint
            and (host := urlsplit(credentials.endpoint).netloc)
            and host not in hosts
        ):
            hosts = (*hosts, host)
        resolved[reference] = msgspec.structs.replace(credentials, hosts=hosts, **secrets)
    return resolved


def read_tables(path: Path | None) -> dict[str, Credentials]:
    """Return the tables of a file of secrets by their reference, as written; none for no file.

    Raises:
        SettingsError: the file can't be read, or is not one.
    """
    if path is None:
        return {}
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        unknown = _unknown_names(document)
        if unknown:
            raise SettingsError(
                f"unknown settings in the file of secrets: {', '.join(unknown)}",
                where=str(path),
                remedy=f"settings of a table are {', '.join(Credentials.__struct_fields__)}",
            )
        return _FILE(document).secrets
    except OSError as error:
        raise SettingsError(
            f"file of secrets can't be read ({error.strerror})", where=str(path)
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        # The parser's own message may quote the line, and the line may be a secret.
        raise SettingsError(
            "not a file of secrets",
            where=str(path),
            remedy='tables [secrets."reference"] with tenants, hosts and token or keys',
        ) from error


def _unknown_names(document: dict[str, Any]) -> list[str]:
    """Return the names that no table of secrets has: a misspelt one would have no effect."""
    tables = document.get("secrets")
    return [
        f"{reference}.{name}"
        for reference, table in (tables.items() if isinstance(tables, dict) else ())
        for name in (table if isinstance(table, dict) else ())
        if name not in Credentials.__struct_fields__
    ]


def credentials_problem(policy: Policy, known: Mapping[str, Credentials]) -> str | None:
    """Return why a policy's reference to credentials has no effect, None if it has one.

    Args:
        policy: The policy.
        known: The tables of secrets by their reference.
    """
    reference = policy.credentials
    if reference is None:
        return None
    own = sorted(name for name, table in known.items() if policy.tenant in table.tenants)
    if reference in own:
        return None
    names = ", ".join(own) or "none"
    why = "is for other tenants" if reference in known else "is no table of the file of secrets"
    return f"credentials: {reference[:100]!r} {why}; those for {policy.tenant} are: {names}"


def open_fetcher(
    settings: Settings, credentials: Mapping[str, Credentials] | None = None
) -> Callable[[Policy], Fetcher]:
    """Return a function that opens a tenant's fetcher by its policy; secrets are read once, here.

    Args:
        settings: The operator's rules and the file of secrets.
        credentials: Secrets by reference, instead of the file's.

    Raises:
        SettingsError: the file of secrets can't be read.
    """
    rules = fetch_rules(settings)
    known = read_credentials(settings.fetch_credentials) if credentials is None else credentials

    said: set[str] = set()

    def open_for(policy: Policy) -> Fetcher:
        problem = credentials_problem(policy, known)
        if problem and problem not in said and len(said) < _SAID:
            said.add(problem)
            _log.warning("fetch_credentials", tenant=policy.tenant, problem=problem)
        return Fetcher(tenant_reach(policy, rules, known))

    return open_for

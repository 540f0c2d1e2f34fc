"""The configuration of the console: its address, sessions and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from schemas.errors import TidewatchError
from schemas.toml_config import ConfigReader
from streams.console.tables import RowLimits
from streams.console.viewer import Role
from streams.http.listening import LOOPBACK, Limits, Listen, check_listen

PORT: Final = 9420


class ConsoleConfigError(TidewatchError):
    """A configuration that is invalid or inconsistent."""


class ConsoleListen(Listen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address of the console, and its certificates."""

    port: int = PORT
    """The port; 0 takes a free one, which is logged."""


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a session lasts."""

    idle_seconds: float = 8 * 3600.0
    """How long a session may be unused."""
    most_seconds: float = 24 * 3600.0
    """The longest time that a session lasts."""


class OpenIdConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The OpenID provider at which people sign in, and the meaning of its claims."""

    issuer: str
    """The provider's issuer, exactly as its metadata has it."""
    client_id: str
    """The console's client id at the provider."""
    client_secret: str
    """The client's secret, by reference: `file:PATH` or `env:NAME`."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """The requested scopes."""
    name_claim: str = "email"
    """The claim that names a person in decisions. An address counts only if it is verified."""
    roles_claim: str = "groups"
    """The claim whose values give roles; a path has full stops, as in `realm_access.roles`."""
    roles: dict[str, Role]
    """The role of each value; people with none of them are refused."""
    tenants_claim: str = "groups"
    """The claim whose values give tenants."""
    tenants: dict[str, tuple[str, ...]]
    """The tenants of each value; `*`: all tenants and the operator's records."""
    ca: Path | None = None
    """PEM file of the authorities that sign the provider's certificate; by default the system's."""


class IntelligenceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The intelligence that can be imported in the console."""

    key: Path | None = None
    """PEM file of the Ed25519 key of the feeds' publisher. With it, only files with a manifest
    signed by this key can be imported, not pasted text.
    """

    def read_key(self) -> bytes | None:
        """Return the key, None if feeds need not be signed.

        Raises:
            ConsoleConfigError: It can't be read.
        """
        try:
            return None if self.key is None else self.key.read_bytes()
        except OSError as error:
            raise ConsoleConfigError(
                f"the public key of feeds can't be read ({error.strerror})",
                where=f"intelligence.key {self.key}",
                remedy="name a readable PEM file",
            ) from error


class ConsoleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one console."""

    url: str = ""
    """Its public address, if it is behind a proxy; by default that of `listen`."""
    listen: ConsoleListen = ConsoleListen()
    """Where it listens."""
    limits: Limits = Limits(connections=512, connections_per_address=128)
    """Limits of its connections."""
    session: SessionConfig = SessionConfig()
    """How long a session lasts."""
    oidc: OpenIdConfig | None = None
    """The OpenID provider; without one a one-time link signs in this machine's user."""
    gateway: Path | None = None
    """The gateway's TOML file, for the page that shows the address and secret to paste at each
    producer and tests the endpoint; the console must be able to read the secrets that it names.
    """
    intelligence: IntelligenceConfig = IntelligenceConfig()
    """The intelligence that can be imported here."""
    index: RowLimits = RowLimits()
    """The limits of the index for each tenant."""


def _contradiction(config: ConsoleConfig) -> str | None:
    """Return an inconsistency in a configuration of valid types, None if there is none."""
    if config.url and not config.url.startswith(("https://", "http://")):
        return "url does not begin with https:// or http://"
    for field in msgspec.structs.fields(RowLimits):
        if not getattr(config.index, field.name) > 0:
            return f"index.{field.name} is not above 0"
    for field in msgspec.structs.fields(SessionConfig):
        if not getattr(config.session, field.name) > 0:
            return f"session.{field.name} is not above 0"
    if config.oidc is not None:
        problem = _openid_problem(config, config.oidc)
        if problem:
            return problem
    elif config.listen.host not in LOOPBACK:
        return (
            "listen.host is not loopback: the one-time link signs in this machine's user alone; "
            "set oidc"
        )
    return check_listen(config.listen, config.limits)


def reached_safely(address: str) -> bool:
    """Return whether an address is https, or of this machine.

    Args:
        address: The address.
    """
    parts = urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in LOOPBACK
    return bool(parts.hostname) and (parts.scheme == "https" or local) and not parts.fragment


def _openid_problem(config: ConsoleConfig, oidc: OpenIdConfig) -> str | None:
    if not reached_safely(oidc.issuer) or urlsplit(oidc.issuer).query:
        return "oidc.issuer is not https"
    if not oidc.client_id:
        return "oidc.client_id is empty"
    if "openid" not in oidc.scopes:
        return "oidc.scopes lacks openid"
    if not oidc.roles or not oidc.tenants:
        return "oidc.roles and oidc.tenants decide who may sign in, and one is empty"
    if not config.url and (config.listen.host not in LOOPBACK or not config.listen.port):
        return "oidc needs url: the provider sends browsers back to it"
    if config.url and not reached_safely(config.url):
        return "url is not https: others on the network could read sessions"
    return None


_READER: Final = ConfigReader(
    ConsoleConfig,
    what="the console",
    example="deploy/console.example.toml",
    error=ConsoleConfigError,
    problem=_contradiction,
)
read_config: Final = _READER.read
load_config: Final = _READER.load

"""The configuration of the TAXII server: its address, and the rights of each reader."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from schemas.cloudevents import ID_LIMIT
from schemas.errors import TidewatchError
from schemas.severity import Tlp
from schemas.toml_config import ConfigReader
from streams.http.listening import Limits, Listen, check_listen
from streams.http.secrets import Tokens, read_secrets
from streams.taxii.shelf import DEFAULT_OBJECTS, TLP_ORDER, Collection

NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
PORT: Final = 9410
MOST_PAGE: Final = 10_000


class TaxiiConfigError(TidewatchError):
    """A configuration that is invalid or inconsistent."""


class TaxiiReader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A partner or tenant that may read, and up to which marking."""

    name: str
    """Its name; the user name if a client authenticates by password (HTTP Basic)."""
    token: str
    """Its secret by reference, `env:NAME` or `file:PATH`; a file has one per line, newest first."""
    tlp: Tlp
    """The strictest marking that it may read; it may read all less strict ones too."""
    tenant: str = ""
    """The tenant whose own indicators it also reads; empty: none."""

    @property
    def collections(self) -> tuple[Collection, ...]:
        """The collections that it may read: shared ones, and its tenant's own indicators."""
        whose = dict.fromkeys(("", self.tenant))
        return tuple(Collection(tlp, tenant) for tenant in whose for tlp in self.markings)

    @property
    def markings(self) -> tuple[Tlp, ...]:
        """The markings that it may read."""
        return TLP_ORDER[: TLP_ORDER.index(self.tlp) + 1]


class TaxiiListen(Listen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address of the server, and its certificates."""

    port: int = PORT
    """The port; 0 takes a free one, which the log names."""


class TaxiiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one TAXII server."""

    title: str = "Tidewatch"
    """The name that clients show."""
    contact: str = ""
    """The contact of its operator."""
    url: str = ""
    """Its address as clients reach it, behind a proxy; by default that of each request."""
    page: int = 500
    """Most objects per answer; a client may ask for fewer."""
    objects: int = DEFAULT_OBJECTS
    """Most versions of objects kept in memory for each marking; the oldest go first."""
    readers: tuple[TaxiiReader, ...]
    """The readers."""
    listen: TaxiiListen = TaxiiListen()
    """Where it listens."""
    limits: Limits = Limits()
    """Limits of its connections."""


def read_tokens(config: TaxiiConfig) -> Tokens[TaxiiReader]:
    """Return the tokens of the readers.

    Raises:
        TidewatchError: A secret can't be read, is too short, or is that of two readers.
    """
    tokens: Tokens[TaxiiReader] = Tokens()
    for reader in config.readers:
        where = f"readers.{reader.name}.token"
        for secret in read_secrets(reader.token, where):
            tokens.add(secret, reader, where)
    return tokens


def _contradiction(config: TaxiiConfig) -> str | None:
    """Return an inconsistency in a configuration of valid types, None if there is none."""
    if not config.readers:
        return "readers: there is none"
    names = [reader.name for reader in config.readers]
    for name in names:
        if not NAME.fullmatch(name):
            return f"readers: {name!r} has other characters than letters, digits and ._@-"
    if len(set(names)) != len(names):
        return "readers: two have the same name"
    if any(reader.tenant != reader.tenant.strip() for reader in config.readers):
        return "readers: a tenant begins or ends with a blank"
    if any(len(reader.tenant) > ID_LIMIT for reader in config.readers):
        return "readers: a tenant is too long"
    if not 1 <= config.page <= MOST_PAGE:
        return f"page is not between 1 and {MOST_PAGE}"
    if config.objects < 1:
        return "objects is not above 0"
    if config.url and not config.url.startswith(("https://", "http://")):
        return "url does not begin with https:// or http://"
    return check_listen(config.listen, config.limits)


_READER: Final = ConfigReader(
    TaxiiConfig,
    what="the TAXII server",
    example="deploy/taxii.example.toml",
    error=TaxiiConfigError,
    problem=_contradiction,
)
read_config: Final = _READER.read
load_config: Final = _READER.load

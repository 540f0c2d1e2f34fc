"""The configuration of the console: where it listens, how long a session lasts, what it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import TidewatchError
from schemas.toml_config import ConfigReader
from streams.console.index import Limits as IndexLimits
from streams.http.listening import LOOPBACK, Limits, Listen, check_listen

PORT: Final = 9420


class ConsoleConfigError(TidewatchError):
    """A configuration that is invalid or contradicts itself."""


class Address(Listen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address of the console, and its certificates."""

    port: int = PORT
    """The port; 0 takes a free one, which the log names."""


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long somebody stays signed in."""

    idle_seconds: float = 8 * 3600.0
    """How long a session may be unused."""
    most_seconds: float = 24 * 3600.0
    """How long a session lasts in any case."""


class ConsoleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one console."""

    url: str = ""
    """Its address as browsers reach it, behind a proxy; by default that of `listen`."""
    listen: Address = Address()
    """Where it listens."""
    limits: Limits = Limits(connections=512, connections_per_address=128)
    """What it spends on those who connect."""
    session: SessionConfig = SessionConfig()
    """How long somebody stays signed in."""
    index: IndexLimits = IndexLimits()
    """What the index keeps of each tenant."""


def _contradiction(config: ConsoleConfig) -> str | None:
    """Return what is wrong in a configuration whose types are right."""
    if config.url and not config.url.startswith(("https://", "http://")):
        return "url does not begin with https:// or http://"
    for field in msgspec.structs.fields(IndexLimits):
        if not getattr(config.index, field.name) > 0:
            return f"index.{field.name} is not above 0"
    for field in msgspec.structs.fields(SessionConfig):
        if not getattr(config.session, field.name) > 0:
            return f"session.{field.name} is not above 0"
    if config.listen.host not in LOOPBACK:
        return "listen.host is not loopback: the one-time link signs in this machine's user alone"
    return check_listen(config.listen, config.limits)


_READER: Final = ConfigReader(
    ConsoleConfig,
    what="the console",
    example="deploy/console.example.toml",
    error=ConsoleConfigError,
    problem=_contradiction,
    path=lambda text: Path(text).expanduser(),
)
read_config: Final = _READER.read
load_config: Final = _READER.load

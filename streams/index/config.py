"""The configuration of the index: its upstream index, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import msgspec

from schemas.components import canonical_package
from schemas.errors import TidewatchError
from schemas.severity import Severity
from schemas.toml_config import ConfigReader
from streams.http.decisions import OnUnknown
from streams.http.listening import Limits, Listen, check_listen
from streams.http.secrets import read_secrets

PORT: Final = 9440
MIB: Final = 1024 * 1024
PIP_SECONDS: Final = 60
_CONFIGURED: Final = (
    "from pip._internal.commands import create_command;"
    "print(create_command('download').parser.get_default_values().index_url)"
)
"""Prints the index that pip itself would use, by its files and environment."""


class IndexConfigError(TidewatchError):
    """A configuration that is invalid or inconsistent."""


class IndexListen(Listen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address of the index, and its certificates."""

    port: int = PORT
    """The port; 0 takes a free one, which the log names."""


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The upstream index."""

    url: str = ""
    """Its `simple` URL, without credentials; by default the one that pip is configured with."""
    username: str = ""
    """The user name, if it requires one."""
    password: str = ""
    """The password by reference, `env:NAME` or `file:PATH`."""
    ca: Path | None = None
    """PEM file of the authorities to trust; the system's by default."""
    private_hosts: tuple[str, ...] = ()
    """Hosts, `host:port` or networks that files may come from although they are not public, besides
    the index's own."""
    page_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 32 * MIB
    """Largest page of a project."""
    file_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 16 * 1024 * MIB
    """Largest file."""
    connections: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    """Most requests to it at once; further ones wait."""
    connect_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """How long a connection may take."""
    read_seconds: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    """The longest pause between received bytes."""
    page_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """How long a page may take in all."""
    kept_seconds: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    """How long a page is answered from memory."""
    kept_bytes: Annotated[int, msgspec.Meta(ge=0)] = 64 * MIB
    """Bytes of pages kept in memory, as they were sent."""


class IndexConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one index."""

    tenant: str
    """The tenant whose policy applies: its own names are not requested upstream, and components
    that it blocks are refused.
    """
    imitations: Severity = Severity.HIGH
    """Typosquats of well-known names are refused from this severity on."""
    min_age_days: Annotated[float, msgspec.Meta(ge=0, le=3650)] = 3.0
    """Files uploaded more recently than this are refused; 0: none."""
    unknown: OnUnknown = OnUnknown.REFUSE
    """What to do with files whose upload time the index does not give, if a
    minimum age is set, or that have no SHA-256 to check."""
    allow: tuple[str, ...] = ()
    """Projects that may be recent and have any name; known bad releases are still refused."""
    upstream: Upstream = Upstream()
    """The upstream index."""
    listen: IndexListen = IndexListen()
    """Where it listens."""
    limits: Limits = Limits()
    """Limits of its connections."""

    @property
    def allowed(self) -> frozenset[str]:
        """The allowed projects by their canonical names."""
        return frozenset(map(canonical_package, self.allow))


class UpstreamAddress(msgspec.Struct, frozen=True, kw_only=True):
    """The address of the upstream index, and its credentials."""

    url: str
    """With a slash at its end, without credentials."""
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Return it without the password."""
        return f"UpstreamAddress({self.url!r})"


def target_of(upstream: Upstream) -> UpstreamAddress:
    """Return where the upstream index is.

    Args:
        upstream: The configuration; without a URL pip says which index it asks.

    Raises:
        TidewatchError: pip is not there or names none, or the password can't be read.
    """
    url = upstream.url or _configured()
    parts = _parts(url)
    if parts is None:
        raise TidewatchError(
            "the upstream index is not an http:// or https:// URL",
            where="upstream.url" if upstream.url else "pip's configuration",
            remedy="set upstream.url",
        )
    username, password = upstream.username, ""
    if upstream.password:
        password = read_secrets(upstream.password, "upstream.password")[0]
    elif parts.username and not username:
        username, password = unquote(parts.username), unquote(parts.password or "")
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return UpstreamAddress(
        url=urlunsplit(bare).rstrip("/") + "/", username=username, password=password
    )


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        return None
    return parts if known else None


def _configured() -> str:
    """Return the index that pip is configured with on this machine."""
    try:
        done = subprocess.run(  # noqa: S603 -- this interpreter and a constant
            [sys.executable, "-c", _CONFIGURED],
            capture_output=True,
            text=True,
            timeout=PIP_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        done = None
    found = done.stdout.strip() if done is not None and done.returncode == 0 else ""
    if not found:
        raise TidewatchError(
            "pip has no index configured",
            where="upstream.url",
            remedy="set upstream.url, or install pip beside tidewatch",
        )
    return found


def _contradiction(config: IndexConfig) -> str | None:
    if not config.tenant.strip():
        return "tenant is empty"
    upstream = config.upstream
    if upstream.url:
        parts = _parts(upstream.url)
        if parts is None:
            return "upstream.url is not an http:// or https:// URL"
        if parts.username or parts.password:
            return "upstream.url has credentials: name them as upstream.username and .password"
    if bool(upstream.username) != bool(upstream.password):
        return "upstream.username and upstream.password belong together"
    return check_listen(config.listen, config.limits)


_READER: Final = ConfigReader(
    IndexConfig,
    what="the index",
    example="deploy/index.example.toml",
    error=IndexConfigError,
    problem=_contradiction,
)
read_config: Final = _READER.read
load_config: Final = _READER.load

"""The fetch scope of a tenant: its schemes, hosts, roots and credentials."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import msgspec

from agents.fetching.errors import RefusedError
from schemas.policy import Policy

MAX_URI: Final = 8192
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]*")
_WITH_REVISION: Final = frozenset({"hf", "oci", "mlflow"})
"""Schemes in which `name@revision` is of the repository `name`; elsewhere it is another name."""
_HTTP: Final = frozenset({"http", "https"})
MAX_PORT: Final = 65535


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets behind a reference, and the hosts they may be sent to. Never logged."""

    tenants: tuple[str, ...]
    """The tenants whose policy may refer to them."""
    hosts: tuple[str, ...] = ()
    """Hosts (`name` or `name:port`) the token or password may be sent to."""
    token: str | None = None
    """A token, sent as `Authorization: Bearer`."""
    username: str | None = None
    """The user name of HTTP Basic, where there is no token."""
    password: str | None = None
    """The password of HTTP Basic."""
    access_key: str | None = None
    """The id of an access key, for `s3://`."""
    secret_key: str | None = None
    """The secret of the access key."""
    session_token: str | None = None
    """The session token of a temporary access key."""
    region: str = "us-east-1"
    """The region of the store, for `s3://`."""
    endpoint: str | None = None
    """Of an S3-compatible store, `https://host[:port]`; its host is then one of `hosts`."""
    options: dict[str, str] = {}
    """Options for an fsspec implementation."""

    def __repr__(self) -> str:
        """Hide the secrets."""
        return f"Credentials(tenants={self.tenants!r}, hosts={self.hosts!r})"


class FetchRules(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that the operator sets for all tenants: schemes, hosts, times, sizes."""

    schemes: frozenset[str] = frozenset({"file", "https", "s3", "oci", "hf", "mlflow"})
    private_hosts: tuple[str, ...] = ()
    """Hosts, addresses or networks that may be reached although they are not public."""
    redirect_hosts: tuple[str, ...] = (".hf.co", "cdn-lfs.huggingface.co")
    """Hosts that a redirect may lead to: a name, or `.suffix` for its subdomains."""
    hub: str = "https://huggingface.co"
    """The model hub behind `hf://`."""
    fsspec_schemes: frozenset[str] = frozenset()
    """Further schemes, read by an installed fsspec implementation with the tenant's options."""
    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    bytes_per_second: int = 16 << 10
    """The minimum average speed of a server after `slow_seconds`."""
    slow_seconds: float = 20.0
    """Time for an answer to begin, including headers, and to reach its speed."""
    total_seconds: float = 3600.0
    """Total time for one file, listing or answer, including all attempts and ranges."""
    attempts: int = 3
    """Attempts of a request before it fails, with exponential back-off."""
    backoff_seconds: float = 0.5
    spool_bytes: int = 2 << 30
    """Most bytes spooled from a server without range requests; a larger body is refused."""


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed URI in canonical form."""

    scheme: str
    host: str
    """The authority in lower case: a host with port, a bucket; empty for files."""
    path: str
    """Decoded, absolute, without dot segments."""
    query: str = ""
    fragment: str = ""

    @property
    def uri(self) -> str:
        """The location without its query, for messages: a query may hold a signature."""
        # a hub's location has no host: its path begins with the organisation
        path = self.path.lstrip("/") if self.scheme == "hf" else self.path
        return f"{self.scheme}://{self.host}{path}"


def parse_location(uri: str) -> Location:
    """Return a URI in canonical form.

    Raises:
        RefusedError: the URI is ambiguous, names a user, or has dot segments.
    """
    plain = uri.partition("?")[0]
    chained = "::" in plain.partition("[")[0]
    if len(uri) > MAX_URI or not uri.isprintable() or "\\" in uri or chained:
        raise RefusedError("the location can't be read safely", where=uri[:120])
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise RefusedError("the location can't be read", where=uri[:120]) from error
    scheme = parts.scheme.lower()
    if not _SCHEME.fullmatch(scheme):
        raise RefusedError("the location has no scheme", where=uri[:120])
    authority = parts.netloc
    if scheme == "hf":
        # In org/name@revision the "@" marks the revision, not a user.
        authority, path = "", f"/{parts.netloc}{parts.path}"
    else:
        path = parts.path
        if "@" in authority or not _HOST.fullmatch(authority):
            raise RefusedError("the location contains a user or an invalid host", where=uri[:120])
    if port is not None and not 0 < port <= MAX_PORT:
        raise RefusedError("the location has an invalid port", where=uri[:120])
    if scheme == "file":
        if authority not in {"", "localhost"}:
            raise RefusedError("a file of another host", where=uri[:120])
        authority = ""
    return Location(
        scheme=scheme,
        host=authority.lower() if scheme != "s3" else authority,
        path=_plain_path(path, uri),
        query=parts.query,
        fragment=parts.fragment,
    )


def parse_relative(base: str, reference: str) -> Location:
    """Return the target of a server's redirect or link, in canonical form.

    Args:
        base: The requested URI.
        reference: The server's reference, absolute or relative to `base`.

    Raises:
        RefusedError: it is not a reference, or leads to a URI that `parse_location` refuses.
    """
    try:
        joined = urljoin(base, reference)
    except ValueError as error:
        raise RefusedError("the server refers to an invalid URI", where=base[:120]) from error
    return parse_location(joined)


def _plain_path(path: str, uri: str) -> str:
    try:
        decoded = unquote_to_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise RefusedError("the path is not UTF-8", where=uri[:120]) from error
    if not decoded.isprintable() or "\\" in decoded:
        raise RefusedError("the path contains control characters", where=uri[:120])
    # some servers treat the part after a semicolon as parameters, and go up on "..;"
    segments = [segment.partition(";")[0] for segment in decoded.split("/")]
    if any(segment in {".", ".."} for segment in segments):
        raise RefusedError("the path contains ..", where=uri[:120])
    plain = posixpath.normpath("/" + decoded)
    return "/" + plain.lstrip("/")


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's allow-list combined with the operator's rules."""

    tenant: str
    rules: FetchRules
    roots: tuple[Location, ...] = ()
    credentials: Credentials | None = None

    def admit(self, uri: str) -> Location:
        """Parse a URI and check it against the allow-list.

        Raises:
            RefusedError: the URI is outside the tenant's roots, or its scheme is not allowed.
        """
        location = parse_location(uri)
        allowed = self.rules.schemes | self.rules.fsspec_schemes
        if location.scheme not in allowed:
            raise RefusedError(
                f"the scheme {location.scheme!r} is not allowed",
                where=location.uri[:200],
                remedy="the operator can name it in the setting fetch_schemes",
            )
        if self.root_of(location) is None:
            raise RefusedError(
                "the location is outside the tenant's roots",
                where=location.uri[:200],
                remedy="add a root to the tenant's policy",
            )
        return location

    def root_of(self, location: Location) -> Location | None:
        """Return the root that contains a location, or None."""
        for root in self.roots:
            if root.scheme != location.scheme or root.host != location.host:
                continue
            base = root.path.rstrip("/")
            below = (f"{base}/", f"{base}@") if root.scheme in _WITH_REVISION else (f"{base}/",)
            if location.path == base or location.path.startswith(below):
                return root
        return None

    def admits_redirect(self, location: Location) -> bool:
        """Return whether a redirect may lead to a location: below a root, or on an allowed host."""
        if location.scheme not in _HTTP or location.scheme not in self.rules.schemes:
            return False
        if self.root_of(location) is not None:
            return True
        name = location.host.partition(":")[0]
        return location.scheme == "https" and any(
            name.endswith(host) if host.startswith(".") else host in {name, location.host}
            for host in self.rules.redirect_hosts
        )

    def secrets_for(self, host: str) -> Credentials | None:
        """Return the tenant's credentials if they may be sent to `host`."""
        found = self.credentials
        return found if found is not None and host in found.hosts else None


def tenant_reach(
    policy: Policy, rules: FetchRules, credentials: Mapping[str, Credentials]
) -> Reach:
    """Return the fetch scope of a tenant.

    Args:
        policy: The tenant's policy: its roots and its reference to credentials.
        rules: The operator's rules.
        credentials: The operator's secrets by reference. Secrets of other tenants are ignored, even
            if the policy names them.

    Raises:
        RefusedError: a root of the policy is invalid.
    """
    found = credentials.get(policy.credentials) if policy.credentials else None
    if found is not None and policy.tenant not in found.tenants:
        found = None
    return Reach(
        tenant=policy.tenant,
        rules=rules,
        roots=tuple(parse_location(root) for root in policy.roots),
        credentials=found,
    )

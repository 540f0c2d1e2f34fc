"""The address of an HTTP server, its certificates and its limits."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import TidewatchError

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
MAX_PORT: Final = 65535
BACKLOG: Final = 1024


class Listen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address of a server, and its certificates."""

    host: str = "127.0.0.1"
    """The address to listen on; by default loopback."""
    port: int = 8080
    """The port; 0 takes a free one, which the log names."""
    certificate: Path | None = None
    """PEM file of the server's certificate and its chain; with it the server accepts only TLS."""
    key: Path | None = None
    """PEM file of the certificate's key."""
    client_ca: Path | None = None
    """PEM file of the authorities whose client certificates are accepted, for mutual TLS."""
    plain_http: bool = False
    """Allow addresses other than loopback without TLS: use it only behind a proxy that terminates
    TLS."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one server's connections."""

    connections: int = 1024
    """Most connections at once; further ones are answered 503 and closed."""
    connections_per_address: int = 256
    """Most connections from one address; raise it behind a proxy, which all
    share."""
    head_bytes: int = 16 * 1024
    """Largest request line with headers."""
    body_bytes: int = 1024 * 1024
    """Largest body of a request."""
    head_seconds: float = 10.0
    """How long a TLS handshake, or a request's line and headers, may take."""
    body_seconds: float = 30.0
    """How long a request's body may take."""
    idle_seconds: float = 30.0
    """How long a connection may be idle between requests."""
    write_seconds: float = 30.0
    """How long a client may leave an answer unread before the connection is cut."""


def check_listen(listen: Listen, limits: Limits) -> str | None:
    """Return an inconsistency in the address or the limits, None if there is none."""
    if not 0 <= listen.port <= MAX_PORT:
        return f"listen.port is not between 0 and {MAX_PORT}"
    if (listen.certificate is None) != (listen.key is None):
        return "listen.certificate and listen.key belong together: give both or neither"
    if listen.client_ca is not None and listen.certificate is None:
        return "listen.client_ca asks for client certificates, which needs listen.certificate"
    if listen.host not in LOOPBACK and listen.certificate is None and not listen.plain_http:
        return (
            "listen.host is not loopback and no certificate is set: secrets would be readable; "
            "give listen.certificate and listen.key, or set listen.plain_http behind a TLS proxy"
        )
    for field in msgspec.structs.fields(Limits):
        if not getattr(limits, field.name) > 0:
            return f"limits.{field.name} is not above 0"
    return None


def open_socket(listen: Listen) -> socket.socket:
    """Return a bound and listening socket.

    Raises:
        TidewatchError: The port is taken, or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(BACKLOG)
            opened.setblocking(False)
        except OSError:
            opened.close()
            raise
    except OSError as error:
        raise TidewatchError(
            f"can't listen ({error.strerror or error})",
            where=f"listen.host and listen.port, {listen.host}:{listen.port}",
            remedy="name an address of this machine and a free port",
        ) from error
    return opened


def tls_context(listen: Listen) -> ssl.SSLContext | None:
    """Return the TLS context of a server, None without a certificate.

    A client certificate is optional on the connection: each endpoint says whether it demands one.

    Raises:
        TidewatchError: A file can't be loaded.
    """
    if listen.certificate is None:
        return None
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(listen.certificate, listen.key)
        if listen.client_ca is not None:
            context.load_verify_locations(listen.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (ssl.SSLError, OSError) as error:
        raise TidewatchError(
            "TLS files can't be loaded",
            where="listen.certificate, listen.key, listen.client_ca",
            remedy=f"check that they are PEM and belong together ({error.strerror or error})",
        ) from error
    return context

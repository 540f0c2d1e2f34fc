"""Decide which network addresses may be connected to: resolve, check and pin host names."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Final

from agents.fetching.errors import FetchError, RefusedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]
_PUBLIC_BUT_INTERNAL: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # served inside the machines of a cloud platform
            "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 serves metadata in a cloud
            "192.88.99.0/24",  # relays of 6to4, deprecated
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing inside a network
            "fec0::/10",  # site-local, deprecated
        ),
    )
)
"""Ranges that look public but lead inside; newer releases of Python know some of them."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_LOW_32: Final = (1 << 32) - 1


def system_resolver(host: str, port: int) -> list[str]:
    """Return the addresses of a host from the resolver of the operating system.

    Raises:
        FetchError: the name does not resolve.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError("the host does not resolve", where=host) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: Address) -> bool:
    """Return whether an address is on the public internet.

    An address that wraps IPv4 ones (mapped, 6to4, Teredo, NAT64) is public only if they are.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner: list[Address] = []
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None:
            inner.append(address.sixtofour)
        if address.teredo is not None:
            inner.extend(address.teredo)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & _LOW_32))
        if not all(is_public(wrapped) for wrapped in inner):
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _PUBLIC_BUT_INTERNAL)
    )


def _is_allowed(host: str, port: int, address: Address, private_hosts: Iterable[str]) -> bool:
    for allowed in private_hosts:
        if allowed.lower() in {host, f"{host}:{port}"}:
            return True
        try:
            if address in ipaddress.ip_network(allowed, strict=False):
                return True
        except ValueError:
            continue
    return False


def checked_address(
    host: str, port: int, private_hosts: Iterable[str], resolve: Resolver = system_resolver
) -> str:
    """Return the checked address of a host; connect to it without resolving again.

    Args:
        host: A name or an address, without port.
        port: The port.
        private_hosts: Hosts the operator allows although they are not public: names, `name:port`,
            addresses, networks.
        resolve: Resolves a name.

    Raises:
        FetchError: the name does not resolve.
        RefusedError: an address may not be reached. One of several is enough: DNS rebinding
            mixes public and internal addresses in an answer.
    """
    name = host.strip("[]").lower()
    allowed = tuple(private_hosts)
    answers = resolve(name, port)
    for answer in answers:
        try:
            address = ipaddress.ip_address(answer.partition("%")[0])
        except ValueError as error:
            raise FetchError("the host resolves to no address", where=host) from error
        if not is_public(address) and not _is_allowed(name, port, address, allowed):
            raise RefusedError(
                "the host resolves to an address that is not public",
                where=host,
                remedy="the operator can name it in the setting fetch_private_hosts",
            )
    if not answers:
        raise FetchError("the host does not resolve", where=host)
    return answers[0]

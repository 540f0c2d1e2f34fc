"""Package indexes and file hosts, parsed strictly: look-alikes of allowed ones do not match."""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit

import idna
import msgspec

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_URL_LIMIT: Final = 8192
_CONTROL_END: Final = 0x20
_DELETE: Final = 0x7F


class DownloadOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a download, without credentials, query or fragment."""

    scheme: str
    host: str
    """Lower-case, IDNA, without a trailing dot."""
    port: int | None
    path: str
    """Normalised, without a trailing slash."""
    userinfo: bool = False

    @property
    def url(self) -> str:
        """The origin as a URL without secrets."""
        shown = "" if self.port == _DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{self.host}{shown if self.port else ''}{self.path}"

    @property
    def is_local(self) -> bool:
        """Whether it is on the local host."""
        if self.scheme == "file" or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


@lru_cache(8192)
def read_origin(url: str) -> DownloadOrigin | None:
    """Return the origin of a URL, None if it is ambiguous.

    Backslashes, control characters, white space, percent-encoded or non-IDNA hosts and odd ports
    are refused: programs would connect to different hosts.
    """
    if not url or len(url) > _URL_LIMIT or "\\" in url:
        return None
    if any(ord(char) <= _CONTROL_END or ord(char) == _DELETE for char in url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower().rpartition("+")[2]
    if scheme == "file":
        return DownloadOrigin(scheme="file", host="", port=None, path=parts.path)
    host = (parts.hostname or "").rstrip(".")
    if not scheme or not host or "%" in host:
        return None
    if ":" not in host and not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            return None
    path = posixpath.normpath(unquote(parts.path)) if parts.path else ""
    return DownloadOrigin(
        scheme=scheme,
        host=host.lower(),
        port=port or _DEFAULT_PORTS.get(scheme),
        path="" if path in {"/", "."} else "/" + path.lstrip("/"),
        userinfo=parts.username is not None,
    )


def shown_origin(url: str) -> str:
    """Return a URL for evidence: no credentials, no query; a note if it can't be parsed."""
    origin = read_origin(url)
    return "unreadable URL" if origin is None else origin.url


def same_site(left: DownloadOrigin, right: DownloadOrigin) -> bool:
    """Return whether two origins are one server."""
    return (left.scheme, left.host, left.port) == (right.scheme, right.host, right.port)


def is_within(origin: DownloadOrigin, allowed: DownloadOrigin) -> bool:
    """Return whether an origin is at or below an allowed one: same server, path by segments."""
    if not same_site(origin, allowed):
        return False
    return origin.path == allowed.path or origin.path.startswith(f"{allowed.path}/")


@lru_cache(1024)
def read_indexes(urls: tuple[str, ...]) -> tuple[DownloadOrigin, ...]:
    """Return the origins of a policy's index URLs; unparsable URLs allow nothing."""
    found = (read_origin(url if "://" in url else f"https://{url}") for url in urls)
    return tuple(origin for origin in found if origin is not None)


def is_allowed(url: str, allowed: Iterable[DownloadOrigin]) -> bool:
    """Return whether a URL leads to one of the allowed origins."""
    origin = read_origin(url)
    return origin is not None and any(is_within(origin, base) for base in allowed)


def common_path(left: str, right: str) -> int:
    """Return how many leading path segments two paths share."""
    count = 0
    for segment, other in zip(left.split("/"), right.split("/"), strict=False):
        if segment != other:
            break
        count += 1
    return count

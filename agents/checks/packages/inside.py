"""Decides whether an internal index served a package."""

from __future__ import annotations

from agents.checks.packages.indexes import (
    DownloadOrigin,
    common_path,
    is_allowed,
    read_indexes,
    read_origin,
    same_site,
)
from agents.domain.hosts import imitates, read_address
from schemas.events import Package, PackageInstall
from schemas.policy import Policy


def _from_file_host(
    origin: DownloadOrigin, internal: tuple[DownloadOrigin, ...], known: tuple[DownloadOrigin, ...]
) -> bool | None:
    """Return whether an internal index served a file, by its URL; None if undecidable."""
    if origin.scheme == "file":
        return None
    here = [internal_origin for internal_origin in internal if same_site(origin, internal_origin)]
    if here:
        best = max(common_path(origin.path, own_origin.path) for own_origin in here)
        others = (
            known_origin
            for known_origin in known
            if same_site(origin, known_origin) and known_origin not in internal
        )
        return all(common_path(origin.path, other_origin.path) <= best for other_origin in others)
    if any(
        _same_family(origin, known_origin) for known_origin in known if known_origin not in internal
    ):
        return False
    # A file host beside an internal index (cdn.acme.example, packages.acme.example) is likely its
    # own; anything else is not.
    return None if any(_beside(origin, internal_origin) for internal_origin in internal) else False


def came_from_inside(package: Package, data: PackageInstall, policy: Policy) -> bool | None:
    """Return whether a package came from an internal index of the policy.

    Returns:
        True or False if the event shows it; None if it does not, or no index is declared.
    """
    if not policy.internal.indexes:
        return None
    internal = read_indexes(policy.internal.indexes)
    named = tuple(url for url in (data.index_url, *data.extra_index_urls) if url)
    known = read_indexes((*named, *policy.trusted.indexes))
    if package.index_url is not None:
        return is_allowed(package.index_url, internal) and not (
            _file_from_elsewhere(package, internal, known)
        )
    if package.editable:
        return None
    if package.url:
        origin = read_origin(package.url)
        if origin is None:
            return False
        if package.vcs is not None or package.direct:
            # Requested by URL: no index is involved; the reference is judged on its own.
            return None
        inside = _from_file_host(origin, internal, known)
        if (
            inside is not None
            and not inside
            and named
            and all(is_allowed(url, internal) for url in named)
        ):
            # Only internal indexes were queried; they may keep their files on another host, unless
            # that host is known to belong to another index.
            return not any(
                _same_family(origin, known_origin)
                for known_origin in known
                if known_origin not in internal
            )
        return inside
    if not named:
        return None
    allowed = [is_allowed(url, internal) for url in named]
    if all(allowed):
        return True
    return None if any(allowed) else False


def _file_from_elsewhere(
    package: Package, internal: tuple[DownloadOrigin, ...], known: tuple[DownloadOrigin, ...]
) -> bool:
    """Return whether an internal index sent the installer to a file that can't be its own.

    Such a file is of another known index (an index that merges others serves the public package of
    an internal name), at a host that imitates its own, or at an ambiguous address. An internal
    index may keep its files on any other host.
    """
    if not package.url or package.direct or package.editable or package.vcs is not None:
        return False
    origin = read_origin(package.url)
    if origin is None:
        return True
    if _from_file_host(origin, internal, known) is not False:
        return False
    hosts = tuple(internal_origin.host for internal_origin in internal)
    if any(
        _same_family(origin, known_origin) for known_origin in known if known_origin not in internal
    ):
        return True
    # The host as written: the encoded form hides an imitation.
    address = read_address(package.url)
    return origin.userinfo or imitates(address.host, hosts) is not None


def _beside(origin: DownloadOrigin, index: DownloadOrigin) -> bool:
    """Return whether a host is a subdomain or a sibling of an index's host."""
    parent = index.host.partition(".")[2]
    shared = "." in parent and origin.host.endswith(f".{parent}")
    return origin.scheme == index.scheme and (shared or origin.host.endswith(f".{index.host}"))


def _same_family(origin: DownloadOrigin, index: DownloadOrigin) -> bool:
    """Return whether a file's host is an index's own or beside it (files.x.example, x.example)."""
    host, other = origin.host, index.host
    return host == other or host.endswith(f".{other}")

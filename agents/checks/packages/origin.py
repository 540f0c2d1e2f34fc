"""Compares origins of packages with the allowed ones: dependency confusion, unknown indexes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents.checks.packages.indexes import (
    Origin,
    common_path,
    is_allowed,
    is_within,
    read_indexes,
    read_origin,
    same_site,
    shown_origin,
)
from agents.checks.packages.names import slip_of
from agents.checks.packages.popularity import name_table
from agents.checks.packages.seen import Seen, detect
from agents.checks.packages.versions import canonical_name, crowds_out
from agents.domain.detection import Detection
from agents.domain.hosts import imitates, read_address
from schemas.assessments import Check
from schemas.components import component_key
from schemas.events import Package, PackageInstall
from schemas.findings import Indicator
from schemas.policy import Policy
from schemas.severity import Disposition, Status

_PASS: Final = Check(name="origin", status=Status.PASS)
_OWN_NAMES: Final = 200
"""Names of a tenant that others are compared with."""
_UNKNOWN: Final = "an internal name whose index is not recorded, with public ones in reach"


def _from_file_host(
    origin: Origin, internal: tuple[Origin, ...], known: tuple[Origin, ...]
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


def came_from_inside(seen: Seen, data: PackageInstall, policy: Policy) -> bool | None:
    """Return whether a package came from an internal index of the policy.

    Returns:
        True or False if the event shows it; None if it does not, or no index is declared.
    """
    internal = read_indexes(policy.internal.indexes)
    if not policy.internal.indexes:
        return None
    package = seen.package
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
    package: Package, internal: tuple[Origin, ...], known: tuple[Origin, ...]
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


def _beside(origin: Origin, index: Origin) -> bool:
    """Return whether a host is a subdomain or a sibling of an index's host."""
    parent = index.host.partition(".")[2]
    shared = "." in parent and origin.host.endswith(f".{parent}")
    return origin.scheme == index.scheme and (shared or origin.host.endswith(f".{index.host}"))


def _same_family(origin: Origin, index: Origin) -> bool:
    """Return whether a file's host is an index's own or beside it (files.x.example, x.example)."""
    host, other = origin.host, index.host
    return host == other or host.endswith(f".{other}")


def _confused(entry: Seen, data: PackageInstall, policy: Policy) -> Detection:
    package = entry.package
    came = package.index_url or package.url or data.index_url or ""
    host = read_origin(came)
    odd = {"userinfo": True} if host is not None and host.userinfo else {}
    evidence: dict[str, Any] = {
        "origin": shown_origin(came),
        "allowed": [shown_origin(url) for url in policy.internal.indexes],
        **odd,
    }
    public = component_key("pypi", entry.name)
    return detect(
        "TW-PKG-CONFUSION",
        entry,
        f"Internal package {entry.name} came from {shown_origin(came)}",
        evidence,
        component=public,
        indicator=Indicator(
            key=f"{public}@{package.version}" if package.version else public,
            type="package-version",
            value=f"{entry.name}=={package.version}" if package.version else entry.name,
        ),
        related_keys=(entry.key,),
    )


def check_origin(
    data: PackageInstall, seen: Sequence[Seen], policy: Policy
) -> tuple[Check | None, list[Detection], frozenset[int]]:
    """Return the check of origins, its findings, and which packages are not the tenant's own.

    Args:
        data: The install.
        seen: Its packages.
        policy: The tenant's policy.

    Returns:
        The check (None where the policy sets no limit), the findings, and the places in `seen` of
        internal names that came from outside: the public packages of that name.
    """
    own, trusted = policy.internal, policy.trusted.indexes
    if not own.names and not own.prefixes and not trusted:
        return None, [], frozenset()
    found: list[Detection] = []
    outside: set[int] = set()
    unsure = 0
    for index, entry in enumerate(seen):
        if entry.local:
            continue
        if entry.internal:
            inside = came_from_inside(entry, data, policy)
            version = entry.package.version
            if inside is False:
                outside.add(index)
                found.append(_confused(entry, data, policy))
            elif version and crowds_out(version):
                found.append(
                    detect(
                        "TW-PKG-CONFUSION-VERSION",
                        entry,
                        f"Internal package {entry.name} has a version made to win: {version[:80]}",
                        {"origin": shown_origin(entry.package.index_url or data.index_url or "")},
                    )
                )
            elif inside is None and data.extra_index_urls:
                unsure += 1
        elif own.names and own.indexes and entry.name not in name_table().known:
            slip = slip_of(entry.name, tuple(map(canonical_name, own.names[:_OWN_NAMES])))
            if slip is not None:
                found.append(
                    detect(
                        "TW-PKG-TYPOSQUAT",
                        entry,
                        f"{entry.name} is a single slip from the internal package {slip}",
                        {"similar_to": slip, "technique": "internal name"},
                    )
                )
    if trusted:
        found.extend(_strange_indexes(data, seen, policy))
    if found:
        bad = any(detection.rule_id.startswith("TW-PKG-CONFUSION") for detection in found)
        status = Status.FAIL if bad else Status.WARN
        return (
            Check(name="origin", status=status, detail=found[0].description),
            found,
            frozenset(outside),
        )
    if unsure:
        return Check(name="origin", status=Status.WARN, detail=_UNKNOWN), found, frozenset()
    return _PASS, found, frozenset()


def _strange_indexes(data: PackageInstall, seen: Sequence[Seen], policy: Policy) -> list[Detection]:
    """Return one finding for each index in use that the policy does not list."""
    allowed = read_indexes((*policy.trusted.indexes, *policy.internal.indexes))
    urls: dict[str, list[str]] = {}
    for url in (data.index_url, *data.extra_index_urls):
        if url:
            urls.setdefault(url, [])
    for entry in seen:
        if entry.package.index_url:
            urls.setdefault(entry.package.index_url, []).append(entry.name)
    found = []
    for url, names in urls.items():
        origin = read_origin(url)
        if origin is not None and (
            origin.scheme == "file" or any(is_within(origin, base) for base in allowed)
        ):
            continue
        shown = shown_origin(url)
        evidence: dict[str, Any] = {"index": shown, "packages": names[:20], "count": len(names)}
        if origin is not None and origin.userinfo:
            evidence["userinfo"] = True
        key = component_key("domain", origin.host) if origin is not None else None
        found.append(
            Detection(
                rule_id="TW-PKG-INDEX-POLICY",
                description=f"Packages came from {shown}, which the policy does not name",
                evidence=evidence,
                locator=f"index:{shown}",
                component=key,
                indicator=Indicator(
                    key=key, type="url", value=shown, disposition=Disposition.CONTEXT
                )
                if key
                else None,
            )
        )
    return found

"""Builds package-install events from a manifest, split into parts that fit."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

import msgspec

from agents.checks.packages.credentials import mask_credentials
from agents.checks.packages.versions import canonical_name
from schemas import dead_letters as reasons
from schemas.events import TYPE_PACKAGE_INSTALL, Event, Package, PackageInstall, Part
from streams.adapters.manifests.found import Found, InstallOptions, Lock
from streams.adapters.payload import derived_id, refuse

PART_ITEMS: Final = 15_000
PACKAGES_LIMIT: Final = 500_000


def install_events(
    kind: str, raw: bytes, found: Found, options: InstallOptions
) -> list[Event[PackageInstall]]:
    """Return the events of a manifest, with the credentials of URLs masked.

    Args:
        kind: The kind of manifest.
        raw: Its bytes, from which the ids are derived.
        found: Its contents.
        options: The options of the sender.

    Raises:
        UnreadableRecordError: no tenant, no time, or too many packages.
    """
    if not options.tenant:
        raise refuse("no tenant is named", reasons.MISSING_IDENTITY)
    if len(found.packages) > PACKAGES_LIMIT:
        raise refuse(f"more than {PACKAGES_LIMIT:,} packages", reasons.TOO_LARGE)
    time = options.time or found.time
    if time is None and options.received_ms is not None:
        time = datetime.fromtimestamp(options.received_ms / 1000, UTC)
    if time is None:
        raise refuse("it has no time: give the option `time` or `received_ms`")
    mask_found(found)
    system = options.system or found.system
    content = hashlib.sha256(raw).hexdigest()
    named = (options.tenant, system, options.image, content, found.index_url)
    batch = derived_id(f"{kind}-batch", *named)
    subject = f"host:{system}" if system else f"image:{options.image or 'unknown'}"
    parts = _parts(found, options.part_bytes)
    return [
        Event(
            id=derived_id(kind, *named, str(number)),
            source=options.source or f"//{kind}",
            type=TYPE_PACKAGE_INSTALL,
            subject=subject,
            time=time,
            tenantid=options.tenant,
            received_ms=options.received_ms or 0,
            data=PackageInstall(
                installer=found.installer,
                system=system,
                image=options.image,
                environment=found.environment,
                index_url=found.index_url,
                extra_index_urls=found.extra_index_urls,
                batch=Part(id=batch, part=number, parts=len(parts)),
                packages=tuple(part.packages),
                requirements=tuple(part.requirements),
                lock=part.lock,
                identities=options.identities,
            ),
        )
        for number, part in enumerate(parts, 1)
    ]


def mask_found(found: Found) -> None:
    """Mask the credentials of URLs, which events must not contain."""
    found.index_url = _masked(found.index_url)
    found.extra_index_urls = tuple(map(mask_credentials, found.extra_index_urls))
    found.requirements = [mask_credentials(requirement) for requirement in found.requirements]
    found.packages = [_masked_package(package) for package in found.packages]


def _masked(url: str | None) -> str | None:
    return None if url is None else mask_credentials(url)


def _masked_package(package: Package) -> Package:
    urls = (package.url, package.index_url, package.vcs.url if package.vcs else None)
    if not any(url and "@" in url for url in urls):
        return package
    vcs = package.vcs
    return msgspec.structs.replace(
        package,
        url=_masked(package.url),
        index_url=_masked(package.index_url),
        vcs=msgspec.structs.replace(vcs, url=_masked(vcs.url)) if vcs else None,
    )


class _Piece(msgspec.Struct):
    packages: list[Package]
    requirements: list[str]
    lock: Lock

    def size(self) -> int:
        return len(msgspec.json.encode(self))


def _parts(found: Found, limit: int) -> list[_Piece]:
    """Return the packages in parts below a size, each with its own requirements and lock."""
    whole = _Piece(found.packages, found.requirements, found.lock)
    count = len(found.packages) + len(found.requirements)
    if count <= PART_ITEMS and whole.size() <= limit:
        return [whole]
    pieces: dict[str, _Piece] = {}

    def piece(name: str) -> _Piece:
        return pieces.setdefault(canonical_name(name), _Piece([], [], {}))

    for package in found.packages:
        piece(package.name).packages.append(package)
    for text in found.requirements:
        end = next(
            (i for i, char in enumerate(text) if not (char.isalnum() or char in "-_.")), None
        )
        piece(text[:end] or "-").requirements.append(text)
    for entry, digests in found.lock.items():
        piece(entry.partition("==")[0]).lock[entry] = digests
    parts = [_Piece([], [], {})]
    used = items = 0
    for part in pieces.values():
        size = part.size()
        weight = len(part.packages) + len(part.requirements)
        if items and (used + size > limit or items + weight > PART_ITEMS):
            parts.append(_Piece([], [], {}))
            used = items = 0
        last = parts[-1]
        last.packages.extend(part.packages)
        last.requirements.extend(part.requirements)
        last.lock.update(part.lock)
        used, items = used + size, items + weight
    return parts

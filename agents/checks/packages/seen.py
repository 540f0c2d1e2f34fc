"""The packages of an event under their canonical names, and their sightings for the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from agents.checks.packages.indexes import read_origin
from agents.checks.packages.versions import canonical_name
from agents.domain.component_keys import confined, own_key
from agents.domain.detection import Detection
from schemas.basis import Basis
from schemas.canonical import ID_HEX_DIGITS, length_prefixed
from schemas.components import component_key, is_sha256
from schemas.events import Event, Package, PackageInstall
from schemas.findings import Indicator, IndicatorType
from schemas.observations import Sighting, SightingKind
from schemas.policy import Internal, Policy

_CACHE: Final = 32_768


class SeenPackage(msgspec.Struct, frozen=True, gc=False):
    """One package of an event."""

    package: Package
    name: str
    """The canonical name."""
    key: str
    """Component key; scoped to the tenant for an internal name from an internal index."""
    digest: str | None
    """SHA-256, hex; None if the event has no valid one."""
    internal: bool
    local: bool = False
    """Whether it comes from the local host: its name is then the project's choice."""


class SignedFile(msgspec.Struct, frozen=True, gc=False):
    """The signer of a package's file, by its valid attestations."""

    publisher: str | None
    """Component key."""
    by: tuple[Basis, ...] = ()
    """The trust roots, which are authorised for the package."""


def is_local(package: Package) -> bool:
    """Return whether a package is a folder or file of the host, not of an index.

    A file that an installer found in a folder of wheels may still be of an index.
    """
    if package.editable:
        return package.vcs is None
    if not package.direct or package.vcs is not None:
        return False
    url = package.url
    return url is None or "://" not in url or url[:5].lower() == "file:"


@lru_cache(_CACHE)
def _public_key(name: str) -> str:
    return component_key("pypi", name)


@lru_cache(_CACHE)
def is_internal(name: str, internal: Internal) -> bool:
    """Return whether a canonical name is one of a tenant's own."""
    if any(canonical_name(internal_name) == name for internal_name in internal.names):
        return True
    return any(prefix and name.startswith(canonical_name(prefix)) for prefix in internal.prefixes)


@lru_cache(_CACHE)
def _as_sha256(text: str) -> str | None:
    text = text.lower()
    return text if is_sha256(text) else None


def digest_of(package: Package) -> str | None:
    """Return the SHA-256 of a package's file in lower-case hex, None if there is none."""
    text = package.hashes.get("sha256")
    return None if text is None else _as_sha256(text)


def see(package: Package, policy: Policy, tenant: str) -> SeenPackage:
    """Return a package under its canonical name and key."""
    name = canonical_name(package.name)
    own = policy.internal
    internal = bool(own.names or own.prefixes) and is_internal(name, own)
    local = is_local(package)
    key = _public_key(name)
    key = own_key("pypi", name, tenant) if internal or local else confined(key, tenant)
    return SeenPackage(package, name, key, digest_of(package), internal, local)


def origin_of(package: Package, data: PackageInstall) -> str | None:
    """Return the index a package came from, or the host of its URL; no credentials.

    An installer's report does not name which of several indexes served a file: then only the file's
    host is known.
    """
    index = package.index_url
    if index is None and not package.direct and not data.extra_index_urls:
        index = data.index_url
    if index is not None:
        return _shown(index)
    return None if package.url is None else _host(package.url)


@lru_cache(4096)
def _shown(url: str) -> str | None:
    origin = read_origin(url)
    return None if origin is None else origin.url


def _host(url: str) -> str | None:
    origin = read_origin(url)
    if origin is None:
        return None
    return "file:" if origin.scheme == "file" else f"{origin.scheme}://{origin.host}"


def publisher_key(package: Package, tenant: str, attested: str | None = None) -> str | None:
    """Return the component key of a package's publisher: the attested one, else the named one."""
    name = attested or package.publisher
    if not name:
        return None
    key = name if name.startswith("publisher:") else component_key("publisher", f"pypi/{name}")
    return confined(key, tenant)


_encoded = lru_cache(_CACHE)(length_prefixed)


def _id(hashed: bytes) -> str:
    return f"obs-{sha256(hashed).hexdigest()[:ID_HEX_DIGITS]}"


def seen_on(event: Event[PackageInstall]) -> str:
    """Return the system that an install's sightings name."""
    return event.data.system or event.data.image or event.subject


def sightings(
    event: Event[PackageInstall], seen: Sequence[SeenPackage], attested: dict[int, SignedFile]
) -> list[Sighting]:
    """Return the sightings for the ledger: each package by its name, and by its digest.

    Args:
        event: The event.
        seen: Its packages.
        attested: The bases of valid attestations, by index in `seen`.
    """
    data = event.data
    tenant, occurred = event.tenantid, event.time
    system = seen_on(event)
    # The ids are those of `stable_id("obs", tenant, day, key, version, digest, system)`. Parts
    # that packages share within an event, or with other events, are encoded once.
    head = b"".join(map(length_prefixed, ("obs", tenant, _day(occurred))))
    tail = length_prefixed(system)
    result: list[Sighting] = []
    for index, entry in enumerate(seen):
        package = entry.package
        digest = entry.digest
        version = package.version
        signed = attested.get(index)
        publisher = publisher_key(package, tenant, None if signed is None else signed.publisher)
        origin = origin_of(package, data)
        rest = _encoded(version or "") + length_prefixed(digest or "") + tail
        sighting = Sighting(
            id=_id(head + _encoded(entry.key) + rest),
            component=entry.key,
            tenant=tenant,
            system=system,
            event_id=event.id,
            source=event.source,
            occurred_at=occurred,
            kind=SightingKind.INSTALLED,
            version=version,
            digest=digest,
            filename=package.filename,
            publisher=publisher,
            origin=origin,
            identities=data.identities,
            bound_by=() if signed is None else signed.by,
            appended=event.position,
        )
        result.append(sighting)
        if digest is not None:
            key = f"sha256:{digest}"
            result.append(
                msgspec.structs.replace(
                    sighting,
                    id=_id(head + length_prefixed(key) + rest),
                    component=key,
                    name=entry.key,
                    bound_by=(),
                )
            )
    return result


def _day(when: datetime) -> str:
    return when.date().isoformat()


def detect(
    rule_id: str,
    seen: SeenPackage,
    description: str,
    evidence: dict[str, Any],
    **fields: Any,  # noqa: ANN401 -- fields of a detection, each of its own type
) -> Detection:
    """Return the detection of a rule on one package; its indicator is the release.

    Args:
        rule_id: The rule.
        seen: The package.
        description: The observation.
        evidence: The values that show it; the package's name and version are added.
        fields: More fields of the detection (severity, indicator ...).
    """
    version = seen.package.version
    release = f"{seen.name}=={version}" if version else seen.name
    values: dict[str, Any] = {
        "indicator": Indicator(
            key=f"{seen.key}@{version}" if version else seen.key,
            type=IndicatorType.PACKAGE_VERSION,
            value=release,
        ),
        "component": seen.key,
        "version": version,
        "locator": f"package:{release}",
        **fields,
    }
    return Detection(
        rule_id=rule_id,
        description=description,
        evidence={"package": seen.package.name, "version": version, **evidence},
        **values,
    )

"""The subject of a registry push: everything that its checks need of the event, computed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from agents.checks.provenance.file_checks import declared_digests
from agents.checks.provenance.identity import (
    PushOrigin,
    pinned_digest,
    push_component,
    push_exposure,
    push_origin,
    push_publisher,
    push_version,
    reference_component,
    registry_name,
)
from agents.checks.provenance.planning import plan_scan
from schemas.components import digest_of_files
from schemas.events import ArtifactKind, Event, RegistryPush
from schemas.policy import Policy
from schemas.scans import ScanRequest
from schemas.severity import ExposureLevel

MAX_PARENTS: Final = 64


class PushSubject(msgspec.Struct, frozen=True, kw_only=True):
    """A push and what follows from it under its tenant's policy."""

    event: Event[RegistryPush]
    policy: Policy
    component: str
    """Component key of the model, dataset or image."""
    publisher: str | None
    """Component key; None if the event has none."""
    registry: str | None
    """In canonical form."""
    origin: PushOrigin | None
    """As the registry reported it."""
    version: str | None
    exposure: ExposureLevel
    pinned: str | None
    """The revision, if it is the digest of an OCI manifest."""
    digests: dict[str, frozenset[str] | None]
    """The declared SHA-256 of each listed file, by plain path; several if it is listed twice."""
    known: dict[str, str]
    """The files with exactly one declared digest."""
    bases: tuple[str, ...]
    """Component keys of the base models and datasets that the card names, in its order."""
    request: ScanRequest | None
    """The slow work that the push needs."""
    parents: tuple[str, ...]
    """The components that it was made from: the same and its former name, each once."""

    @property
    def push(self) -> RegistryPush:
        """The event's data."""
        return self.event.data

    @property
    def is_whole(self) -> bool:
        """Whether the digest of every listed file is declared."""
        return bool(self.known) and len(self.known) == len(self.digests)

    @property
    def whole(self) -> str | None:
        """The digest of all files together, None if one is unknown."""
        return digest_of_files(self.known) if self.is_whole else None


def push_subject(event: Event[RegistryPush], policy: Policy) -> PushSubject:
    """Return the subject of a push.

    Args:
        event: The push.
        policy: Its tenant's policy: internal registries name the tenant's own components.
    """
    push = event.data
    digests = declared_digests(push.files)
    bases = tuple(_bases(push, event.tenantid))
    return PushSubject(
        event=event,
        policy=policy,
        component=push_component(event, policy),
        publisher=push_publisher(event, policy),
        registry=registry_name(push.registry) if push.registry else None,
        origin=push_origin(push),
        version=push_version(push),
        exposure=push_exposure(push),
        pinned=pinned_digest(push),
        digests=digests,
        known={path: min(found) for path, found in digests.items() if found and len(found) == 1},
        bases=bases,
        request=plan_scan(event, policy),
        parents=tuple(dict.fromkeys((*bases, *_former(push, event.tenantid))))[:MAX_PARENTS],
    )


def _bases(push: RegistryPush, tenant: str) -> Iterator[str]:
    if push.card is None:
        return
    for names, prefix in ((push.card.base_model, "model"), (push.card.datasets, "dataset")):
        for name in names:
            key = reference_component(name, push.registry, prefix, tenant)
            if key:
                yield key


def _former(push: RegistryPush, tenant: str) -> Iterator[str]:
    """Yield the key of a renamed repository's former name, as a parent."""
    if push.moved_from:
        prefix = "dataset" if push.kind == ArtifactKind.DATASET else "model"
        key = reference_component(push.moved_from, push.registry, prefix, tenant)
        if key:
            yield key

"""Shared rules of container registries: kinds, manifests, digests, notifications, references."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from schemas.events import ArtifactKind, Event, File, Publisher, PushAction, RegistryPush
from streams.adapters.payload import (
    Payload,
    at,
    derived_id,
    host_of,
    moment,
    registry_event,
    sha256_digest,
    text,
)

_MODEL_MEDIA: Final = ("model", "vnd.docker.ai", "vnd.ollama", "vnd.cncf.ai", "mlflow")
_MANIFEST: Final = ("manifest", "image.index")
_ACTIONS: Final = {
    "push": PushAction.PUSH,
    "pull": PushAction.PULL,
    "delete": PushAction.DELETE,
    "mount": PushAction.PUSH,
}
_BESIDE: Final = re.compile(r"sha256-[0-9a-f]{64}(?:\.[a-z]+)?")
"""The tag of what belongs to an image: its signature, attestation or bill of materials.

Source: cosign's signature specification; OCI distribution 1.1, referrers tag schema.
"""
_CHART: Final = "vnd.cncf.helm"


def is_artifact(tag: str | None, media_type: str | None) -> bool:
    """Return whether a push is of an image or model: not of a chart, or what belongs to an image.

    Args:
        tag: The tag that was pushed.
        media_type: That of the artifact, else of its manifest.
    """
    return not (tag and _BESIDE.fullmatch(tag)) and _CHART not in (media_type or "").lower()


def kind_of_media(media_type: str | None) -> ArtifactKind:
    """Return `model` for the media type of a packaged model, else `image`."""
    lowered = (media_type or "").lower()
    return (
        ArtifactKind.MODEL if any(mark in lowered for mark in _MODEL_MEDIA) else ArtifactKind.IMAGE
    )


def is_manifest(media_type: str | None) -> bool:
    """Return whether a media type is a manifest or index, which tags point at."""
    lowered = (media_type or "").lower()
    return any(mark in lowered for mark in _MANIFEST)


def manifest_file(digest: str | None, size: object = None) -> tuple[File, ...]:
    """Return the manifest as the only file of a push; its digest is that of the artifact."""
    digests = sha256_digest(digest)
    if not digests:
        return ()
    known = size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None
    return (File(path="manifest.json", digests=digests, size=known),)


class ImageRef(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a reference like `host/repository:tag@sha256:…`."""

    host: str | None
    repository: str | None
    tag: str | None = None
    digest: str | None = None


def read_reference(reference: str) -> ImageRef:
    """Return the parts of an image's reference; its first part is the host.

    Source: distribution/reference `[host/]path[:tag][@digest]`.
    """
    bare = reference.partition("://")[2] or reference
    place, _, digest = bare.partition("@")
    host, slash, path = place.partition("/")
    if not slash:
        host, path = "", place
    last = path.rpartition("/")[2]
    tag = last.partition(":")[2] if ":" in last else ""
    repository = path.removesuffix(f":{tag}") if tag else path
    return ImageRef(
        host=host_of(host) if host else None,
        repository=repository.strip("/") or None,
        tag=tag or None,
        digest=digest or None,
    )


def notification_event(
    payload: Payload,
    entry: Any,  # noqa: ANN401 -- any JSON value
    *,
    producer: str,
    host: str | None = None,
) -> Event[Any] | None:
    """Return the event of one notification of a registry, or None if it is about no artifact.

    Layers give none: their digests are in the manifest, and a layer is no version of its
    repository. A deletion carries no media type and counts as one of a manifest.

    Args:
        payload: The delivery that the notification is part of.
        entry: The notification: action, target, request, actor.
        producer: The name of the adapter, for ids and sources.
        host: The registry's host, if the notification does not say.

    Source: distribution/distribution `notifications/`.
    """
    action = _ACTIONS.get(text(entry, "action") or "")
    target = at(entry, "target")
    media = text(target, "mediaType")
    if action is None or not isinstance(target, dict):
        return None
    if not is_manifest(media) and not (action == PushAction.DELETE and media is None):
        return None
    if not is_artifact(text(target, "tag"), text(target, "artifactType") or media):
        return None
    digest = text(target, "digest")
    place = host_of(text(target, "url")) or host_of(text(entry, "request", "host")) or host
    repository = text(target, "repository")
    push = RegistryPush(
        action=action,
        kind=kind_of_media(media),
        registry=payload.registry(place or producer),
        repository=repository,
        revision=digest,
        tag=text(target, "tag"),
        moved_from=text(target, "fromRepository"),
        # The account that pulls did not publish the artifact.
        publisher=Publisher(
            account=text(entry, "actor", "name") if action != PushAction.PULL else None
        ),
        files=manifest_file(digest, target.get("size")),
    )
    stamp = text(entry, "timestamp")
    return registry_event(
        payload,
        push,
        id=text(entry, "id") or derived_id(producer, action, stamp, place, repository, digest),
        source=f"//{producer}/{place or 'unknown'}",
        time=moment(stamp),
    )

"""Convert notifications of an OCI distribution registry to registry pushes."""

from __future__ import annotations

from typing import Any, Final

from schemas.events import Event, Publisher, RegistryPush
from streams.adapters.container_images import is_manifest, kind_of_media, manifest_file
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    host_of,
    items,
    moment,
    refuse,
    registry_event,
    text,
)

_ACTIONS: Final = {"push": "push", "pull": "pull", "delete": "delete", "mount": "push"}


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return one event for each manifest that was pushed, pulled, mounted or deleted.

    Layers give none: their digests are in the manifest, and a layer is no version of its
    repository. A deletion carries no media type and counts as one of a manifest when it bears a
    tag or none of the two.

    Source: distribution/distribution `notifications/`, media type
    `application/vnd.docker.distribution.events.v2+json`; Azure Container Registry's webhook, one
    such event by itself; Azure Event Grid, one such event as `data`.
    """
    events: list[Event[Any]] = []
    for entry in _entries(payload.body):
        action = _ACTIONS.get(text(entry, "action") or "")
        target = at(entry, "target")
        media = text(target, "mediaType")
        if action is None or not isinstance(target, dict):
            continue
        if not is_manifest(media) and not (action == "delete" and media is None):
            continue
        digest = text(target, "digest")
        host = host_of(text(target, "url")) or host_of(text(entry, "request", "host"))
        repository = text(target, "repository")
        push = RegistryPush(
            action=action,
            kind=kind_of_media(media),
            registry=payload.registry(host or "oci"),
            repository=repository,
            revision=digest,
            tag=text(target, "tag"),
            moved_from=text(target, "fromRepository"),
            publisher=Publisher(account=text(entry, "actor", "name")),
            files=manifest_file(digest, target.get("size")),
        )
        stamp = text(entry, "timestamp")
        events.append(
            registry_event(
                payload,
                push,
                id=text(entry, "id") or derived_id("oci", action, stamp, host, repository, digest),
                source=f"//oci/{host or 'unknown'}",
                time=moment(stamp),
            )
        )
    return events


def _entries(body: dict[str, Any]) -> list[Any]:
    """Return the notifications of a delivery."""
    if isinstance(body.get("events"), list):
        return items(body, "events")
    kind = text(body, "eventType") or text(body, "type") or ""
    if kind.startswith("Microsoft.EventGrid."):
        return []  # a subscription that is being set up
    if kind.startswith("Microsoft.ContainerRegistry."):
        return [at(body, "data")]
    if isinstance(body.get("target"), dict) and text(body, "action") is not None:
        return [body]
    raise refuse("no events, and no event of a registry by itself")

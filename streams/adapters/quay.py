"""Convert repository notifications of Quay to registry pushes."""

from __future__ import annotations

from typing import Any, Final

from schemas.canonical import canonical_json, stable_hash
from schemas.events import ArtifactKind, Event, Publisher, PushAction, RegistryPush
from streams.adapters.container_images import is_artifact, manifest_file, read_reference
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    items,
    received_hour,
    refuse,
    registry_event,
    text,
)

_PREFIX: Final = "sha256:"


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return an event for each tag that a push moved; without tags, one for the repository.

    Builds, vulnerabilities and mirroring give none. The payload has neither id nor time: ids are
    over all of it and the hour it was received in.

    Source: Red Hat Quay documentation, repository notifications, repository push.
    """
    body = payload.body
    place = text(body, "docker_url")
    repository = text(body, "repository")
    if place is None or repository is None:
        raise refuse("no docker_url or repository")
    if "updated_tags" not in body:
        return []
    reference = read_reference(place)
    content = stable_hash(canonical_json(body).decode())
    return [
        registry_event(
            payload,
            RegistryPush(
                action=PushAction.PUSH,
                kind=ArtifactKind.IMAGE,
                registry=payload.registry(reference.host or "quay"),
                repository=repository,
                revision=digest,
                tag=tag,
                publisher=Publisher(name=text(body, "namespace")),
                files=manifest_file(digest),
                visibility=text(body, "visibility"),
            ),
            id=derived_id("quay", content, tag, received_hour(payload)),
            source=f"//quay/{reference.host or 'unknown'}",
            time=None,
        )
        for tag, digest in _tags(body)
        if is_artifact(tag, None)
    ]


def _tags(body: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    """Return the tags that moved, with the digest where the payload says it.

    Early versions have an object of tags and image ids, which are not digests of manifests.
    """
    given = at(body, "updated_tags")
    if isinstance(given, dict):
        found: list[tuple[str | None, str | None]] = [
            (name, value if isinstance(value, str) and value.startswith(_PREFIX) else None)
            for name, value in given.items()
        ]
    else:
        named = (text({"tag": tag}, "tag") for tag in items(body, "updated_tags"))
        found = [(tag, None) for tag in named if tag is not None]
    return found or [(None, None)]

"""Convert webhooks of Docker Hub to registry pushes."""

from __future__ import annotations

from typing import Any, Final

from schemas.events import Event, Publisher, PushAction, RegistryPush
from streams.adapters.container_images import is_artifact, kind_of_media
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    moment,
    refuse,
    registry_event,
    text,
)

REGISTRY: Final = "docker.io"


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of a tag that was pushed.

    The payload has no digest, so the content is unknown until the tag is pulled.

    Source: Docker documentation, Docker Hub webhooks.
    """
    body = payload.body
    repository = text(body, "repository", "repo_name")
    pushed = at(body, "push_data")
    if repository is None or not isinstance(pushed, dict):
        raise refuse("no repository.repo_name or push_data")
    private = at(body, "repository", "is_private")
    when = moment(pushed.get("pushed_at"))
    tag, account = text(pushed, "tag"), text(pushed, "pusher")
    if not is_artifact(tag, text(pushed, "media_type")):
        return []
    push = RegistryPush(
        action=PushAction.PUSH,
        kind=kind_of_media(text(pushed, "media_type")),
        registry=payload.registry(REGISTRY),
        repository=repository,
        tag=tag,
        publisher=Publisher(name=text(body, "repository", "namespace"), account=account),
        visibility=("private" if private else "public") if isinstance(private, bool) else None,
    )
    stamp = when.isoformat() if when else None
    return [
        registry_event(
            payload,
            push,
            id=derived_id("docker-hub", repository, tag, account, stamp),
            source=f"//docker-hub/{repository}",
            time=when,
        )
    ]

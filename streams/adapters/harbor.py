"""Convert Harbor webhooks, default and CloudEvents format, to registry pushes."""

from __future__ import annotations

import re
from typing import Any, Final

from schemas.events import ArtifactKind, Event, Publisher, PushAction, RegistryPush
from streams.adapters.container_images import manifest_file
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

_ACTIONS: Final = {
    "PUSH_ARTIFACT": PushAction.PUSH,
    "PULL_ARTIFACT": PushAction.PULL,
    "DELETE_ARTIFACT": PushAction.DELETE,
    "harbor.artifact.pushed": PushAction.PUSH,
    "harbor.artifact.pulled": PushAction.PULL,
    "harbor.artifact.deleted": PushAction.DELETE,
}
_SCANNER: Final = re.compile(r"^robot\$.*(?:trivy|clair|scanner)", re.IGNORECASE)
"""Harbor's own scanners; their pulls are not use of an artifact."""


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return one event for each artifact that was pushed, pulled or deleted.

    Scans, quotas and replications give none. Ids are derived from type, time, artifact and tag,
    because Harbor is known to fire one event several times with different ids.

    Source: goharbor/harbor `src/pkg/notifier/model/event.go`, `formats/`.
    """
    body = payload.body
    kind = text(body, "type")
    if kind is None:
        raise refuse("no type")
    action = _ACTIONS.get(kind)
    if action is None:
        return []
    cloud = kind.startswith("harbor.")
    data = at(body, "data" if cloud else "event_data")
    operator = text(body, "operator")
    if action == PushAction.PULL and operator and _SCANNER.match(operator):
        return []
    when = moment(at(body, "time" if cloud else "occur_at"))
    repository = text(data, "repository", "repo_full_name")
    visibility = text(data, "repository", "repo_type")
    events: list[Event[Any]] = []
    for resource in items(data, "resources"):
        digest, tag = text(resource, "digest"), text(resource, "tag")
        host = host_of(text(resource, "resource_url"))
        push = RegistryPush(
            action=action,
            kind=ArtifactKind.IMAGE,
            registry=payload.registry(host or "harbor"),
            repository=repository,
            revision=digest,
            tag=None if tag == digest else tag,
            publisher=Publisher(
                name=text(data, "repository", "namespace"),
                # The account that pulls did not publish the artifact.
                account=operator if action != PushAction.PULL else None,
                auth="token"
                if action != PushAction.PULL and operator and operator.startswith("robot$")
                else "unknown",
            ),
            files=manifest_file(digest),
            visibility=visibility,
        )
        stamp = when.isoformat() if when else None
        events.append(
            registry_event(
                payload,
                push,
                id=derived_id("harbor", action, stamp, host, repository, digest, tag),
                source=(text(body, "source") if cloud else None) or f"//harbor/{host or 'unknown'}",
                time=when,
            )
        )
    if not events:
        raise refuse("no resources")
    return events

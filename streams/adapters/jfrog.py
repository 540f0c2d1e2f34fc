"""Convert JFrog Artifactory webhooks of the domains artifact and docker to registry pushes."""

from __future__ import annotations

import posixpath
from typing import Any, Final

from schemas.canonical import canonical_json, stable_hash
from schemas.events import ArtifactKind, Event, File, Publisher, PushAction, RegistryPush
from streams.adapters.file_kinds import ecosystem_of, kind_of_files, wheel_version
from streams.adapters.payload import (
    Payload,
    adapter,
    derived_id,
    host_of,
    received_hour,
    refuse,
    registry_event,
    sha256_digest,
    text,
)

_ACTIONS: Final = {
    "artifact": {
        "deployed": PushAction.PUSH,
        "deleted": PushAction.DELETE,
        "moved": PushAction.MOVE,
        "copied": PushAction.PUSH,
        "cached": PushAction.PULL,
    },
    "docker": {
        "pushed": PushAction.PUSH,
        "deleted": PushAction.DELETE,
        "promoted": PushAction.PROMOTE,
    },
}


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of a file or image that was deployed, moved, copied, deleted or promoted.

    Other domains (properties, builds, release bundles) and event types give none. The payload has
    neither id nor time: the id is over all of it and the hour it was received in.

    Source: JFrog documentation, webhook event types.
    """
    body = payload.body
    domain, event_type = text(body, "domain"), text(body, "event_type")
    if domain is None or event_type is None:
        raise refuse("no domain or event_type")
    action = _ACTIONS.get(domain, {}).get(event_type)
    if action is None:
        return []
    repo = text(body, "data", "repo_key")
    path = text(body, "data", "path") or text(body, "data", "name")
    if repo is None or path is None:
        raise refuse("no data.repo_key or data.path")
    origin = host_of(text(body, "jpd_origin"))
    digests = sha256_digest(text(body, "data", "sha256"))
    size = body["data"].get("size")
    image = domain == "docker"
    target = text(body, "data", "target_repo_path") if action == PushAction.MOVE else None
    source = text(body, "data", "source_repo_path")
    full = f"{repo}/{path}"
    if image:
        name, tag = text(body, "data", "image_name"), text(body, "data", "tag")
        repository = f"{repo}/{name}" if name else full
    else:
        full = target or f"{repo}/{path.strip('/')}"
        repository, tag = posixpath.dirname(full) or repo, None
    ecosystem = None if image else ecosystem_of(full)
    revision = wheel_version(full) if ecosystem == "pypi" else None
    who = (text(body, "source") or "").rpartition("/")[2] or None
    push = RegistryPush(
        action=action,
        kind=ArtifactKind.IMAGE if image else kind_of_files([full]),
        ecosystem=ecosystem,
        registry=payload.registry(origin or "jfrog"),
        repository=repository,
        revision=f"sha256:{digests['sha256']}" if image and digests else revision,
        tag=tag,
        moved_from=posixpath.dirname(source or "") or None,
        # The account whose request filled a cache did not publish the artifact.
        publisher=Publisher(account=who if action != PushAction.PULL else None),
        files=(
            File(
                path=posixpath.basename(target or path) or path,
                digests=digests,
                size=size
                if isinstance(size, int) and not isinstance(size, bool) and size >= 0
                else None,
            ),
        ),
    )
    content = stable_hash(canonical_json(body).decode())
    return [
        registry_event(
            payload,
            push,
            id=derived_id("jfrog", content, received_hour(payload)),
            source=f"//jfrog/{origin or 'unknown'}",
            time=None,
        )
    ]

"""Convert Pub/Sub messages of Google Artifact Registry to registry pushes."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import orjson

from schemas.events import ArtifactKind, Event, PushAction, RegistryPush
from streams.adapters.container_images import is_artifact, manifest_file, read_reference
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    moment,
    received_hour,
    refuse,
    registry_event,
    text,
)

_ACTIONS: Final = {"INSERT": PushAction.PUSH, "DELETE": PushAction.DELETE}


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of an image that was uploaded, tagged or deleted.

    Reads what a push subscription delivers (`message`, its data in base64), what a pull returns,
    and the data alone.

    Source: Artifact Registry documentation, Pub/Sub notifications (topic `gcr`); Cloud Pub/Sub,
    push subscriptions.
    """
    message = at(payload.body, "message")
    data = _data(message) if isinstance(message, dict) else payload.body
    done = text(data, "action")
    if done is None and text(data, "kind") and (text(data, "name") or "").startswith("projects/"):
        return []  # a notification of Container Analysis, on a topic that both use
    if done is None:
        raise refuse("no action in the message's data")
    action = _ACTIONS.get(done)
    if action is None:
        return []
    named, tagged = text(data, "digest"), text(data, "tag")
    if named is None and tagged is None:
        raise refuse("neither digest nor tag")
    reference = read_reference(named or tagged or "")
    tag = read_reference(tagged).tag if tagged else None
    if not is_artifact(tag, None):
        return []
    push = RegistryPush(
        action=action,
        kind=ArtifactKind.IMAGE,
        registry=payload.registry(reference.host or "artifact-registry"),
        repository=reference.repository,
        revision=reference.digest,
        tag=tag,
        files=manifest_file(reference.digest),
    )
    known = text(message, "messageId") or text(message, "message_id")
    stamp = text(message, "publishTime") or text(message, "publish_time")
    return [
        registry_event(
            payload,
            push,
            id=derived_id(
                "artifact-registry", known or received_hour(payload), done, named, tagged
            ),
            source=f"//artifact-registry/{reference.host or 'unknown'}",
            time=moment(stamp),
        )
    ]


def _data(message: dict[str, Any]) -> dict[str, Any]:
    try:
        raw = base64.b64decode(text(message, "data") or "", validate=True)
        data = orjson.loads(raw)
    except (binascii.Error, ValueError) as error:
        raise refuse("message.data is not JSON in base64") from error
    if not isinstance(data, dict):
        raise refuse("message.data is not a JSON object")
    return data

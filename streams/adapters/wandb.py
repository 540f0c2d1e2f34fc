"""Convert Weights & Biases automations to registry pushes, by a template that Tidewatch ships.

Users write the payload of a webhook themselves; `wandb.json` beside this module is the template to
paste into the automation. Variables that W&B leaves unresolved count as absent.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Final

from schemas.canonical import canonical_json, stable_hash
from schemas.events import ArtifactKind, Event, File, Publisher, PushAction, RegistryPush
from streams.adapters.payload import (
    PRODUCTION,
    Payload,
    adapter,
    derived_id,
    received_hour,
    refuse,
    registry_event,
    sha256_digest,
    text,
)

_KINDS: Final = frozenset({"model", "dataset", "adapter", "tokenizer"})


def template() -> str:
    """Return the payload template to paste into an automation's webhook."""
    return resources.files("streams.adapters").joinpath("wandb.json").read_text(encoding="utf-8")


def _resolved(payload: Payload, name: str) -> str | None:
    value = text(payload.body, name)
    return None if value is None or "${" in value else value


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of an artifact version that was created, linked, tagged or given an alias.

    Source: W&B documentation, automations, webhook payload variables.
    """
    kind = _resolved(payload, "kind") or ArtifactKind.MODEL
    collection = _resolved(payload, "artifact_collection_name")
    if collection is None:
        raise refuse("no artifact_collection_name; use the template that Tidewatch ships")
    entity, project = _resolved(payload, "entity_name"), _resolved(payload, "project_name")
    version = _resolved(payload, "artifact_version")
    if version and ":" in version:
        version = version.rpartition(":")[2]
    alias = _resolved(payload, "alias") or _resolved(payload, "tag")
    event_type = (_resolved(payload, "event_type") or "").upper()
    if "DELETE" in event_type:
        action = PushAction.DELETE
    elif alias is not None and ("ALIAS" in event_type or "TAG" in event_type):
        action = PushAction.PROMOTE if alias.lower() in PRODUCTION else PushAction.TAG
    else:
        action = PushAction.PUSH
    digests = sha256_digest(_resolved(payload, "sha256"))
    uri = _resolved(payload, "uri")
    path = _resolved(payload, "file") or (uri or "").rpartition("/")[2] or "artifact"
    push = RegistryPush(
        action=action,
        kind=kind if kind in _KINDS else ArtifactKind.MODEL,
        registry=payload.registry("wandb"),
        repository="/".join(part for part in (entity, project, collection) if part),
        revision=version or _resolved(payload, "artifact_version_string"),
        tag=alias,
        publisher=Publisher(name=entity, account=_resolved(payload, "event_author")),
        files=(File(path=path, uri=uri, digests=digests),) if digests or uri else (),
    )
    content = stable_hash(canonical_json(payload.body).decode())
    return [
        registry_event(
            payload,
            push,
            id=derived_id("wandb", content, received_hour(payload)),
            source=f"//wandb/{entity or 'unknown'}",
            time=None,
        )
    ]

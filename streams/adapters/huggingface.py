"""Convert Hugging Face Hub webhooks (version 3) to registry pushes.

The payload says which references moved, not which files: they are listed when the push is scanned.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.events import Event, Publisher, PushAction, RegistryPush
from streams.adapters.payload import (
    Payload,
    adapter,
    derived_id,
    items,
    received_hour,
    refuse,
    registry_event,
    text,
)

REGISTRY: Final = "huggingface"
_BUCKET: Final = "bucket"
_KINDS: Final = {"model": "model", "dataset": "dataset", _BUCKET: "dataset"}
_SCOPES: Final = frozenset({"repo", _BUCKET})
_ACTIONS: Final = {
    "create": PushAction.PUSH,
    "update": PushAction.PUSH,
    "delete": PushAction.DELETE,
    "move": PushAction.MOVE,
}
_TAGS: Final = "refs/tags/"
_HEADS: Final = "refs/heads/"


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return an event for each reference that moved, else one for the repository.

    Discussions and spaces give none. An unknown, narrower scope counts as an update of the wider
    one, as the Hub's documentation asks. A storage bucket has no revisions, so that only its change
    is known; it is named `buckets/owner/name`, as the addresses of its files are.

    Source: Hugging Face Hub documentation, webhooks, payload version 3; storage buckets.
    """
    body = payload.body
    scope = text(body, "event", "scope") or ""
    action = text(body, "event", "action")
    repository = text(body, "repo", "name")
    if action is None or not scope:
        raise refuse("no event.action or event.scope")
    of = text(body, "repo", "type") or "model"
    kind = _KINDS.get(of)
    if scope.partition(".")[0] not in _SCOPES or kind is None:
        return []
    if repository is None:
        raise refuse("no repo.name")
    owner = repository.partition("/")[0] if "/" in repository else None
    place = "buckets/" if of == _BUCKET else ""
    publisher = Publisher(name=owner, id=text(body, "repo", "owner", "id"))
    private = body["repo"].get("private")
    visibility = None
    if isinstance(private, bool):
        visibility = "private" if private else "public"
    base = RegistryPush(
        kind=kind,
        registry=payload.registry(REGISTRY),
        repository=f"{place}{repository}",
        publisher=publisher,
        visibility=visibility,
    )
    head = text(body, "repo", "headSha")
    identity = text(body, "repo", "id") or repository
    unversioned = "" if head else received_hour(payload)
    refs = [ref for ref in items(body, "updatedRefs") if isinstance(ref, dict)]
    pushes = [_push_of_reference(base, ref) for ref in refs]
    if not pushes:
        target = text(body, "movedTo", "name") if action == "move" else None
        push = msgspec.structs.replace(
            base,
            action=_ACTIONS.get(action, PushAction.PUSH),
            repository=f"{place}{target or repository}",
            revision=head,
            moved_from=f"{place}{repository}" if target else None,
        )
        pushes.append((target or "", push))
    return [
        registry_event(
            payload,
            push,
            # A repository that is renamed keeps its identity and its revision: its next push is of
            # another name. Without a revision, nothing else in the payload distinguishes two.
            id=derived_id("hf", identity, repository, scope, action, head, mark or unversioned),
            source=f"//huggingface/{owner or repository}",
            time=None,
        )
        for mark, push in pushes
    ]


def _push_of_reference(base: RegistryPush, ref: dict[str, Any]) -> tuple[str, RegistryPush]:
    """Return the push that moves a reference, and what distinguishes it in its payload."""
    name, old, new = text(ref, "ref") or "", text(ref, "oldSha"), text(ref, "newSha")
    if new is None:
        action = PushAction.DELETE
    else:
        action = PushAction.TAG if name.startswith(_TAGS) else PushAction.PUSH
    push = msgspec.structs.replace(
        base,
        action=action,
        revision=new or old,
        previous_revision=old,
        tag=name.removeprefix(_TAGS).removeprefix(_HEADS) or None,
    )
    return f"{name}\0{old}\0{new}", push

"""Convert webhooks and Event Grid events of Azure Container Registry to registry pushes."""

from __future__ import annotations

from typing import Any, Final

from schemas.events import Event
from streams.adapters.container_images import notification_event
from streams.adapters.event_grid import read_delivery, resource_name
from streams.adapters.payload import Payload, adapter, at, refuse, text

_OF_REGISTRY: Final = "Microsoft.ContainerRegistry."
_OTHERS: Final = frozenset({"ping", "chart_push", "chart_delete", "quarantine"})
"""Actions without a usable manifest: a test, Helm charts, quarantined images."""


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of an image or model that was pushed or deleted.

    Tests of the webhook, Helm charts, and subscriptions that are being set up give none.

    Source: Azure Container Registry webhook schema reference; Azure Event Grid,
    `Microsoft.ContainerRegistry.ImagePushed` and `ImageDeleted`.
    """
    events = (
        notification_event(payload, entry, producer="acr", host=host)
        for entry, host in read_deliveries(payload.body)
    )
    return [event for event in events if event is not None]


def read_deliveries(body: dict[str, Any]) -> list[tuple[Any, str | None]]:
    """Return the notification of a delivery, with the registry's host if the envelope says it.

    Raises:
        UnreadableRecordError: it is no delivery of a registry.
    """
    delivery = read_delivery(body)
    if delivery is not None:
        if delivery.is_handshake:
            return []
        if not delivery.type.startswith(_OF_REGISTRY):
            raise refuse(f"not of a container registry: {delivery.type[:100]!r}")
        name = resource_name(delivery.source, "registries")
        return [(delivery.data, f"{name}.azurecr.io" if name else None)]
    action = text(body, "action")
    if action in _OTHERS:
        return []
    if action is not None and isinstance(at(body, "target"), dict):
        return [(body, None)]
    raise refuse("neither a list of events nor a single registry event")

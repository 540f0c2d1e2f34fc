"""Convert notifications of an OCI distribution registry to registry pushes."""

from __future__ import annotations

from typing import Any

from schemas.events import Event
from streams.adapters.acr import read_deliveries
from streams.adapters.container_images import notification_event
from streams.adapters.payload import Payload, adapter, items


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return one event for each manifest that was pushed, pulled, mounted or deleted.

    What Azure Container Registry sends is read as well.

    Source: distribution/distribution `notifications/`, media type
    `application/vnd.docker.distribution.events.v2+json`.
    """
    body = payload.body
    entries = items(body, "events") if isinstance(body.get("events"), list) else None
    if entries is None:
        entries = [entry for entry, _ in read_deliveries(body)]
    events = (notification_event(payload, entry, producer="oci") for entry in entries)
    return [event for event in events if event is not None]

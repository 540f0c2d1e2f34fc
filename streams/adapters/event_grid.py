"""Reads deliveries of Azure Event Grid, in its own schema and as CloudEvents."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from streams.adapters.payload import at, moment, text

_OWN: Final = "Microsoft.EventGrid."


class GridEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event that Event Grid delivers."""

    type: str
    """For example `Microsoft.ContainerRegistry.ImagePushed`."""
    id: str | None
    source: str | None
    """The path of the resource that it is about."""
    subject: str | None
    time: datetime | None
    data: Any

    @property
    def is_handshake(self) -> bool:
        """Return whether it sets up or ends a subscription, and reports nothing."""
        return self.type.startswith(_OWN)


def read_delivery(body: dict[str, Any]) -> GridEvent | None:
    """Return the event of a delivery, or None if it is not one of Event Grid.

    Source: Azure Event Grid, event schema, and CloudEvents 1.0 schema.
    """
    kind = text(body, "eventType")
    if kind is not None:
        source, time = text(body, "topic"), at(body, "eventTime")
    else:
        kind = text(body, "type")
        source, time = text(body, "source"), at(body, "time")
    if kind is None or not kind.startswith("Microsoft."):
        return None
    return GridEvent(
        type=kind,
        id=text(body, "id"),
        source=source,
        subject=text(body, "subject"),
        time=moment(time),
        data=at(body, "data"),
    )


def resource_name(source: str | None, kind: str) -> str | None:
    """Return the name of a resource in a path such as `…/registries/acme`, or None.

    Args:
        source: The path.
        kind: The name before it, in any case: `registries`, `workspaces`.
    """
    parts = (source or "").split("/")
    for index, part in enumerate(parts[:-1]):
        if part.lower() == kind:
            return parts[index + 1] or None
    return None

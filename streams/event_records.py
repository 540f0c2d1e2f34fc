"""Events as records of the input topics: which topic, which key, which bytes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from schemas.channels import Channel
from schemas.cloudevents import write_structured
from schemas.events import TYPE_PACKAGE_INSTALL, TYPE_PIPELINE_RUN, TYPE_REGISTRY_PUSH, Event

CHANNEL_OF_TYPE: Final = {
    TYPE_REGISTRY_PUSH: Channel.REGISTRY_PUSH,
    TYPE_PACKAGE_INSTALL: Channel.PACKAGE_INSTALL,
    TYPE_PIPELINE_RUN: Channel.PIPELINE_RUN,
}
CONTENT_TYPE: Final = ("content-type", b"application/cloudevents+json")


class EventRecord(NamedTuple):
    """An event, and the bytes that are sent for it."""

    event: Event[Any]
    value: bytes
    """Native events as their producer wrote them, including unknown fields."""


def written(event: Event[Any]) -> EventRecord:
    """Return the record of an event that Tidewatch built."""
    return EventRecord(event, write_structured(event))


def event_key(event: Event[Any]) -> str:
    """Return the key of an event's record: tenant and subject."""
    return f"{event.tenantid}|{event.subject}"

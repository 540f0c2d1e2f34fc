"""Unwraps what producers' payloads arrive in: arrays, Amazon SNS, and pulls of Cloud Pub/Sub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from schemas.canonical import canonical_json
from schemas.cloudevents import MAX_DEPTH, nesting
from streams.adapters.payload import MAX_ITEMS, MAX_PAYLOAD_BYTES, refuse

_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NOTIFICATION: Final = "Notification"
_OF_SNS: Final = frozenset({"Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"})
_CONFIRMS: Final = "SubscriptionConfirmation"
_MARKS: Final = (b'"TopicArn"', b'"receivedMessages"')


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What tells an envelope from a payload."""

    type: Any = msgspec.field(name="Type", default=None)
    topic: Any = msgspec.field(name="TopicArn", default=None)
    message: Any = msgspec.field(name="Message", default=None)
    received: list[msgspec.Raw] | None = msgspec.field(name="receivedMessages", default=None)


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)


def payloads_in(delivery: bytes | str | Mapping[str, Any]) -> list[bytes | str | Mapping[str, Any]]:
    """Return the payloads that one delivery brings; what is no envelope is returned as it is.

    An array of nothing is returned as well, and refused where it is read. A message that sets up or
    ends a subscription of SNS brings none.

    Args:
        delivery: The body of a request, or a file.

    Raises:
        UnreadableRecordError: more payloads than `MAX_ITEMS`.

    Source: Azure Event Grid, which delivers arrays; Amazon SNS, HTTP notification format; Cloud
    Pub/Sub, `subscriptions.pull`.
    """
    if isinstance(delivery, Mapping):
        raw = canonical_json(delivery)
    else:
        raw = delivery.encode() if isinstance(delivery, str) else bytes(delivery)
    is_array = raw.lstrip()[:1] == b"["
    if not is_array and not any(mark in raw for mark in _MARKS):
        return [delivery]
    if len(raw) > MAX_PAYLOAD_BYTES or nesting(raw) > MAX_DEPTH:
        return [delivery]  # Reading it refuses it.
    try:
        if is_array:
            return _all(_ARRAY.decode(raw)) or [delivery]
        envelope = _ENVELOPE.decode(raw)
    except msgspec.DecodeError:
        return [delivery]
    if envelope.received is not None:
        return _all(envelope.received)
    if envelope.topic is None or envelope.type not in _OF_SNS:
        return [delivery]
    if envelope.type == _NOTIFICATION and isinstance(envelope.message, str):
        return [envelope.message]
    return []


def why_no_event(delivery: bytes) -> str:
    """Return why a delivery that was read gave no event."""
    if _MARKS[0] in delivery and len(delivery) <= MAX_PAYLOAD_BYTES:
        try:
            if _ENVELOPE.decode(delivery).type == _CONFIRMS:
                return (
                    "the subscription is not confirmed yet: open the SubscribeURL of this message, "
                    "after checking that the topic is yours"
                )
        except msgspec.DecodeError:
            pass
    return "nothing in it is about a supply chain"


def _all(entries: list[msgspec.Raw]) -> list[bytes | str | Mapping[str, Any]]:
    if len(entries) > MAX_ITEMS:
        raise refuse(f"{len(entries)} payloads in one delivery, the limit is {MAX_ITEMS}")
    return [bytes(entry) for entry in entries]

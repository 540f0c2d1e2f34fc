"""Dead letters of requests that can't be read: limited in rate for each endpoint."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Final

from agents.ports import Record
from schemas.channels import Channel
from schemas.errors import UnreadableRecordError
from streams.gateway.delivery import GatewayRecord
from streams.kafka.dead_letters import dead_letter
from streams.kafka.topics import topic_name
from streams.settings import Settings

APP: Final = "gateway"
BURST: Final = 60.0
PER_SECOND: Final = 1.0
NO_TOPIC: Final = -1
"""The partition of a request, which came from no topic and can't be replayed."""
_DIGITS: Final = 15


class Letters:
    """Makes the dead letters of one gateway."""

    def __init__(self, settings: Settings) -> None:
        """Prepare, with a full allowance for each endpoint."""
        self._settings = settings
        self._topic = topic_name(settings, Channel.DEAD_LETTER)
        self._left: dict[str, tuple[float, float]] = {}

    def letter(
        self, endpoint: str, body: bytes, content_type: str | None, error: UnreadableRecordError
    ) -> GatewayRecord | None:
        """Return the dead letter of a request, None if its endpoint has reached its rate.

        The same request has the same letter: its key is over its endpoint and its body.

        Args:
            endpoint: The name of the endpoint.
            body: The request's body.
            content_type: Its content type; no other header is kept, since some are secret.
            error: Why it can't be read.
        """
        if not self._allowed(endpoint):
            return None
        digest = sha256(endpoint.encode() + b"\0" + body).digest()
        record = Record(
            topic=f"{APP}.{endpoint}",
            partition=NO_TOPIC,
            offset=int.from_bytes(digest[:8], "big") % 10**_DIGITS,
            timestamp_ms=time.time_ns() // 1_000_000,
            key=None,
            value=body,
            headers=(("content-type", content_type.encode("utf-8", "replace")),)
            if content_type
            else (),
        )
        limit = self._settings.max_event_bytes
        made = dead_letter(record, reason=error.reason, error=error.error, app=APP, limit=limit)
        return GatewayRecord(self._topic, made.key, made.value, made.headers)

    def _allowed(self, endpoint: str) -> bool:
        now = time.monotonic()
        left, since = self._left.get(endpoint, (BURST, now))
        left = min(BURST, left + (now - since) * PER_SECOND)
        allowed = left >= 1
        self._left[endpoint] = (left - 1 if allowed else left, now)
        return allowed

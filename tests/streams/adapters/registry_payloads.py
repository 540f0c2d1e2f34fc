"""What the tests of registries' adapters share: payloads, and the events that they give."""

from __future__ import annotations

import orjson

from streams.adapters import adapt

RECEIVED_MS = 1_795_000_000_000


def events_of(kind, body, received_ms=RECEIVED_MS):
    return adapt(kind, orjson.dumps(body), tenant="t", received_ms=received_ms)

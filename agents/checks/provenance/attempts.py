"""Decides when the slow work of a push is tried again."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.scans import ScanRequest

MAX_ATTEMPTS: Final = 5
BACKOFF_MS: Final = (60_000, 300_000, 1_800_000, 7_200_000)
"""Wait before attempts two to five."""


def next_attempt(request: ScanRequest, now_ms: int) -> ScanRequest | None:
    """Return the next attempt at a scan, None after the last one.

    Args:
        request: The attempt that failed.
        now_ms: The broker's timestamp of that attempt, milliseconds since the epoch: a replay
            asks for the same.
    """
    if request.attempt >= MAX_ATTEMPTS:
        return None
    return msgspec.structs.replace(
        request,
        attempt=request.attempt + 1,
        not_before_ms=now_ms + BACKOFF_MS[request.attempt - 1],
    )

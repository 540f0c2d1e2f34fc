"""Why a record could not be read: the reason codes of the dead-letter topic."""

from __future__ import annotations

from typing import Final

NULL_VALUE: Final = "null-value"
TOO_LARGE: Final = "too-large"
INVALID_UTF8: Final = "invalid-utf8"
INVALID_JSON: Final = "invalid-json"
TOO_DEEP: Final = "too-deep"
INVALID_ENVELOPE: Final = "invalid-envelope"
INVALID_EVENT: Final = "invalid-event"
MISSING_IDENTITY: Final = "missing-identity"
UNKNOWN_TYPE: Final = "unknown-type"
UNSUPPORTED_VERSION: Final = "unsupported-version"
TENANT_MISMATCH: Final = "tenant-mismatch"
INVALID_SIGNATURE: Final = "invalid-signature"
NOT_AUTHORISED: Final = "not-authorised"
"""Its signature is valid, but the key may not sign this."""
PRODUCER_TIME: Final = "producer-time"
"""Its time is its producer's; the topic lacks `message.timestamp.type=LogAppendTime`."""
OUTPUT_TOO_LARGE: Final = "output-too-large"
CHECK_FAILED: Final = "check-failed"
"""A check failed unexpectedly: the event is kept, and counted as not checked."""
BATCH_TOO_LARGE: Final = "batch-too-large"
"""A compressed batch expands beyond the memory limit; none of its records was read."""
UNREADABLE_BATCH: Final = "unreadable-batch"
"""A batch, or its rest, violates Kafka's format."""
UNREADABLE_RUN: Final = "unreadable-run"
"""A run of unreadable records, represented by one dead letter."""
TOO_MANY_OUTPUTS: Final = "too-many-outputs"
"""The outputs of one record exceed what can be delivered at once."""
NOT_DELIVERED: Final = "not-delivered"
"""A destination did not accept a notification; a replay sends it once more, with the same id."""

REASONS: Final = frozenset(
    {
        NULL_VALUE,
        TOO_LARGE,
        INVALID_UTF8,
        INVALID_JSON,
        TOO_DEEP,
        INVALID_ENVELOPE,
        INVALID_EVENT,
        MISSING_IDENTITY,
        UNKNOWN_TYPE,
        UNSUPPORTED_VERSION,
        TENANT_MISMATCH,
        INVALID_SIGNATURE,
        NOT_AUTHORISED,
        PRODUCER_TIME,
        OUTPUT_TOO_LARGE,
        CHECK_FAILED,
        BATCH_TOO_LARGE,
        UNREADABLE_BATCH,
        UNREADABLE_RUN,
        TOO_MANY_OUTPUTS,
        NOT_DELIVERED,
    }
)

"""What the component ledger does with each message, over the rows of its partition."""

from __future__ import annotations

from collections.abc import Iterable

from agents.ports import Delivery, Publish, Rows
from agents.triage.correlation import PRIVATE_TENANTS
from agents.triage.ledger import (
    expiry,
    indicators,
    intelligence,
    known_good,
    propagation,
    source_health,
)
from agents.triage.ledger.batch import Desk
from agents.triage.ledger.sightings import on_sighting
from schemas.intel import IntelFact
from schemas.ledger import (
    CaseState,
    Derived,
    FactChange,
    FindingSeen,
    GoBack,
    LedgerMessage,
    SourceSeen,
    Taint,
    Tick,
)
from schemas.observations import Sighting

LedgerInput = LedgerMessage | IntelFact | None
"""What the ledger reads: `observations`, and `intel` (None: a tombstone)."""


def process(
    deliveries: Iterable[Delivery[LedgerInput]],
    publish: Publish,
    rows: Rows,
    *,
    k: int = PRIVATE_TENANTS,
) -> None:
    """Take a batch into the ledger.

    Args:
        deliveries: Records of one partition of `observations` and `intel`, in order.
        publish: Where its messages go.
        rows: The partition's rows.
        k: Fewer tenants are never counted in what a tenant reads.
    """
    desk = Desk(rows, publish, k)
    for delivery in deliveries:
        value = delivery.value
        if type(value) is Sighting:  # the hot path
            on_sighting(desk, value)
        elif value is None or isinstance(value, IntelFact):
            record = delivery.record
            key = (record.key or b"").decode("utf-8", "replace")
            revision = (record.timestamp_ms, record.offset)
            intelligence.on_fact(desk, intelligence.fact_of(key, value, revision))
        else:
            _take(desk, value)
    desk.store.flush()


def _take(desk: Desk, message: LedgerMessage) -> None:
    match message:
        case Sighting():
            on_sighting(desk, message)
        case FindingSeen():
            indicators.on_finding(desk, message)
        case FactChange():
            intelligence.on_fact(desk, message)
        case Derived():
            propagation.on_derived(desk, message)
        case Taint():
            propagation.on_taint(desk, message)
        case CaseState():
            propagation.on_case(desk, message)
            indicators.suppress(
                desk,
                message.key,
                message.incident,
                message.revision,
                active=message.state == "dismissed",
                incident=message.incident,
            )
        case GoBack():
            row = propagation.component_row(desk, message.key)
            known_good.on_go_back(desk, message, row)
        case SourceSeen():
            source_health.on_source(desk, message)
        case Tick():
            if expiry.due(desk, message.time_ms):
                expiry.expire(desk, message.time_ms)
                source_health.look_for_silence(desk, message.time_ms)

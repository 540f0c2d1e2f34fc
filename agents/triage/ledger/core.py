"""Dispatches each message of a batch to the part of the ledger that handles it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agents.ports import Delivery, Publish, Rows
from agents.triage.ledger import (
    advice,
    expiry,
    indicators,
    intelligence,
    known_good,
    marks,
    root_turns,
    source_health,
)
from agents.triage.ledger.batch import DEFAULT_OPTIONS, LedgerBatch, LedgerOptions
from agents.triage.ledger.namespaces import admitted
from agents.triage.ledger.sightings import on_sighting
from schemas.incidents.states import CaseOutcome
from schemas.intel import IntelFact
from schemas.ledger import (
    AdviceOffered,
    CaseState,
    Derived,
    FactChange,
    FindingSeen,
    GoBack,
    LedgerMessage,
    RootTurned,
    SourceSeen,
    Taint,
    Tick,
)
from schemas.observations import Sighting

LedgerInput = LedgerMessage | IntelFact | None
"""The ledger's input: `observations`, and `intel` (None: a tombstone)."""


def process(
    deliveries: Iterable[Delivery[LedgerInput]],
    publish: Publish,
    rows: Rows,
    options: LedgerOptions = DEFAULT_OPTIONS,
) -> None:
    """Apply a batch to the ledger.

    Args:
        deliveries: Records of one partition of `observations` and `intel`, in order.
        publish: Publishes messages.
        rows: The partition's rows.
        options: The operator's options.
    """
    batch = LedgerBatch(rows, publish, options)
    for delivery in deliveries:
        publish.caused_by(delivery.record.entered_ms)
        value = delivery.value
        batch.baseline = isinstance(value, Sighting) and value.baseline
        if type(value) is Sighting:  # the hot path
            seen = admitted(batch, value)
            if isinstance(seen, Sighting):
                on_sighting(batch, seen)
        elif value is None or isinstance(value, IntelFact):
            intelligence.on_fact(batch, intelligence.fact_of(delivery.record, value))
        else:
            message = admitted(batch, value)
            if message is not None:
                _take(batch, message)
    batch.store.flush()


def _take(batch: LedgerBatch, message: LedgerMessage) -> None:
    match message:
        case Sighting():
            on_sighting(batch, message)
        case FindingSeen():
            indicators.on_finding(batch, message)
        case FactChange():
            intelligence.on_fact(batch, message)
        case Derived():
            intelligence.on_derived(batch, message)
        case Taint():
            marks.on_taint(batch, message)
        case CaseState():
            if not message.after:
                marks.on_case(batch, message)
            last = indicators.suppress(
                batch,
                message.key,
                message.incident,
                message.revision,
                active=message.state == CaseOutcome.DISMISSED,
                incident=message.incident,
                tenant=message.tenant,
                after=message.after,
            )
            if last:
                batch.send_to_ledger(message.key, msgspec.structs.replace(message, after=last))
        case GoBack():
            known_good.on_go_back(batch, message, batch.component_row(message.key))
        case AdviceOffered():
            advice.on_offered(batch, message)
        case RootTurned():
            root_turns.on_turn(batch, message)
        case SourceSeen():
            source_health.on_source(batch, message)
        case Tick():
            periodic = expiry.due(batch, message.time_ms)
            if periodic:
                root_turns.look_for_turns(batch, message.time_ms)
            if periodic or expiry.unfinished(batch):
                expiry.expire(batch, message.time_ms)
            if periodic:
                source_health.look_for_silence(batch, message.time_ms)

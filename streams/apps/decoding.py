"""Decodes records into the typed values of agents; refuses all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agents.containment_results import SignedResult, read_result
from agents.ports import Record
from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.decisions import DECISION_TYPE, SEVERITY_TARGETS, Decision, DecisionKind
from schemas.documents.openc2 import InvalidCommandError
from schemas.errors import UnreadableRecordError
from schemas.events import PackageInstall, PipelineRun, RegistryPush
from schemas.incidents.updates import IncidentMessage
from schemas.intel import IntelFact
from schemas.key_bindings import TrustedKey, authorise_decision, bound_signer
from schemas.ledger import LedgerMessage
from schemas.reading import record_reader
from streams.engine.binding import Decode
from streams.kafka.signed_records import (
    Admit,
    refusing_signatures,
    require_broker_time,
    require_type,
)
from streams.kafka.topics import TopicOrigin
from streams.settings import Settings

_CARRIES: Final[dict[Channel, type]] = {
    # the event that each channel carries
    Channel.REGISTRY_PUSH: RegistryPush,
    Channel.PACKAGE_INSTALL: PackageInstall,
    Channel.PIPELINE_RUN: PipelineRun,
}
_read_fact = record_reader(IntelFact)


def event_decoder(settings: Settings) -> Decode:
    """Return the decoder of the CloudEvents of a channel."""

    def decode(record: Record, origin: TopicOrigin) -> Any:  # noqa: ANN401 -- one of three events
        event = read_event(
            record.value,
            record.headers,
            timestamp_ms=record.timestamp_ms,
            max_bytes=settings.max_event_bytes,
            bound_tenant=origin.tenant,
        )
        if not isinstance(event.data, _CARRIES[origin.channel]):
            raise UnreadableRecordError(
                reasons.UNKNOWN_TYPE, f"type {event.type!r} on the topic of {origin.channel}"
            )
        if not record.appended:
            return event  # its time is its producer's claim: it introduces nothing
        position = (record.timestamp_ms, record.topic, record.partition, record.offset)
        return msgspec.structs.replace(event, position=position)

    return decode


def value_decoder(kind: Any) -> Decode:  # noqa: ANN401 -- a type or union
    """Return the decoder of bare JSON records of `kind`."""
    read = record_reader(kind)

    def decode(record: Record, origin: TopicOrigin) -> Any:  # noqa: ANN401 -- of `kind`
        del origin
        return read(record.value)

    return decode


def ledger_decoder(admit_fact: Admit | None = None) -> Decode:
    """Return the decoder of observations, and of intel with its tombstones.

    Args:
        admit_fact: Refuses a record of intel without an authorised signature.
    """
    read_observation = record_reader(LedgerMessage)

    def decode(record: Record, origin: TopicOrigin) -> Any:  # noqa: ANN401 -- a message, fact or None
        if origin.channel is not Channel.INTEL:
            return read_observation(record.value)
        if not record.key:
            raise UnreadableRecordError(reasons.MISSING_IDENTITY, "a fact without a key")
        if admit_fact is not None:
            admit_fact(record)
        return None if record.value is None else _read_fact(record.value)

    return decode


def incidents_decoder(ring: Mapping[str, TrustedKey]) -> Decode:
    """Return the decoder of incident updates, and of decisions by authorised actors.

    Args:
        ring: The keys of deciding actors, by key id, with their rights.
    """
    read_update = record_reader(IncidentMessage)
    read_decision = record_reader(Decision)

    def decode(record: Record, origin: TopicOrigin) -> Any:  # noqa: ANN401 -- an update or decision
        if origin.channel is not Channel.DECISIONS:
            return read_update(record.value)
        decision = read_decision(record.value)
        _require_target(decision)
        require_bound_tenant(origin, decision.tenant)
        require_broker_time(record)
        with refusing_signatures():
            require_type(record, DECISION_TYPE)
            kid, binding = bound_signer(
                record.headers, record.value or b"", ring, timestamp_ms=record.timestamp_ms
            )
            authorise_decision(decision, kid, binding)
        return msgspec.structs.replace(decision, key=kid)

    return decode


def _require_target(decision: Decision) -> None:
    """Refuse a severity decision that sets no severity."""
    if decision.decision is DecisionKind.SEVERITY and decision.target not in SEVERITY_TARGETS:
        raise UnreadableRecordError(
            reasons.INVALID_EVENT,
            f"a severity decision whose target is not one of {', '.join(sorted(SEVERITY_TARGETS))}",
        )


def require_bound_tenant(origin: TopicOrigin, tenant: str | None) -> None:
    """Refuse a record without the tenant that its topic is bound to."""
    if origin.tenant is not None and tenant != origin.tenant:
        raise UnreadableRecordError(
            reasons.TENANT_MISMATCH, f"the topic is bound to tenant {origin.tenant}"
        )


def result_decoder() -> Decode:
    """Return the decoder of a responder's results."""

    def decode(record: Record, origin: TopicOrigin) -> SignedResult:
        if record.value is None:
            raise UnreadableRecordError(reasons.NULL_VALUE, "the record has no value")
        try:
            result = read_result(record)
        except InvalidCommandError as error:
            raise UnreadableRecordError(reasons.INVALID_EVENT, error.explain()) from error
        require_bound_tenant(origin, result.tenant)
        require_broker_time(record)
        return result

    return decode

"""The agent of containment results: verifies the responder, assigns the result to its incident."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from agents.ports import Batch, Message, Publish, Record
from agents.triage.routing import incident_message
from schemas.canonical import stable_id
from schemas.cloudevents import first_headers
from schemas.dead_letters import INVALID_EVENT, INVALID_SIGNATURE
from schemas.documents import openc2
from schemas.incidents.holds import hold_key
from schemas.incidents.updates import ForgedResult, ResultUpdate
from schemas.signing import InvalidSignatureError, verify_signature

ID_LIMIT: Final = 128
DETAIL_LIMIT: Final = 300
HOLD_LIMIT: Final = 1024


class SignedResult(msgspec.Struct, frozen=True, kw_only=True):
    """A result as received; untrusted until its signature is verified."""

    incident: str
    tenant: str
    response: openc2.Response


def read_result(record: Record) -> SignedResult:
    """Return a result with the incident and tenant its headers name.

    Raises:
        InvalidCommandError: not a response to one of our commands.
    """
    headers = first_headers(record.headers)
    return SignedResult(
        incident=headers.get("ce_correlationid", b"").decode("utf-8", "replace")[:ID_LIMIT],
        tenant=headers.get("ce_tenantid", b"").decode("utf-8", "replace")[:ID_LIMIT],
        response=openc2.read_response(record.value or b""),
    )


def containment_results_agent(
    ring: Callable[[str], Mapping[str, bytes]],
) -> Callable[[Batch[SignedResult], Publish], Awaitable[None]]:
    """Return the agent that trusts the responders whose public keys are in the ring.

    Args:
        ring: Returns the public keys of a tenant's responders, by key id.
    """

    async def containment_results(batch: Batch[SignedResult], publish: Publish) -> None:
        for delivery in batch.deliveries:
            record, result = delivery.record, delivery.value
            extension = result.response.results[openc2.EXTENSION]
            named = extension.get("incident", result.incident)
            lacks = openc2.missing_headers(first_headers(record.headers))
            if not lacks and named not in {None, result.incident}:
                lacks = "the result names another incident than its header ce_correlationid"
            if lacks:
                publish.refuse(record, INVALID_EVENT, lacks)
                continue
            at = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
            try:
                verify_signature(
                    record.headers,
                    record.value or b"",
                    ring(result.tenant),
                    timestamp_ms=record.timestamp_ms,
                )
            except InvalidSignatureError as error:
                publish.refuse(record, INVALID_SIGNATURE, error.what)
                publish(_forged(result, record, at, error))
                continue
            publish(_answered(result, at))

    return containment_results


def _forged(
    result: SignedResult, record: Record, at: datetime, error: InvalidSignatureError
) -> Message:
    """Return the notice of a result without a signature of its tenant's responders."""
    forged = ForgedResult(
        incident=result.incident,
        id=stable_id("fgd", record.topic, str(record.partition), str(record.offset)),
        tenant=result.tenant,
        at=at,
        detail=error.what[:DETAIL_LIMIT],
    )
    return incident_message(result.incident, forged)


def _answered(result: SignedResult, at: datetime) -> Message:
    """Return the update of an incident or a hold by a result whose signature is valid."""
    response = result.response
    extension = response.results[openc2.EXTENSION]
    command_id = str(extension["command_id"])[:ID_LIMIT]
    hold = extension.get("hold")
    component = hold[:HOLD_LIMIT] if isinstance(hold, str) else ""
    update = ResultUpdate(
        incident=result.incident,
        id=stable_id("res", command_id, str(extension.get("attempt", 1)), str(response.status)),
        command_id=command_id,
        tenant=result.tenant,
        status=response.status,
        at=at,
        status_text=response.status_text[:DETAIL_LIMIT],
        results={
            str(name)[:ID_LIMIT]: value
            for name, value in extension.items()
            if isinstance(value, str | int | float | bool)
        },
        hold=component,
    )
    # The tenant is the one whose key signed it, so other tenants' holds are unaffected.
    key = hold_key(result.tenant, component) if component else result.incident
    return incident_message(key, update)

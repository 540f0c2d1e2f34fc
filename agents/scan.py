"""The agent of scan requests: the slow work of a push, retried if it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final, Protocol, runtime_checkable

import msgspec

from agents.checking import SightingDeduplicator, failed_message, outcome_messages
from agents.checks.provenance.scan_push import AT_ONCE, Fetch, ScanFile, ScanOutcome, scan_push
from agents.checks.provenance.subject import push_subject
from agents.checks.required import with_required
from agents.domain.knowledge import Knowledge
from agents.fair_turns import FairTurns, TimedTurns
from agents.fetching.errors import FetchError
from agents.logs import Logger
from agents.measures import ScanMeasure
from agents.ports import Batch, Delivery, Message, Publish
from agents.registry_push import push_context, scan_message
from schemas.assessments import AssessmentStage, Check
from schemas.channels import Channel
from schemas.dead_letters import CHECK_FAILED
from schemas.policy import Policy
from schemas.scans import ScanRequest
from schemas.severity import Status

log = Logger()

PAUSE_SECONDS: Final = 2.0
"""Pause before requests, none of which is due yet, are requeued."""


class Clock(Protocol):
    """The clock that decides when a request is due; no output depends on it."""

    def __call__(self) -> int:
        """Return milliseconds since the epoch."""


@runtime_checkable
class TenantScans(Protocol):
    """Separates the scanning processes of tenants."""

    def for_tenant(self, tenant: str) -> ScanFile:
        """Return the scanner of a tenant's files, which scans no other tenant's."""


def scan_agent(
    knowledge: Knowledge,
    fetch: Callable[[Policy], AbstractContextManager[Fetch]],
    scan: ScanFile | TenantScans,
    now: Clock,
    turns: FairTurns | None = None,
) -> Callable[[Batch[ScanRequest], Publish], Awaitable[None]]:
    """Return the agent that scans pushes.

    Args:
        knowledge: Intelligence and the tenants' policies.
        fetch: Opens artifacts within a tenant's fetch scope.
        scan: Scans one file in the sandbox, or provides a scanner for each tenant.
        now: The time.
        turns: Shares the slow work between tenants; by default one turn for each file that a push
            may have scanned at a time.
    """
    turns = turns or FairTurns(AT_ONCE)
    deduplicator = SightingDeduplicator()

    async def one(delivery: Delivery[ScanRequest], publish: Publish) -> list[Message] | None:
        request = delivery.value
        work = TimedTurns(turns, request.tenant)
        policy = knowledge.policy(request.tenant)
        own = scan.for_tenant(request.tenant) if isinstance(scan, TenantScans) else scan
        try:
            with fetch(policy) as reach:
                outcome = await scan_push(
                    request,
                    knowledge,
                    reach,
                    own,
                    now_ms=delivery.record.timestamp_ms,
                    turn=work.turn,
                )
        except FetchError as error:
            outcome = _unreachable(error)
        except Exception:
            # Nothing lost: a push that breaks a check is kept, and does not block the others.
            log.exception("scan-failed", request=request.id, attempt=request.attempt)
            return None
        publish.on_abandoned(deduplicator.begin())
        messages = [
            _timed(message, work.seconds)
            for message in _scan_messages(request, outcome, policy, deduplicator)
        ]
        if outcome.retry is not None:
            messages.append(scan_message(outcome.retry))
        return messages

    async def scan_requests(batch: Batch[ScanRequest], publish: Publish) -> None:
        moment = now()
        # comprehensions do not reuse the function's name as a variable: Python 3.12 confuses them
        due = [held for held in batch.deliveries if held.value.not_before_ms <= moment]
        early = [held for held in batch.deliveries if held.value.not_before_ms > moment]
        if early and not due:
            await asyncio.sleep(PAUSE_SECONDS)
        for delivery, messages in zip(
            due, await asyncio.gather(*(one(delivery, publish) for delivery in due)), strict=True
        ):
            if messages is None:
                publish.refuse(delivery.record, CHECK_FAILED, "the scan failed unexpectedly")
                publish(failed_message(delivery.value.event, AssessmentStage.SCAN))
                continue
            publish.caused_by(delivery.record.entered_ms)
            for message in messages:
                publish(message)
        for delivery in early:
            publish.caused_by(delivery.record.entered_ms)
            publish(scan_message(delivery.value))

    return scan_requests


def _scan_messages(
    request: ScanRequest,
    outcome: ScanOutcome,
    policy: Policy,
    deduplicator: SightingDeduplicator,
) -> Iterator[Message]:
    """Return the messages of a scan's outcome, without its retry."""
    context = push_context(push_subject(request.event, policy))
    final = outcome.retry is None
    said = with_required(outcome.outcome, policy, context.component, final=final)
    return outcome_messages(
        request.event, said, context, deduplicator, stage=AssessmentStage.SCAN, final=final
    )


def _timed(message: Message, seconds: float) -> Message:
    """Return a message; the assessment's has outcome and duration of the scan as its measure."""
    if message.channel is not Channel.ASSESSMENTS or not isinstance(message.measure, ScanMeasure):
        return message
    measure = msgspec.structs.replace(message.measure, seconds=seconds)
    return msgspec.structs.replace(message, measure=measure)


def _unreachable(error: FetchError) -> ScanOutcome:
    """Return the outcome of a push whose tenant has no fetch scope: never clean."""
    return ScanOutcome(
        checks=(Check(name="scan", status=Status.INCOMPLETE, detail=error.explain()[:300]),)
    )

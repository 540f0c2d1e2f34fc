"""The agent of scan requests: the slow work of a push, retried if it failed.

A request whose work takes long, or is not due yet, is put back at the end of its partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, Protocol, runtime_checkable

import msgspec

from agents.checking import SightingDeduplicator, failed_message, outcome_messages
from agents.checks.provenance.scan_push import AT_ONCE, Fetch, ScanFile, ScanOutcome, scan_push
from agents.checks.provenance.subject import push_subject
from agents.checks.required import with_required
from agents.domain.check_names import CheckName
from agents.domain.knowledge import Knowledge
from agents.fair_turns import FairTurns, TimedTurns
from agents.fetching.errors import FetchError
from agents.logs import Logger
from agents.measures import ScanMeasure
from agents.ports import Batch, Delivery, Message, Publish
from agents.registry_push import push_context, scan_message
from agents.scans_under_way import HOLD_SECONDS, ScansUnderWay
from schemas.assessments import AssessmentStage, Check
from schemas.channels import Channel
from schemas.dead_letters import CHECK_FAILED
from schemas.policy import Policy
from schemas.scans import ScanRequest
from schemas.severity import Status

log = Logger()

PAUSE_SECONDS: Final = 2.0
"""Pause before requests are put back, none of which is due yet or could begin."""
BYTES_PER_SECOND: Final = 1 << 20
"""How fast such requests are put back at most; a request may be as large as an event."""
TURNS: Final = AT_ONCE + 1
"""Files that a process fetches and scans at a time; one tenant takes `AT_ONCE` of them at most."""


class Clock(Protocol):
    """The clock that decides when a request is due; no output depends on it."""

    def __call__(self) -> int:
        """Return milliseconds since the epoch."""


@runtime_checkable
class TenantScans(Protocol):
    """Separates the scanning processes of tenants."""

    def for_tenant(self, tenant: str) -> ScanFile:
        """Return the scanner of a tenant's files, which scans no other tenant's."""


class _Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a request's work."""

    outcome: ScanOutcome
    policy: Policy
    """The tenant's policy, as it was when the work began."""
    seconds: float
    """The time in which it held a turn."""


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
            may have scanned at a time, and one more.
    """
    # Over 60 lines: the steps share what the agent remembers between chunks.
    turns = turns or FairTurns(TURNS, AT_ONCE)
    deduplicator = SightingDeduplicator()
    under_way: ScansUnderWay[_Scanned | None] = ScansUnderWay()

    async def work_on(delivery: Delivery[ScanRequest]) -> _Scanned | None:
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
        return _Scanned(outcome=outcome, policy=policy, seconds=work.seconds)

    def messages_of(request: ScanRequest, scanned: _Scanned, publish: Publish) -> Iterator[Message]:
        publish.on_abandoned(deduplicator.begin())
        for message in _scan_messages(request, scanned.outcome, scanned.policy, deduplicator):
            yield _timed(message, scanned.seconds)
        if scanned.outcome.retry is not None:
            yield scan_message(scanned.outcome.retry)

    async def scan_requests(batch: Batch[ScanRequest], publish: Publish) -> None:
        moment = now()
        asked = [
            under_way.ask(held.value, partial(work_on, held))
            if held.value.not_before_ms <= moment
            else None
            for held in batch.deliveries
        ]
        due = [work for work in asked if work is not None]
        size = sum(len(held.record.value or b"") for held in batch.deliveries)
        pause = min(PAUSE_SECONDS + size / BYTES_PER_SECOND, HOLD_SECONDS)
        if due:
            await under_way.wait(due, pause)
        else:
            await asyncio.sleep(pause)
        put_back: list[Delivery[ScanRequest]] = []
        for delivery, work in zip(batch.deliveries, asked, strict=True):
            if work is None or not work.task.done():
                put_back.append(delivery)
                continue
            scanned = work.task.result()
            if scanned is None:
                publish.refuse(delivery.record, CHECK_FAILED, "the scan failed unexpectedly")
                publish(failed_message(delivery.value.event, AssessmentStage.SCAN))
                continue
            publish.caused_by(delivery.record.entered_ms)
            for message in messages_of(delivery.value, scanned, publish):
                publish(message)
        for delivery in put_back:
            publish.caused_by(delivery.record.entered_ms)
            publish(scan_message(delivery.value))
        under_way.release(due)

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
        checks=(Check(name=CheckName.SCAN, status=Status.INCOMPLETE, detail=error.explain()[:300]),)
    )

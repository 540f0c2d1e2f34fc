"""The agent of registry-push events: the quick checks, and the request for the slow ones."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agents.checking import (
    CheckingAgent,
    Context,
    SightingDeduplicator,
    checking_agent,
    outcome_messages,
    policy_notice,
    with_allowed_baseline,
)
from agents.checks.provenance.push import check_push
from agents.checks.provenance.subject import PushSubject, push_subject
from agents.checks.required import with_required
from agents.domain.knowledge import Knowledge
from agents.ports import Message
from schemas.channels import Channel
from schemas.events import Event, RegistryPush
from schemas.scans import ScanRequest


def push_context(subject: PushSubject) -> Context:
    """Return the fields of a push that its findings carry."""
    return Context(
        component=subject.component,
        version=subject.version,
        systems=subject.push.systems,
        identities=subject.push.identities,
        exposure=subject.exposure,
        publisher=subject.publisher,
    )


def scan_message(request: ScanRequest) -> Message:
    """Return the record that asks the scan app for slow work."""
    return Message(
        channel=Channel.SCAN_REQUESTS, key=request.key, value=msgspec.json.encode(request)
    )


def registry_push_agent(knowledge: Knowledge) -> CheckingAgent[RegistryPush]:
    """Return the agent that checks registry pushes with this knowledge."""
    deduplicator = SightingDeduplicator()

    def check(event: Event[RegistryPush]) -> Iterator[Message]:
        policy = knowledge.policy(event.tenantid)
        event = with_allowed_baseline(event, policy)
        subject = push_subject(event, policy)
        request = subject.request
        context = push_context(subject)
        final = request is None
        outcome = with_required(
            check_push(subject, knowledge), policy, context.component, final=final
        )
        yield from policy_notice(event.tenantid, policy, deduplicator)
        yield from outcome_messages(event, outcome, context, deduplicator, final=final)
        if request is not None:
            yield scan_message(request)

    return checking_agent(check, deduplicator)

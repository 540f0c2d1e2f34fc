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
)
from agents.checks.provenance.identity import (
    push_component,
    push_exposure,
    push_publisher,
    push_version,
)
from agents.checks.provenance.planning import plan_scan
from agents.checks.provenance.push import check_push
from agents.checks.required import with_required
from agents.domain.knowledge import Knowledge
from agents.ports import Message
from schemas.channels import Channel
from schemas.events import Event, RegistryPush
from schemas.policy import Policy
from schemas.scans import ScanRequest


def push_context(event: Event[RegistryPush], policy: Policy) -> Context:
    """Return the fields of a push that its findings carry."""
    return Context(
        component=push_component(event, policy),
        version=push_version(event.data),
        systems=event.data.systems,
        identities=event.data.identities,
        exposure=push_exposure(event.data),
        publisher=push_publisher(event, policy),
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
        request = plan_scan(event, policy)
        context = push_context(event, policy)
        final = request is None
        outcome = with_required(
            check_push(event, knowledge), policy, context.component, final=final
        )
        yield from outcome_messages(event, outcome, context, deduplicator, final=final)
        if request is not None:
            yield scan_message(request)

    return checking_agent(check, deduplicator)

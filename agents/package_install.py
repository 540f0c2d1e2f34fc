"""The agent of package-install events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from agents.checking import (
    CheckingAgent,
    Context,
    SightingDeduplicator,
    checking_agent,
    outcome_messages,
    policy_notice,
    source_messages,
    with_allowed_baseline,
)
from agents.checks.packages.check import outcome_of
from agents.checks.packages.judgements import Judgements
from agents.checks.packages.seen import sightings
from agents.checks.required import with_required
from agents.domain.component_keys import event_key
from agents.domain.knowledge import Knowledge
from agents.install_sightings import InstallSightings
from agents.messages import passing_message
from agents.ports import Message
from schemas.components import component_key, tenant_scoped
from schemas.events import Event, PackageInstall


def install_context(event: Event[PackageInstall]) -> Context:
    """Return the fields of an install that its findings carry."""
    install = event.data
    system = install.system or event.subject
    place = event_key("image", install.image, event.tenantid) if install.image else None
    return Context(
        component=place or tenant_scoped(component_key("service", system), event.tenantid),
        systems=(system,),
        identities=install.identities,
    )


def package_install_agent(knowledge: Knowledge) -> CheckingAgent[PackageInstall]:
    """Return the agent that checks package installs with this knowledge."""
    deduplicator = SightingDeduplicator()
    return checking_agent(install_check(knowledge, deduplicator), deduplicator)


def install_check(
    knowledge: Knowledge, deduplicator: SightingDeduplicator, *, remember: bool = True
) -> Callable[[Event[PackageInstall]], Iterator[Message]]:
    """Return the function that checks an install and yields its records.

    Args:
        knowledge: Facts and policies.
        deduplicator: The sightings that were sent already.
        remember: Whether to reuse judgements between installs; the records are the same.
    """
    judgements = Judgements(knowledge) if remember else Judgements(knowledge, limit=0)
    unsent = InstallSightings(deduplicator) if remember else InstallSightings(deduplicator, limit=0)

    def check(event: Event[PackageInstall]) -> Iterator[Message]:
        policy = knowledge.policy(event.tenantid)
        event = with_allowed_baseline(event, policy)
        judgement = judgements.of(event, policy)
        yield from policy_notice(event.tenantid, policy, deduplicator)
        if policy.required_checks:
            # each sighting has the results of the event
            outcome = outcome_of(event, judgement, policy)
            seen = tuple(sightings(event, judgement.seen, judgement.attested))
            outcome = msgspec.structs.replace(outcome, sightings=seen)
            outcome = with_required(outcome, policy, "", final=True)
            yield from outcome_messages(event, outcome, install_context(event), deduplicator)
        elif remember and not judgement.found and not event.baseline:
            # nearly all installs
            yield from unsent.news(event, judgement)
            yield from source_messages(event, judgement.status, deduplicator, final=True)
            yield passing_message(event, judgement.status, judgement.checks_text)
        else:
            outcome = outcome_of(event, judgement, policy)
            news = unsent.news(event, judgement)
            context = install_context(event)
            yield from outcome_messages(event, outcome, context, deduplicator, news=news)

    return check

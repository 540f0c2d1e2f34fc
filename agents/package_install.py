"""The agent of package-install events."""

from __future__ import annotations

from collections.abc import Iterator

from agents.checking import (
    CheckingAgent,
    Context,
    SightingDeduplicator,
    checking_agent,
    outcome_messages,
    policy_notice,
)
from agents.checks.packages.check import check_packages
from agents.checks.required import with_required
from agents.domain.component_keys import event_key
from agents.domain.knowledge import Knowledge
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

    def check(event: Event[PackageInstall]) -> Iterator[Message]:
        policy = knowledge.policy(event.tenantid)
        outcome = with_required(check_packages(event, knowledge), policy, "", final=True)
        yield from policy_notice(event.tenantid, policy, deduplicator)
        yield from outcome_messages(event, outcome, install_context(event), deduplicator)

    return checking_agent(check, deduplicator)

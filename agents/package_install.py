"""The agent of package-install events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.checking import Context, Told, outcome_messages
from agents.checks.knowledge import Knowledge
from agents.checks.packages.check import check_packages
from agents.ports import Batch, Publish
from schemas.components import component_key, tenant_scoped
from schemas.events import Event, PackageInstall


def install_context(event: Event[PackageInstall]) -> Context:
    """Return what an install says of everything found in it."""
    install = event.data
    system = install.system or event.subject
    place = component_key("image", install.image) if install.image else None
    return Context(
        component=place or tenant_scoped(component_key("service", system), event.tenantid),
        systems=(system,),
        identities=install.identities,
    )


def package_install_agent(
    knowledge: Knowledge,
) -> Callable[[Batch[Event[PackageInstall]], Publish], Awaitable[None]]:
    """Return the agent that checks package installs with this knowledge."""
    told = Told()

    async def package_install(batch: Batch[Event[PackageInstall]], publish: Publish) -> None:
        for delivery in batch.deliveries:
            event = delivery.value
            outcome = check_packages(event, knowledge)
            for message in outcome_messages(event, outcome, install_context(event), told):
                publish(message)

    return package_install

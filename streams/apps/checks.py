"""The application that checks each event by its content."""

from __future__ import annotations

from collections.abc import Callable

from agents.domain.knowledge import Knowledge, MemoryKnowledge
from agents.domain.rules import family_rules
from agents.messages import refusal_message
from agents.package_install import package_install_agent
from agents.pipeline_run import pipeline_run_agent
from agents.registry_push import registry_push_agent
from schemas.channels import Channel
from streams.apps.decoding import event_decoder
from streams.apps.instrumentation import count
from streams.apps.knowledge_topics import knowledge_references
from streams.apps.topology import APPLICATIONS, AppParts
from streams.engine.binding import Agent, Binding
from streams.settings import Settings, operators_trust_roots


def build(settings: Settings) -> AppParts:
    """Return the parts of the application that checks events."""
    for family in APPLICATIONS["checks"].rule_families:
        # A rule file that does not load is reported at start, not by the first finding.
        family_rules(family)
    knowledge = MemoryKnowledge(operators_trust_roots(settings))
    decode = event_decoder(settings)
    agents: dict[Channel, Callable[[Knowledge], Agent]] = {
        Channel.REGISTRY_PUSH: registry_push_agent,
        Channel.PACKAGE_INSTALL: package_install_agent,
        Channel.PIPELINE_RUN: pipeline_run_agent,
    }
    return AppParts(
        bindings=tuple(
            Binding(
                name=channel.value,
                channels=(channel,),
                agent=agent(knowledge),
                count=count,
                decode=decode,
                refused=refusal_message,
            )
            for channel, agent in agents.items()
        ),
        references=knowledge_references(knowledge, settings),
    )

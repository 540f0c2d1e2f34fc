"""The application that keeps the component ledger."""

from __future__ import annotations

from typing import Any

from agents.domain.knowledge import MemoryKnowledge
from agents.domain.organisations import Register
from agents.ledger import ledger_agent
from agents.messages import ecs_indicator_messages, hygiene_apart
from agents.ports import Batch, Message, Publish, Rows
from schemas.channels import Channel
from streams.apps.decoding import ledger_decoder
from streams.apps.instrumentation import count
from streams.apps.knowledge_topics import policy_reference
from streams.apps.topology import AppParts
from streams.engine.binding import Agent, Binding
from streams.kafka.signed_records import admission
from streams.settings import Settings, operators_trust_roots


def with_other_indicators(agent: Agent, *, ecs: bool, hygiene: bool) -> Agent:
    """Return an agent that routes indicator records by the settings.

    Args:
        agent: Publishes indicator records.
        ecs: Also publish their ECS siblings.
        hygiene: Publish those of hygiene to a topic of their own.
    """

    class _Indicators:
        def __init__(self, publish: Publish) -> None:
            self._publish = publish
            self.refuse = publish.refuse
            self.on_abandoned = publish.on_abandoned
            self.caused_by = publish.caused_by

        def __call__(self, message: Message) -> None:
            self._publish(hygiene_apart(message) if hygiene else message)
            for sibling in ecs_indicator_messages(message) if ecs else ():
                self._publish(sibling)

    async def indicators(batch: Batch[Any], publish: Publish, rows: Rows) -> None:
        await agent(batch, _Indicators(publish), rows)

    return indicators


def build(settings: Settings) -> AppParts:
    """Return the parts of the application that keeps the component ledger."""
    knowledge = MemoryKnowledge(operators_trust_roots(settings))
    secret = settings.rank_secret.get_secret_value() if settings.rank_secret else ""
    agent = ledger_agent(
        settings.privacy_k,
        settings.popular_holders,
        Register(settings.organisations),
        secret.encode(),
        knowledge.trusts,
    )
    if settings.ecs or settings.hygiene_topic:
        agent = with_other_indicators(agent, ecs=settings.ecs, hygiene=settings.hygiene_topic)
    return AppParts(
        bindings=(
            Binding(
                name="ledger",
                channels=(Channel.OBSERVATIONS, Channel.INTEL),
                agent=agent,
                decode=ledger_decoder(admission(settings, Channel.INTEL, ordered=False)),
                rows=True,
                count=count,
            ),
        ),
        references=(policy_reference(knowledge, settings),),
    )

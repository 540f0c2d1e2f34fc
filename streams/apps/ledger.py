"""The application that keeps the component ledger."""

from __future__ import annotations

from typing import Any

from agents.domain.organisations import Register
from agents.ledger import ledger_agent
from agents.messages import ecs_indicator_messages
from agents.ports import Batch, Message, Publish, Rows
from schemas.channels import Channel
from streams.apps.decoding import ledger_decoder
from streams.apps.instrumentation import count
from streams.apps.topology import AppParts
from streams.engine.binding import Agent, Binding
from streams.kafka.signed_records import admission
from streams.settings import Settings


def with_ecs_indicators(agent: Agent) -> Agent:
    """Return an agent that also publishes the ECS sibling of each indicator record."""

    class _Siblings:
        def __init__(self, publish: Publish) -> None:
            self._publish = publish
            self.refuse = publish.refuse
            self.on_abandoned = publish.on_abandoned
            self.caused_by = publish.caused_by

        def __call__(self, message: Message) -> None:
            self._publish(message)
            for sibling in ecs_indicator_messages(message):
                self._publish(sibling)

    async def siblings(batch: Batch[Any], publish: Publish, rows: Rows) -> None:
        await agent(batch, _Siblings(publish), rows)

    return siblings


def build(settings: Settings) -> AppParts:
    """Return the parts of the application that keeps the component ledger."""
    agent = ledger_agent(
        settings.privacy_k, settings.popular_holders, Register(settings.organisations)
    )
    return AppParts(
        bindings=(
            Binding(
                name="ledger",
                channels=(Channel.OBSERVATIONS, Channel.INTEL),
                agent=with_ecs_indicators(agent) if settings.ecs else agent,
                decode=ledger_decoder(admission(settings, Channel.INTEL)),
                rows=True,
                count=count,
            ),
        )
    )

"""The application that keeps the component ledger."""

from __future__ import annotations

from agents.domain.knowledge import MemoryKnowledge
from agents.domain.organisations import Register
from agents.ledger import ledger_agent
from agents.messages import IndicatorMessages
from agents.triage.ledger.batch import LedgerOptions
from schemas.channels import Channel
from streams.apps.decoding import ledger_decoder
from streams.apps.instrumentation import count
from streams.apps.knowledge_topics import policy_reference
from streams.apps.topology import AppParts
from streams.engine.binding import Binding
from streams.kafka.signed_records import admission
from streams.settings import Settings, operators_trust_roots


def build(settings: Settings) -> AppParts:
    """Return the parts of the application that keeps the component ledger."""
    knowledge = MemoryKnowledge(operators_trust_roots(settings))
    secret = settings.rank_secret.get_secret_value() if settings.rank_secret else ""
    options = LedgerOptions(
        k=settings.privacy_k,
        popular_holders=settings.popular_holders,
        register=Register(settings.organisations),
        secret=secret.encode(),
        trusts=knowledge.trusts,
        indicators=IndicatorMessages(ecs=settings.ecs, hygiene=settings.hygiene_topic),
    )
    return AppParts(
        bindings=(
            Binding(
                name="ledger",
                channels=(Channel.OBSERVATIONS, Channel.INTEL),
                agent=ledger_agent(options),
                decode=ledger_decoder(admission(settings, Channel.INTEL, ordered=False)),
                rows=True,
                count=count,
            ),
        ),
        references=(policy_reference(knowledge, settings),),
    )

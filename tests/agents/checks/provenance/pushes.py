"""Events and knowledge the provenance tests are made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from agents.domain.knowledge import MemoryKnowledge
from schemas.events import TYPE_REGISTRY_PUSH, Event, RegistryPush
from schemas.intel import IntelFact
from schemas.policy import Policy

NOW = datetime(2026, 11, 20, 8, 15, 30, tzinfo=UTC)


def push_event(**data: Any) -> Event[RegistryPush]:
    push = msgspec.convert(
        {"registry": "huggingface", "repository": "acme-labs/m", **data}, RegistryPush
    )
    return Event(
        id="e-1",
        source="//huggingface/acme-labs",
        type=TYPE_REGISTRY_PUSH,
        subject=f"model:{push.registry}/{push.repository}",
        time=NOW,
        tenantid="tenant-a",
        data=push,
        received_ms=1_795_000_000_000,
    )


def knowing(policy: dict[str, Any] | None = None, *facts: IntelFact) -> MemoryKnowledge:
    knowledge = MemoryKnowledge()
    if policy is not None:
        knowledge.set_policy("tenant-a", msgspec.convert({"tenant": "tenant-a", **policy}, Policy))
    for fact in facts:
        knowledge.set_fact(fact.key, fact)
    return knowledge

"""A tenant's own topics: as many as the operator allows, however many tenants are made up."""

from __future__ import annotations

import asyncio

from agents.ports import Message
from schemas.channels import Channel
from streams.engine.router import TopicRouter
from streams.settings import load_settings


def test_number_of_topics_of_invented_tenants_is_bounded(kafka, tmp_path):
    settings = load_settings(
        kafka=kafka,
        topic_prefix="capped.",
        state_dir=tmp_path,
        tenant_topics=True,
        max_tenants=2,
        partitions=1,
    )
    addresses = TopicRouter(settings)

    async def topics(tenant):
        outgoing = []
        message = Message(channel=Channel.ALERTS, key="k", value=b"{}", tenant=tenant)
        await addresses.address(message, outgoing)
        return [record.topic for record in outgoing]

    async def all_topics():
        return [await topics(tenant) for tenant in ("a", "b", "c", "a")]

    a, b, c, again = asyncio.run(all_topics())
    assert a == again == ["capped.alerts", "tenant.a.alerts"]
    assert b == ["capped.alerts", "tenant.b.alerts"]
    assert c == ["capped.alerts"]

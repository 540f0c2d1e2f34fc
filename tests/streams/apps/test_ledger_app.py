"""Indicator records go where the settings say: ECS siblings, and hygiene apart."""

from __future__ import annotations

import asyncio

import pytest

from agents.messages import indicator_message
from schemas.channels import Channel
from schemas.severity import Category
from streams.apps.ledger import with_other_indicators
from tests.schemas import examples

COMPROMISE = indicator_message(examples.ioc())
HYGIENE = indicator_message(examples.ioc("unpinned_dependency", category=Category.HYGIENE))


class Published(list):
    def __call__(self, message):
        self.append(message)

    def refuse(self, *given):
        raise AssertionError(given)

    on_abandoned = caused_by = refuse


async def both(batch, publish, rows):
    assert (batch, rows) == ("batch", "rows")
    publish(COMPROMISE)
    publish(HYGIENE)


@pytest.mark.parametrize(
    ("ecs", "hygiene", "channels"),
    [
        (False, True, ["iocs", "hygiene"]),
        (True, False, ["iocs", "iocs-ecs", "iocs", "iocs-ecs"]),
        (True, True, ["iocs", "iocs-ecs", "hygiene", "iocs-ecs"]),
    ],
)
def test_indicators_go_where_the_settings_say(ecs, hygiene, channels):
    published = Published()
    agent = with_other_indicators(both, ecs=ecs, hygiene=hygiene)
    asyncio.run(agent("batch", published, "rows"))
    assert [message.channel for message in published] == channels
    assert {message.tenant for message in published if message.channel is Channel.IOCS_ECS} <= {
        None
    }
    assert next(message for message in published if message.channel is Channel.IOCS) == COMPROMISE

"""Writes what an admin changes besides incidents, as the command line does: policies, replays."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec

from schemas.channels import Channel
from schemas.policy import Policy
from streams.kafka.client import BrokerUnreachableError
from streams.kafka.compacted import publish_values
from streams.kafka.dead_letters import replay_dead_letters

if TYPE_CHECKING:
    from streams.settings import Settings

SECONDS: Final = 60.0
"""How long the broker may take."""
T = TypeVar("T")


class Change(Protocol):
    """Writes what an admin changes."""

    def set_policy(self, policy: Policy) -> None:
        """Publish a tenant's policy.

        Raises:
            NotAuthorisedError: The console's key may not publish it.
            BrokerUnreachableError: It was not written.
        """

    def replay(self, key: str) -> int:
        """Write a dead letter back to its topic, and return how many records that were.

        Raises:
            BrokerUnreachableError: Not all was written.
        """


class KafkaChange:
    """Writes to the topics, signed by the key of the settings where they must be."""

    def __init__(self, settings: Settings) -> None:
        """Write with these settings."""
        self._settings = settings

    def set_policy(self, policy: Policy) -> None:
        """Publish a tenant's policy.

        Args:
            policy: The policy.

        Raises:
            NotAuthorisedError: The console's key may not publish it.
            BrokerUnreachableError: It was not written.
        """
        value = msgspec.json.encode(policy)
        self._done(publish_values(self._settings, Channel.POLICY, [(policy.tenant, value)]))

    def replay(self, key: str) -> int:
        """Write a dead letter back to its topic, and return how many records that were.

        Args:
            key: The topic, partition and offset that it came from.

        Raises:
            BrokerUnreachableError: Not all was written.
        """
        return self._done(replay_dead_letters(self._settings, keys=frozenset({key})))

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        async def within() -> T:
            return await asyncio.wait_for(work, SECONDS)

        try:
            return asyncio.run(within())
        except TimeoutError as error:
            raise BrokerUnreachableError(
                "it may not have been written: the broker does not answer",
                where=str(self._settings.kafka),
                remedy="look whether it is there, and try again",
            ) from error

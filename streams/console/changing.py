"""Writes admins' changes other than decisions, as the command line does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec

from agents.intelligence.feed import Changes, Feed
from schemas.channels import Channel
from schemas.policy import Policy
from streams.cli.intel import import_facts, withdraw_fact
from streams.kafka.client import BrokerUnreachableError
from streams.kafka.compacted import publish_values
from streams.kafka.dead_letters import replay_dead_letters

if TYPE_CHECKING:
    from streams.settings import Settings

SECONDS: Final = 60.0
"""How long the broker may take."""
T = TypeVar("T")


class Change(Protocol):
    """Writes an admin's changes."""

    def set_policy(self, policy: Policy) -> None:
        """Publish a tenant's policy.

        Raises:
            NotAuthorisedError: The console's key may not publish it.
            BrokerUnreachableError: It was not written.
        """

    def replay(self, key: str) -> int:
        """Write a dead letter back to its topic, and return how many records that were.

        Raises:
            BrokerUnreachableError: Not all records were written.
        """

    def import_feed(self, feed: Feed, prefix: str, *, publish: bool) -> Changes:
        """Return the changes that a feed makes to the known facts, and publish them if asked to.

        Raises:
            NotAuthorisedError: The console's key may not publish it.
            BrokerUnreachableError: Not all was read or written.
        """

    def withdraw(self, key: str) -> None:
        """Withdraw the fact about a component.

        Raises:
            TidewatchError: There is no fact about it.
            NotAuthorisedError: The console's key may not withdraw it.
            BrokerUnreachableError: It was not written.
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
            BrokerUnreachableError: Not all records were written.
        """
        return self._done(replay_dead_letters(self._settings, keys=frozenset({key})))

    def import_feed(self, feed: Feed, prefix: str, *, publish: bool) -> Changes:
        """Return the changes that a feed makes to the known facts, and publish them if asked to.

        Args:
            feed: The facts.
            prefix: The prefix of the names of its source.
            publish: Whether to publish it.

        Raises:
            NotAuthorisedError: The console's key may not publish it.
            BrokerUnreachableError: Not all was read or written.
        """
        return self._done(import_facts(self._settings, feed, prefix, publish=publish))

    def withdraw(self, key: str) -> None:
        """Withdraw the fact about a component.

        Args:
            key: The component's key.

        Raises:
            TidewatchError: There is no fact about it.
            NotAuthorisedError: The console's key may not withdraw it.
            BrokerUnreachableError: It was not written.
        """
        self._done(withdraw_fact(self._settings, key))

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        async def within() -> T:
            return await asyncio.wait_for(work, SECONDS)

        try:
            return asyncio.run(within())
        except TimeoutError as error:
            raise BrokerUnreachableError(
                "it may not have been written: the broker does not answer",
                where=str(self._settings.kafka),
                remedy="check whether it was written, then try again",
            ) from error

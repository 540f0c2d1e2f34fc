"""Writes the decisions of signed-in people under their names."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from agents.logs import Logger
from schemas.decisions import Decision, DecisionKind
from schemas.key_bindings import via
from streams.decisions import new_decision, write_decision
from streams.kafka.client import BrokerUnreachableError
from streams.signing_keys import load_signer

if TYPE_CHECKING:
    from streams.settings import Settings

log = Logger()

SECONDS: Final = 20.0
"""How long the broker may take."""


class Decide(Protocol):
    """Writes a decision."""

    def __call__(
        self,
        name: str,
        kind: DecisionKind,
        incident: str,
        reason: str,
        *,
        tenant: str | None,
        target: str | None,
        passed: bool | None,
        days: float | None = None,
    ) -> Decision:
        """Write a decision of the person of this name, and return it.

        Raises:
            NotAuthorisedError: The console's key may not make it.
            BrokerUnreachableError: It was not written.
        """


class KafkaDecide:
    """Writes decisions to their topic, signed by the key of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Write with these settings."""
        self._settings = settings

    def __call__(
        self,
        name: str,
        kind: DecisionKind,
        incident: str,
        reason: str,
        *,
        tenant: str | None,
        target: str | None,
        passed: bool | None,
        days: float | None = None,
    ) -> Decision:
        """Write a decision of the person of this name, and return it.

        The key's own actor decides in its own name. Any other person is named as authenticated by
        the key's owner.

        Raises:
            NotAuthorisedError: The console's key may not make it.
            BrokerUnreachableError: It was not written.
        """
        settings = self._settings
        signer = load_signer(settings.state_dir, settings.signing_key)
        own = signer.binding.actor
        decision = new_decision(
            kind,
            incident,
            reason,
            actor=name if name == own else f"{name}{via(own)}",
            now=datetime.now(UTC),
            tenant=tenant,
            target=target,
            passed=passed,
            days=days,
        )

        async def written() -> None:
            await asyncio.wait_for(write_decision(settings, decision, signer), SECONDS)

        try:
            asyncio.run(written())
        except TimeoutError as error:
            raise BrokerUnreachableError(
                "the decision was not written: the broker does not answer",
                where=str(settings.kafka),
                remedy="try again once it does",
            ) from error
        log.info("console-decided", actor=decision.actor, decision=kind, id=decision.id)
        return decision

"""Makes the decisions of people, and writes them signed: for the command line and the console."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.decisions import Decision, DecisionKind
from schemas.key_bindings import authorise_decision

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.signing_keys import Signer


def new_decision(
    kind: DecisionKind,
    incident: str,
    reason: str,
    *,
    actor: str,
    now: datetime,
    tenant: str | None = None,
    target: str | None = None,
    days: float | None = None,
    passed: bool | None = None,
) -> Decision:
    """Return a decision.

    Args:
        kind: The kind of decision.
        incident: The incident's id.
        reason: Why.
        actor: The decider.
        now: The current time.
        tenant: For one tenant only.
        target: A command, an assignee, an indicator or a task.
        days: Until when, for a suppression.
        passed: The result, for an evaluation.
    """
    return Decision(
        id=stable_id("dec", incident, kind, tenant or "", target or "", now.isoformat()),
        incident=incident,
        actor=actor,
        decision=kind,
        reason=reason,
        time=now,
        tenant=tenant,
        target=target,
        expires=now + timedelta(days=days) if days is not None else None,
        passed=passed,
    )


async def write_decision(settings: Settings, decision: Decision, signer: Signer) -> None:
    """Sign a decision and write it to its topic; the broker has it when this returns.

    Args:
        settings: Which broker.
        decision: The decision.
        signer: Whose key signs it.

    Raises:
        NotAuthorisedError: The key may not make this decision.
        BrokerUnreachableError: No broker answers, or it refuses the record.
    """
    from agents.messages import decision_message  # noqa: PLC0415 -- only to write
    from streams.kafka.publisher import delivering  # noqa: PLC0415 -- brings Kafka
    from streams.kafka.topics import ensure_topics, topic_name  # noqa: PLC0415 -- the same

    authorise_decision(decision, signer.key.kid, signer.binding)
    await ensure_topics(settings, channels=[Channel.DECISIONS])
    message = decision_message(decision, signer.key)
    async with delivering(settings) as publisher:
        await publisher.put(
            topic_name(settings, Channel.DECISIONS),
            message.key.encode(),
            message.value,
            message.headers,
        )

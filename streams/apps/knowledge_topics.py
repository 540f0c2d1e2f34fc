"""Feeds the compacted intel and policy topics into the knowledge of the checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.domain.knowledge import MemoryKnowledge
from agents.logs import Logger
from schemas.channels import Channel
from schemas.errors import UnreadableRecordError
from schemas.intel import IntelFact
from schemas.policy import Policy
from schemas.reading import record_reader
from streams.engine.reference_topics import ReferenceTopic
from streams.kafka.signed_records import admission, admission_rules
from streams.settings import Settings

log = Logger()
_read_fact = record_reader(IntelFact)
_read_policy = record_reader(Policy)


def knowledge_references(
    knowledge: MemoryKnowledge, settings: Settings
) -> tuple[ReferenceTopic, ...]:
    """Return the readers that feed intel and policy into `knowledge`.

    The ledger reports refused intel, and the incidents refused policies.
    """
    return (
        ReferenceTopic(
            Channel.INTEL,
            _feeder("intel", _read_fact, knowledge.set_fact),
            admit=admission(settings, Channel.INTEL),
        ),
        policy_reference(knowledge, settings),
    )


def policy_reference(
    knowledge: MemoryKnowledge, settings: Settings, *, reporter: str | None = None
) -> ReferenceTopic:
    """Return the reader that feeds policies into `knowledge`.

    Args:
        knowledge: The knowledge it feeds.
        settings: Whether policies must be signed.
        reporter: The application that writes dead letters for refused records.
    """
    return ReferenceTopic(
        Channel.POLICY,
        _feeder("policy", _read_policy, knowledge.set_policy),
        admit=admission(settings, Channel.POLICY),
        reporter=reporter,
        rules=admission_rules(settings, Channel.POLICY),
    )


def _feeder(
    what: str, read: Callable[[bytes | None], Any], keep: Callable[[str, Any], None]
) -> Callable[[str, bytes | None], None]:
    def feed(key: str, value: bytes | None) -> None:
        if value is None:
            keep(key, None)
            return
        try:
            keep(key, read(value))
        except UnreadableRecordError as error:
            # The previous value of the key stays: a broken record withdraws nothing.
            log.warning("reference-unreadable", channel=what, key=key[:200], reason=error.reason)

    return feed

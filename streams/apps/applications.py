"""The four apps: which agents each binds to which channels, and what they read beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from agents.checks.artifacts.sandbox.pool import SandboxPool
from agents.containment_results import SignedResult, containment_results_agent, read_result
from agents.domain.knowledge import Knowledge, MemoryKnowledge
from agents.domain.organisations import Register
from agents.domain.rules import all_rules
from agents.incidents import incidents_agent
from agents.ledger import ledger_agent
from agents.messages import StandardDocuments, ecs_indicator_messages, refusal_message
from agents.package_install import package_install_agent
from agents.pipeline_run import pipeline_run_agent
from agents.ports import Batch, Message, Publish, Record, Rows
from agents.registry_push import registry_push_agent
from agents.scan import scan_agent
from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.decisions import Decision
from schemas.documents.openc2 import InvalidCommandError
from schemas.errors import UnreadableRecordError
from schemas.events import PackageInstall, PipelineRun, RegistryPush
from schemas.incidents.updates import IncidentMessage
from schemas.intel import IntelFact
from schemas.ledger import LedgerMessage
from schemas.policy import Policy
from schemas.reading import record_reader
from schemas.scans import ScanRequest
from schemas.signing import InvalidSignatureError, verify_signature
from streams.apps.instrumentation import (
    counting_decisions,
    counting_findings,
    counting_ledger_findings,
    counting_scans,
)
from streams.apps.topology import AppParts
from streams.engine.reference_topics import ReferenceTopic
from streams.engine.runner import Agent, Binding, Decode
from streams.fetch_credentials import open_fetcher
from streams.kafka.topics import Origin, tenant_slug
from streams.settings import Settings
from streams.signing_keys import (
    COMMANDS,
    OPERATOR,
    RESPONDER,
    keys_dir,
    load_or_create_signing_key,
    load_ring,
    responder_ring,
    trusted_dir,
)

log = structlog.get_logger()

_CARRIES: Final[dict[Channel, type]] = {
    Channel.REGISTRY_PUSH: RegistryPush,
    Channel.PACKAGE_INSTALL: PackageInstall,
    Channel.PIPELINE_RUN: PipelineRun,
}
_read_fact = record_reader(IntelFact)
_read_policy = record_reader(Policy)


def event_decoder(settings: Settings) -> Decode:
    """Return what reads a CloudEvent of the kind its channel carries."""

    def decode(record: Record, origin: Origin) -> Any:  # noqa: ANN401 -- one of three events
        event = read_event(
            record.value,
            record.headers,
            timestamp_ms=record.timestamp_ms,
            max_bytes=settings.max_event_bytes,
            bound_tenant=origin.tenant,
        )
        if not isinstance(event.data, _CARRIES[origin.channel]):
            raise UnreadableRecordError(
                reasons.UNKNOWN_TYPE, f"type {event.type!r} on the topic of {origin.channel}"
            )
        position = (record.timestamp_ms, record.topic, record.partition, record.offset)
        return msgspec.structs.replace(event, position=position)

    return decode


def value_decoder(kind: Any) -> Decode:  # noqa: ANN401 -- a type or union
    """Return what reads a bare JSON record as `kind`."""
    read = record_reader(kind)

    def decode(record: Record, origin: Origin) -> Any:  # noqa: ANN401 -- of `kind`
        del origin
        return read(record.value)

    return decode


def knowledge_references(knowledge: MemoryKnowledge) -> tuple[ReferenceTopic, ...]:
    """Return the readers that feed intel and policy into `knowledge`."""
    return (
        ReferenceTopic(Channel.INTEL, _feeder("intel", _read_fact, knowledge.set_fact)),
        ReferenceTopic(Channel.POLICY, _feeder("policy", _read_policy, knowledge.set_policy)),
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
            # What was known of the key before stays: a broken record withdraws nothing.
            log.warning("reference-unreadable", channel=what, key=key[:200], reason=error.reason)

    return feed


def ledger_decoder() -> Decode:
    """Return what reads observations, and intel with its tombstones."""
    read_observation = record_reader(LedgerMessage)

    def decode(record: Record, origin: Origin) -> Any:  # noqa: ANN401 -- a message, fact or None
        if origin.channel is not Channel.INTEL:
            return read_observation(record.value)
        if not record.key:
            raise UnreadableRecordError(reasons.MISSING_IDENTITY, "a fact without a key")
        return None if record.value is None else _read_fact(record.value)

    return decode


def incidents_decoder(decision_ring: Mapping[str, bytes]) -> Decode:
    """Return what reads incident updates, and decisions that somebody authentic signed.

    Args:
        decision_ring: Public keys of those who may decide, by key id.
    """
    read_update = record_reader(IncidentMessage)
    read_decision = record_reader(Decision)

    def decode(record: Record, origin: Origin) -> Any:  # noqa: ANN401 -- an update or decision
        if origin.channel is not Channel.DECISIONS:
            return read_update(record.value)
        decision = read_decision(record.value)
        _of_topics_tenant(origin, decision.tenant)
        try:
            verify_signature(
                record.headers,
                record.value or b"",
                decision_ring,
                timestamp_ms=record.timestamp_ms,
            )
        except InvalidSignatureError as error:
            raise UnreadableRecordError(reasons.INVALID_SIGNATURE, error.what) from error
        return decision

    return decode


def _of_topics_tenant(origin: Origin, tenant: str | None) -> None:
    """Refuse what claims another tenant, or none, than its topic is bound to."""
    if origin.tenant is not None and tenant != origin.tenant:
        raise UnreadableRecordError(
            reasons.TENANT_MISMATCH, f"the topic is bound to tenant {origin.tenant}"
        )


def result_decoder() -> Decode:
    """Return what reads a responder's answer."""

    def decode(record: Record, origin: Origin) -> SignedResult:
        if record.value is None:
            raise UnreadableRecordError(reasons.NULL_VALUE, "the record has no value")
        try:
            result = read_result(record)
        except InvalidCommandError as error:
            raise UnreadableRecordError(reasons.INVALID_EVENT, error.what) from error
        _of_topics_tenant(origin, result.tenant)
        return result

    return decode


def with_ecs_indicators(agent: Agent) -> Agent:
    """Return an agent that also publishes the ECS sibling of each indicator record."""

    class _Siblings:
        def __init__(self, publish: Publish) -> None:
            self._publish = publish
            self.refuse = publish.refuse

        def __call__(self, message: Message) -> None:
            self._publish(message)
            for sibling in ecs_indicator_messages(message):
                self._publish(sibling)

    async def siblings(batch: Batch[Any], publish: Publish, rows: Rows) -> None:
        await agent(batch, _Siblings(publish), rows)

    return siblings


def scan_app(settings: Settings) -> AppParts:
    """Return the parts of the app that does slow work: fetch, scan in the sandbox, verify."""
    all_rules()
    knowledge = MemoryKnowledge()
    return AppParts(
        bindings=(
            Binding(
                name="scan-requests",
                channels=(Channel.SCAN_REQUESTS,),
                agent=counting_scans(
                    scan_agent(
                        knowledge,
                        open_fetcher(settings),
                        SandboxPool().scan,
                        lambda: time.time_ns() // 1_000_000,
                    )
                ),
                decode=value_decoder(ScanRequest),
                slow=True,
            ),
        ),
        references=knowledge_references(knowledge),
    )


def ledger_app(settings: Settings) -> AppParts:
    """Return the parts of the app that keeps the component ledger."""
    register = Register(settings.organisations)
    agent = counting_ledger_findings(
        ledger_agent(settings.privacy_k, settings.popular_holders, register)
    )
    return AppParts(
        bindings=(
            Binding(
                name="ledger",
                channels=(Channel.OBSERVATIONS, Channel.INTEL),
                agent=with_ecs_indicators(agent) if settings.ecs else agent,
                decode=ledger_decoder(),
                rows=True,
            ),
        )
    )


def incidents_app(settings: Settings) -> AppParts:
    """Return the parts of the app that keeps incidents and commands their containment."""
    knowledge = MemoryKnowledge()
    folder = keys_dir(settings.state_dir)
    for name in (OPERATOR, RESPONDER):
        load_or_create_signing_key(folder, name)
    documents = StandardDocuments(
        load_or_create_signing_key(folder, COMMANDS), with_ecs=settings.ecs, k=settings.privacy_k
    )
    return AppParts(
        bindings=(
            Binding(
                name="incidents",
                channels=(Channel.INCIDENT_UPDATES, Channel.DECISIONS),
                agent=counting_decisions(
                    incidents_agent(
                        knowledge, documents, settings.privacy_k, Register(settings.organisations)
                    )
                ),
                decode=incidents_decoder(load_ring(trusted_dir(folder, OPERATOR))),
                rows=True,
            ),
            Binding(
                name="containment-results",
                channels=(Channel.CONTAINMENT_RESULTS,),
                agent=containment_results_agent(
                    lambda tenant: responder_ring(folder, tenant_slug(tenant))
                ),
                decode=result_decoder(),
            ),
        ),
        references=(
            ReferenceTopic(Channel.POLICY, _feeder("policy", _read_policy, knowledge.set_policy)),
        ),
    )


def checks_app(settings: Settings) -> AppParts:
    """Return the parts of the app that checks events."""
    all_rules()  # a rule file that does not load is told at start, not by the first finding
    knowledge = MemoryKnowledge()
    decode = event_decoder(settings)
    agents: dict[Channel, Callable[[Knowledge], Agent]] = {
        Channel.REGISTRY_PUSH: registry_push_agent,
        Channel.PACKAGE_INSTALL: package_install_agent,
        Channel.PIPELINE_RUN: pipeline_run_agent,
    }
    return AppParts(
        bindings=tuple(
            Binding(
                name=channel.value,
                channels=(channel,),
                agent=counting_findings(agent(knowledge)),
                decode=decode,
                refused=refusal_message,
            )
            for channel, agent in agents.items()
        ),
        references=knowledge_references(knowledge),
    )

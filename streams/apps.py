"""The four apps: which agents each binds to which channels, and what they read beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog

from agents.checks.knowledge import MemoryKnowledge
from agents.package_install import package_install_agent
from agents.pipeline_run import pipeline_run_agent
from agents.ports import Record
from agents.registry_push import registry_push_agent
from schemas import dead_letters as reasons
from schemas.channels import Channel
from schemas.cloudevents import read_event
from schemas.errors import UnreadableRecordError
from schemas.events import PackageInstall, PipelineRun, RegistryPush
from schemas.intel import IntelFact
from schemas.policy import Policy
from schemas.reading import record_reader
from streams.bindings import AppParts
from streams.reference import Reference
from streams.runtime import Binding, Decode
from streams.settings import Settings
from streams.topics import Origin

log = structlog.get_logger()

_CARRIES: Final = {
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
        return event

    return decode


def value_decoder(kind: Any) -> Decode:  # noqa: ANN401 -- a type or union
    """Return what reads a bare JSON record as `kind`."""
    read = record_reader(kind)

    def decode(record: Record, origin: Origin) -> Any:  # noqa: ANN401 -- of `kind`
        del origin
        return read(record.value)

    return decode


def knowledge_references(knowledge: MemoryKnowledge) -> tuple[Reference, ...]:
    """Return the readers that feed intel and policy into `knowledge`."""
    return (
        Reference(Channel.INTEL, _feeder("intel", _read_fact, knowledge.set_fact)),
        Reference(Channel.POLICY, _feeder("policy", _read_policy, knowledge.set_policy)),
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


def checks_app(settings: Settings) -> AppParts:
    """Return the parts of the app that checks events."""
    knowledge = MemoryKnowledge()
    decode = event_decoder(settings)
    return AppParts(
        bindings=(
            Binding(
                name="registry-push",
                channels=(Channel.REGISTRY_PUSH,),
                agent=registry_push_agent(knowledge),
                decode=decode,
            ),
            Binding(
                name="package-install",
                channels=(Channel.PACKAGE_INSTALL,),
                agent=package_install_agent(knowledge),
                decode=decode,
            ),
            Binding(
                name="pipeline-run",
                channels=(Channel.PIPELINE_RUN,),
                agent=pipeline_run_agent(knowledge),
                decode=decode,
            ),
        ),
        references=knowledge_references(knowledge),
    )

"""The topology: the applications, what each reads and writes, and its factory."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from schemas.channels import Channel
from schemas.errors import TidewatchError
from streams.kafka.topics import changelog_name, group_id, topic_name

if TYPE_CHECKING:
    from streams.engine.binding import Binding
    from streams.engine.reference_topics import ReferenceTopic
    from streams.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AppParts:
    """The parts of one running application."""

    bindings: Sequence[Binding]
    references: Sequence[ReferenceTopic] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Application:
    """One stream application: a consumer group of its own.

    The live view, access rules, metric labels and changelogs derive from it, and a test compares
    it with what the built application binds and with the Kubernetes manifests.
    """

    name: str
    purpose: str
    factory: str
    """`module:function`; the function takes the settings and returns `AppParts`."""
    reads: tuple[Channel, ...]
    """The channels it commits its progress on."""
    references: tuple[Channel, ...] = ()
    """Compacted channels it reads whole at start, then follows."""
    writes: tuple[Channel, ...]
    """The channels it publishes to, in addition to dead letters and operator alerts."""
    state: Channel | None = None
    """The channel whose partitions its state follows; None without state."""
    rule_families: tuple[str, ...] = ()
    """Families of the rules of its findings."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """An ordinary Kafka client: neither Faust nor an engine, and no worker runs it."""

    name: str
    purpose: str
    reads: tuple[Channel, ...]
    writes: tuple[Channel, ...]
    """All channels it publishes to; of a compacted one it reads its own rows at start."""


_ALWAYS_WRITTEN: Final = (Channel.DEAD_LETTER, Channel.OPERATOR_ALERTS)
EVENT_CHANNELS: Final = (Channel.REGISTRY_PUSH, Channel.PACKAGE_INSTALL, Channel.PIPELINE_RUN)
"""The input channels of tenants' events."""
_FOUND: Final = (Channel.INCIDENT_UPDATES, Channel.OBSERVATIONS, Channel.ASSESSMENTS)

APPLICATIONS: Final[Mapping[str, Application]] = {
    application.name: application
    for application in (
        Application(
            name="checks",
            purpose="check each event by its content",
            factory="streams.apps.checks:build",
            rule_families=("packages", "pipelines", "provenance"),
            reads=EVENT_CHANNELS,
            references=(Channel.INTEL, Channel.POLICY),
            writes=(*_FOUND, Channel.SCAN_REQUESTS),
        ),
        Application(
            name="scan",
            purpose="fetch, scan and verify what a push refers to",
            factory="streams.apps.scan:build",
            rule_families=("artifacts", "provenance"),
            reads=(Channel.SCAN_REQUESTS,),
            references=(Channel.INTEL, Channel.POLICY),
            writes=(*_FOUND, Channel.SCAN_REQUESTS),
        ),
        Application(
            name="ledger",
            purpose="keep the component ledger and correlate across tenants",
            factory="streams.apps.ledger:build",
            rule_families=("intelligence", "ledger"),
            reads=(Channel.OBSERVATIONS, Channel.INTEL),
            references=(Channel.POLICY,),
            writes=(
                Channel.OBSERVATIONS,
                Channel.INCIDENT_UPDATES,
                Channel.IOCS,
                Channel.HYGIENE,
                Channel.IOCS_ECS,
            ),
            state=Channel.OBSERVATIONS,
        ),
        Application(
            name="incidents",
            purpose="keep incidents, alert, and command containment",
            factory="streams.apps.incidents:build",
            reads=(Channel.INCIDENT_UPDATES, Channel.DECISIONS, Channel.CONTAINMENT_RESULTS),
            references=(Channel.POLICY,),
            writes=(
                Channel.INCIDENT_UPDATES,
                Channel.OBSERVATIONS,
                Channel.ALERTS,
                Channel.ALERTS_ECS,
                Channel.INCIDENTS,
                Channel.CONTAINMENT_COMMANDS,
                Channel.CONTAINMENT_PROPOSALS,
                Channel.HOLDS,
                Channel.CONTAINMENT_AUDIT,
                Channel.INTEL_SHARE,
            ),
            state=Channel.INCIDENT_UPDATES,
        ),
    )
}

CLIENTS: Final[Mapping[str, Client]] = {
    client.name: client
    for client in (
        Client(
            name="notify",
            purpose="notify people by chat, mail, paging and webhooks",
            reads=(Channel.ALERTS, Channel.OPERATOR_ALERTS, Channel.CONTAINMENT_PROPOSALS),
            writes=(Channel.NOTIFICATIONS, *_ALWAYS_WRITTEN),
        ),
    )
}
"""Kafka clients beside the applications, in groups of their own."""

FACTORIES: Final[dict[str, str]] = {
    name: application.factory for name, application in APPLICATIONS.items()
}
"""Application name to `module:function`; a test may add an application of its own."""


def written_channels(application: Application) -> tuple[Channel, ...]:
    """Return every channel an application publishes to."""
    return (*application.writes, *_ALWAYS_WRITTEN)


def changelogs(settings: Settings) -> dict[str, str]:
    """Return the changelog topic of each application with state, and its source topic."""
    return {
        changelog_name(group_id(settings, name), name): topic_name(settings, application.state)
        for name, application in APPLICATIONS.items()
        if application.state is not None
    }


def load_app(name: str, settings: Settings) -> AppParts:
    """Return the parts of application `name`, importing only what it needs.

    Raises:
        TidewatchError: There is no such application.
    """
    path = FACTORIES.get(name)
    if path is None:
        raise TidewatchError(
            f"no application is called {name}",
            where="--agents",
            remedy=f"choose from: {', '.join(sorted(FACTORIES))}",
        )
    module, _, function = path.partition(":")
    build: Callable[[Settings], AppParts] = getattr(importlib.import_module(module), function)
    return build(settings)


def preload(names: Sequence[str]) -> None:
    """Import the modules of the applications, so that forked processes share them."""
    for name in names:
        path = FACTORIES.get(name)
        if path is not None:
            importlib.import_module(path.partition(":")[0])

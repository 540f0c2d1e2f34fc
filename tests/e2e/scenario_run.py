"""All scenarios through the whole chain on Kafka, and what came out of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from schemas.channels import Channel
from schemas.cloudevents import write_structured
from schemas.events import Event, PackageInstall, RegistryPush
from schemas.incidents.views import IncidentDocument
from schemas.intel import IntelFact
from schemas.severity import Severity
from tests.e2e.chain import Chain
from tests.scenarios.expectation import SCENARIOS, Alert, Scenario, load

WEEK = "ordinary_week"
SECONDS = 240


class TenantAlert(msgspec.Struct, frozen=True, kw_only=True):
    """The latest record of an alert, and its path."""

    scenario: str
    tenant: str
    document: dict[str, Any]
    incident: IncidentDocument
    records: int
    """How many records it had."""
    seconds: float
    """From the broker's time of the record that completed its reason to that of the alert."""

    @property
    def severity(self) -> Severity:
        """The band of its score."""
        return Severity(self.document["severity"].lower())

    def matches(self, wanted: Alert) -> bool:
        """Whether it is about what `wanted` names, for one of its reasons."""
        about = {self.incident.root}
        for finding in self.incident.findings:
            about |= {
                finding.component,
                finding.indicator_key,
                f"{finding.component}@{finding.version}",
            }
        kinds = set(self.document["finding_info"]["types"])
        return bool(about & wanted.about) and bool(kinds & wanted.any_of)


def channel_of(event: Event[Any]) -> Channel:
    """Return where a producer would send an event."""
    if isinstance(event.data, RegistryPush):
        return Channel.REGISTRY_PUSH
    install = isinstance(event.data, PackageInstall)
    return Channel.PACKAGE_INSTALL if install else Channel.PIPELINE_RUN


def send_events(chain: Chain, events: Iterable[Event[Any]]) -> None:
    """Send events one after the other, as structured CloudEvents."""
    chain.send_apart(
        (channel_of(event), f"{event.tenantid}|{event.subject}", write_structured(event))
        for event in events
    )


def send_week(chain: Chain, events: Iterable[Event[Any]]) -> None:
    """Send many events at once, in order within each channel."""
    by_channel: dict[Channel, list[tuple[str | None, bytes | None]]] = {}
    for event in events:
        key = f"{event.tenantid}|{event.subject}"
        by_channel.setdefault(channel_of(event), []).append((key, write_structured(event)))
    for channel, records in by_channel.items():
        chain.send(channel, records)


def send_facts(chain: Chain, facts: Iterable[IntelFact]) -> None:
    """Publish facts."""
    chain.send(Channel.INTEL, [(fact.key, msgspec.json.encode(fact)) for fact in facts])


def _one_of_each(events: Iterable[Event[Any]]) -> Iterable[Event[Any]]:
    return {channel_of(event): event for event in events}.values()


def play(
    chain: Chain, root: Path, names: Sequence[str] = SCENARIOS
) -> dict[str, list[TenantAlert]]:
    """Play scenarios on a chain whose workers are not started yet.

    Attacks first, then what became known only afterwards, then the week of ordinary work.

    Args:
        chain: The chain; its workers are started here.
        root: Where the model files are written.
        names: The scenarios, with the week.

    Returns:
        Alerts by scenario.
    """
    scenarios = {name: load(name) for name in names}
    events = {name: scenario.events(root / name) for name, scenario in scenarios.items()}
    chain.send(
        Channel.POLICY,
        [
            (policy.tenant, msgspec.json.encode(policy))
            for name, scenario in scenarios.items()
            for policy in scenario.policies(root / name)
        ],
    )
    late = {
        fact.key
        for scenario in scenarios.values()
        if scenario.expected.intel_after
        for fact in scenario.intel()
    }
    facts = {fact.key: fact for scenario in scenarios.values() for fact in scenario.intel()}
    send_facts(chain, (fact for key, fact in facts.items() if key not in late))
    chain.start()
    # so that no time to alert is that of the start of processes
    send_events(chain, _one_of_each(events[WEEK]))
    chain.settle(SECONDS)
    for name in names:
        if name != WEEK:
            send_events(chain, events[name])
    chain.settle(SECONDS)
    send_facts(chain, (fact for key, fact in facts.items() if key in late))
    send_week(chain, events[WEEK])
    chain.settle(SECONDS)
    whose = {event.tenantid: name for name in names for event in events[name]}
    return _collect(chain, scenarios, whose)


def _collect(
    chain: Chain, scenarios: dict[str, Scenario], whose: dict[str, str]
) -> dict[str, list[TenantAlert]]:
    arrived = {
        orjson.loads(record.value)["id"]: record.timestamp
        for channel in (Channel.REGISTRY_PUSH, Channel.PACKAGE_INSTALL, Channel.PIPELINE_RUN)
        for record in chain.read(channel)
    }
    learned = {
        name: max(
            record.timestamp
            for record in chain.read(Channel.INTEL)
            if record.key.decode() in {fact.key for fact in scenario.intel()}
        )
        for name, scenario in scenarios.items()
        if scenario.expected.intel_after
    }
    incidents = {
        record.key.decode(): msgspec.json.decode(record.value, type=IncidentDocument)
        for record in chain.read(Channel.INCIDENTS)
        if record.value is not None
    }
    reported: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for record in chain.read(Channel.ALERTS):
        document = orjson.loads(record.value)
        reported.setdefault(document["metadata"]["uid"], []).append((record.timestamp, document))
    found: dict[str, list[TenantAlert]] = {name: [] for name in scenarios}
    for records in reported.values():
        first_at, first = records[0]
        _, last = records[-1]
        tenant = last["metadata"]["tenant_uid"]
        scenario = whose[tenant]
        causes = [
            arrived[related_event["uid"]]
            for related_event in first["finding_info"]["related_events"]
        ]
        began = max([at for at in causes if at <= first_at], default=first_at)
        fact_at = learned.get(scenario)
        if fact_at is not None and began < fact_at <= first_at:
            began = fact_at
        found[scenario].append(
            TenantAlert(
                scenario=scenario,
                tenant=tenant,
                document=last,
                incident=incidents[last["metadata"]["correlation_uid"]],
                records=len(records),
                seconds=(first_at - began) / 1000,
            )
        )
    return found

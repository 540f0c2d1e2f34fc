"""Routes findings and sightings as messages to the ledger and incidents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from agents.domain.basis import is_verified
from agents.domain.hosts import is_local
from agents.measures import FindingMeasure
from agents.ports import Message
from schemas import components
from schemas.canonical import stable_id
from schemas.channels import Channel
from schemas.components import PREFIXES, ComponentKind, tenant_scoped
from schemas.events import Event
from schemas.findings import Finding
from schemas.incidents.updates import FindingUpdate, IncidentMessage
from schemas.ledger import FindingSeen, LedgerMessage, Revision, SourceOutcome, SourceSeen
from schemas.observations import Sighting
from schemas.severity import Severity

_ENCODER: Final = msgspec.json.Encoder()
_LOCAL: Final = frozenset({"pipeline", "service", "deployment"})
"""Kinds whose names are private to a tenant, except services under a public host's name."""
_AGAINST_DATA: Final = frozenset({"behaviour_regression", "domain_change"})
_DATA: Final = 8
"""The most datasets that a finding is filed under."""
split_version: Final = components.split_version
SOURCE_PREFIX: Final = "source:"
"""Prefix of the key of a tenant's source in the ledger."""


def is_own_name(key: str) -> bool:
    """Return whether a component key is private to one tenant.

    A service whose name begins with a public host (`service:github.com/owner/action`) is shared,
    and intelligence may name it.
    """
    prefix, _, name = key.partition(":")
    if prefix not in _LOCAL:
        return False
    host = name.partition("/")[0].lower()
    return (
        prefix != ComponentKind.SERVICE or "." not in host or name.startswith("@") or is_local(host)
    )


def incident_root(finding: Finding) -> str:
    """Return the key an incident is about: the finding's best indicator, by precedence.

    Precedence: digest, name@version, model@revision, dataset, domain, publisher; then the
    component itself. Only keys that name something bad count: `related_keys` add no root, since
    they are context.

    Args:
        finding: Any finding.

    Returns:
        A component key, or `<key>@<version>`.
    """
    key = finding.indicator.key
    if key.startswith("sha256:"):
        return key
    bare, version = split_version(key)
    prefix = bare.partition(":")[0]
    if prefix not in PREFIXES:
        bare, version = split_version(finding.component)
        prefix = bare.partition(":")[0]
    if is_own_name(bare) and not bare.startswith(f"{prefix}:@"):
        return tenant_scoped(bare, finding.tenant)
    if version is None and bare == split_version(finding.component)[0] and finding.version:
        version = finding.version
    if version is not None and bare.partition(":")[0] in {"pypi", "model", "image"}:
        return f"{bare}@{version}"
    return bare


def incident_id(root: str) -> str:
    """Return the id of the incident about `root`: the same on every replay."""
    return stable_id("inc", root)


def opens_incident(finding: Finding) -> bool:
    """Return whether a finding is severe enough (medium) to open an incident."""
    return finding.severity.rank >= Severity.MEDIUM.rank


def ledger_message(key: str, message: LedgerMessage) -> Message:
    """Return the record of a message to the component ledger, keyed by `key`."""
    return Message(channel=Channel.OBSERVATIONS, key=key, value=_ENCODER.encode(message))


def incident_message(incident: str, message: IncidentMessage) -> Message:
    """Return the record of a message to an incident."""
    return Message(channel=Channel.INCIDENT_UPDATES, key=incident, value=_ENCODER.encode(message))


def sighting_message(sighting: Sighting) -> Message:
    """Return the record of a sighting, filed under its component."""
    return ledger_message(sighting.component, sighting)


def finding_keys(finding: Finding) -> tuple[str, ...]:
    """Return the component keys a finding is filed under: indicator, component, publisher.

    Findings that may concern data are also filed under the data, to combine with its changes.
    """
    keys = [split_version(finding.indicator.key)[0], split_version(finding.component)[0]]
    if finding.publisher:
        keys.append(finding.publisher)
    if finding.ioc_type in _AGAINST_DATA:
        keys.extend([key for key in finding.related_keys if key.startswith("dataset:")][:_DATA])
    return tuple(dict.fromkeys(keys))


def finding_messages(finding: Finding, revision: Revision = (0, 0)) -> Iterator[Message]:
    """Yield every record by which a finding reaches the ledger and its incident.

    Args:
        finding: A finding of any severity; below medium it opens no incident, but the ledger keeps
            the indicator. The ledger passes verified findings on to the incident, since containment
            on a scan depends on the holders of the bytes.
        revision: For the ledger's own findings, the state of the fact behind them.
    """
    root = incident_root(finding)
    incident = incident_id(root)
    measure: FindingMeasure | None = FindingMeasure(rule=finding.rule_id, severity=finding.severity)
    for key in finding_keys(finding):
        seen = FindingSeen(key=key, incident=incident, finding=finding, revision=revision)
        message = ledger_message(key, seen)
        yield msgspec.structs.replace(message, measure=measure)
        measure = None  # a finding counts once, however many rows it is filed under
    if opens_incident(finding) and not is_verified(finding):
        update = FindingUpdate(incident=incident, root=root, finding=finding, revision=revision)
        yield incident_message(incident, update)


def withheld_messages(finding: Finding) -> Iterator[Message]:
    """Yield the record that takes a suppressed finding to the ledger row of its bytes.

    Args:
        finding: A verified finding on a digest; one that opens no incident yields nothing.
    """
    key = finding.indicator.key
    if key.startswith("sha256:") and is_verified(finding) and opens_incident(finding):
        incident = incident_id(incident_root(finding))
        yield ledger_message(
            key, FindingSeen(key=key, incident=incident, finding=finding, withheld=True)
        )


def source_message(event: Event[object], outcome: SourceOutcome = SourceOutcome.OK) -> Message:
    """Return the record that a source sent an event.

    The checks send it once per source and hour, and for each sampled event.

    Args:
        event: The event.
        outcome: What came of it.
    """
    return source_notice(
        tenant=event.tenantid,
        source=event.source,
        event_id=event.id,
        at_ms=event.received_ms,
        outcome=outcome,
    )


def source_notice(
    *, tenant: str, source: str, event_id: str, at_ms: int, outcome: SourceOutcome
) -> Message:
    """Return the record that a source sent an event, keyed by tenant and source.

    Args:
        tenant: The source's tenant.
        source: The source, as its events name it.
        event_id: The id of the event.
        at_ms: The broker's timestamp, milliseconds since the epoch.
        outcome: What came of it.
    """
    key = f"{SOURCE_PREFIX}{tenant}|{source}"
    return ledger_message(
        key,
        SourceSeen(
            key=key,
            tenant=tenant,
            source=source,
            event_id=event_id,
            at_ms=at_ms,
            outcome=outcome,
        ),
    )

"""The result of a check, and its binding to an event as a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from schemas.basis import Basis
from schemas.findings import Confidence, Finding, Indicator, IndicatorType
from schemas.severity import ExposureLevel, Severity

if TYPE_CHECKING:
    from agents.domain.rules import Rule
    from schemas.assessments import Check
    from schemas.events import Event
    from schemas.observations import Sighting


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """A match of a rule, at a location within the checked event or file."""

    rule_id: str
    description: str
    """The observation in one sentence, without secrets."""
    evidence: dict[str, Any]
    """file, member, offset, opcode, global, line, expected, actual ..."""
    locator: str
    """The location in the event or file: the same on every replay, unique for rule and subject."""
    severity: Severity | None = None
    """None: the rule's."""
    confidence: Confidence | None = None
    """None: the rule's."""
    indicator: Indicator | None = None
    """None: the component of the event itself."""
    component: str | None = None
    """The component key it is about, when not the event's subject."""
    version: str | None = None
    related_keys: tuple[str, ...] = ()
    basis: Basis | None = None
    """Its basis; None: the event's claim."""
    publisher_attested: tuple[Basis, ...] = ()
    """The signers who attest the publisher; empty: the event's claim."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The results of all checks of one event."""

    checks: tuple[Check, ...] = ()
    detections: tuple[Detection, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    withheld: tuple[Detection, ...] = ()
    """Verified detections that the tenant's policy suppresses: other holders of the bytes are
    alerted, the tenant is not."""
    contents: tuple[str, ...] = ()
    """The fetched and read content, as named in `Assessment.contents`."""


def rule_of(detection: Detection) -> Rule:
    """Return the rule of a detection."""
    from agents.domain.rules import rule_named  # noqa: PLC0415 -- scanning processes read no rules

    return rule_named(detection.rule_id)


def to_finding(
    detection: Detection,
    event: Event[Any],
    *,
    component: str,
    version: str | None = None,
    systems: tuple[str, ...] = (),
    identities: tuple[str, ...] = (),
    exposure: ExposureLevel = ExposureLevel.DELIVERED,
    publisher: str | None = None,
) -> Finding:
    """Return the finding of a detection in an event.

    Its id is the hash of (tenant, source, event id, rule id, subject, locator): the same on every
    replay.

    Args:
        detection: The detection.
        event: The event it was made in.
        component: The key of the checked component.
        version: Its version or revision.
        systems: The tenant's systems that the event named.
        identities: References to credentials that the component could reach.
        exposure: staged, delivered, executed or serving.
        publisher: The publisher's component key.
    """
    from agents.domain.findings import make_finding  # noqa: PLC0415 -- scanning processes make none
    from schemas.integers import within_64_bits  # noqa: PLC0415 -- the same

    rule = rule_of(detection)
    about = detection.component or component
    indicator = detection.indicator or Indicator(
        key=about, type=IndicatorType.COMPONENT, value=about
    )
    return make_finding(
        rule,
        locator=(
            event.tenantid,
            event.source,
            event.id,
            rule.id,
            event.subject,
            detection.locator,
        ),
        tenant=event.tenantid,
        component=about,
        version=detection.version or (version if detection.component is None else None),
        indicator=indicator,
        description=detection.description,
        evidence=within_64_bits(detection.evidence),
        source=event.source,
        event_id=event.id,
        occurred_at=event.time,
        systems=systems,
        exposure=exposure,
        publisher=publisher,
        confidence=detection.confidence,
        severity=detection.severity,
        identities=identities,
        related=detection.related_keys,
        basis=detection.basis,
        publisher_attested=detection.publisher_attested,
    )

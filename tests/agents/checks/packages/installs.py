"""Small installs for the tests of package checks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from agents.checks.packages.check import check_packages
from agents.domain.detection import Outcome, rule_of
from agents.domain.knowledge import MemoryKnowledge
from schemas.events import TYPE_PACKAGE_INSTALL, Event, PackageInstall
from schemas.intel import IntelFact
from schemas.policy import Policy
from schemas.severity import Severity

TENANT = "tenant-a"
PUBLIC = "https://index.example/simple"
INSIDE = "https://packages.acme.example/simple"
DIGEST = "a" * 64
OTHER = "b" * 64
ACME = {
    "internal": {"prefixes": ["acme-"], "names": ["featurestore"], "indexes": [INSIDE]},
    "trusted": {"indexes": [PUBLIC, INSIDE]},
}


def install(data: dict[str, Any], event_id: str = "e-1") -> Event[PackageInstall]:
    """Return the event of an install."""
    return Event(
        id=event_id,
        source="//test",
        type=TYPE_PACKAGE_INSTALL,
        subject="host:h1",
        time=datetime(2026, 11, 20, 8, 0, tzinfo=UTC),
        tenantid=TENANT,
        data=msgspec.convert({"system": "h1", **data}, PackageInstall),
    )


def knowing(
    policy: dict[str, Any] | None = None, facts: tuple[IntelFact, ...] = ()
) -> MemoryKnowledge:
    """Return knowledge of a policy and some facts."""
    knowledge = MemoryKnowledge()
    if policy is not None:
        knowledge.set_policy(TENANT, msgspec.convert({"tenant": TENANT, **policy}, Policy))
    for fact in facts:
        knowledge.set_fact(fact.key, fact)
    return knowledge


def checked(
    data: dict[str, Any],
    policy: dict[str, Any] | None = None,
    facts: tuple[IntelFact, ...] = (),
) -> Outcome:
    """Return what the checks say of an install."""
    return check_packages(install(data), knowing(policy, facts))


def rules(outcome: Outcome) -> set[str]:
    """Return the ids of the rules that were met."""
    return {detection.rule_id for detection in outcome.detections}


def above_low(outcome: Outcome) -> list[str]:
    """Return what was found above low."""
    return [
        detection.description
        for detection in outcome.detections
        if (detection.severity or rule_of(detection).severity).rank > Severity.LOW.rank
    ]

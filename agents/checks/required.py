"""Reports to the ledger the results of the checks that a tenant's policy requires."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from agents.domain.detection import Outcome
from schemas.assessments import Check
from schemas.observations import Sighting, SightingKind
from schemas.policy import Policy
from schemas.severity import Status

REQUIRED: Final = 16
"""Required checks that sightings report; other results are reported by evaluations only."""
_NOT_VERSIONS: Final = ("sha256:", "publisher:", "domain:")
"""Keys that do not identify a version that could replace another."""


def with_required(outcome: Outcome, policy: Policy, component: str, *, final: bool) -> Outcome:
    """Return an outcome whose sightings list the required checks with their results.

    A required name covers the check of that name and those that begin with it and an underscore
    (`hash` for every `hash_<path>`). Before a scan, nothing has passed: a result by names alone may
    change once the bytes have been read.

    Args:
        outcome: The results of one event's checks.
        policy: Its tenant's policy.
        component: The checked component; empty: every one that the event names.
        final: Nothing more follows on this event.
    """
    names = policy.required_checks[:REQUIRED]
    results = {name: status for name in names if (status := _result(name, outcome.checks))}
    if not results:
        return outcome
    passed = tuple(sorted(name for name in results if final and results[name] is Status.PASS))
    failed = tuple(sorted(set(results) - set(passed)))
    return msgspec.structs.replace(
        outcome,
        sightings=tuple(
            msgspec.structs.replace(sighting, passed=passed, not_passed=failed)
            if _is_meant(sighting, component)
            else sighting
            for sighting in outcome.sightings
        ),
    )


def _is_meant(seen: Sighting, component: str) -> bool:
    return (
        seen.kind != SightingKind.NAMED
        and not seen.component.startswith(_NOT_VERSIONS)
        and (not component or seen.component == component)
    )


def _result(name: str, checks: Iterable[Check]) -> Status | None:
    statuses = [
        check.status for check in checks if check.name == name or check.name.startswith(f"{name}_")
    ]
    return max(statuses, key=lambda status: status.rank, default=None)

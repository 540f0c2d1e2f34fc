"""Ranks the versions of a component that may be rolled back to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from schemas.incidents.holds import Goal
from schemas.incidents.updates import KnownGood

GOALS: Final = 4
"""The most rollback targets that an incident reports to a hold."""


def last_known_good(
    component: str,
    candidates: Iterable[KnownGood],
    bad: Collection[str] = frozenset(),
    since: datetime | None = None,
) -> KnownGood | None:
    """Return the version to roll back to: vouched for, then signed, then seen before, then latest.

    The ledger says which versions are candidates: those that intelligence vouches for, that were
    pushed with a verified signature, or that the tenant had before the first bad one. A version
    that merely came later, with nothing known against it, is no candidate.

    Args:
        component: Its key.
        candidates: Versions of any component, as the ledger reported them.
        bad: Digests that are part of the incident.
        since: When the component became part of the incident; None: not known.
    """
    return max(
        (
            candidate
            for candidate in candidates
            if candidate.component == component
            and candidate.digest is not None
            and candidate.digest not in bad
        ),
        key=lambda candidate: (
            candidate.by_intel,
            candidate.signed,
            since is not None and candidate.seen_at < since,
            candidate.seen_at,
            candidate.digest or "",
        ),
        default=None,
    )


def goals_of(
    component: str, candidates: Iterable[KnownGood], since: datetime | None = None
) -> tuple[Goal, ...]:
    """Return the rollback targets, best first, as a hold compares them.

    Args:
        component: Its key.
        candidates: Versions of any component, as the ledger reported them.
        since: When the component became part of the incident; None: not known.
    """
    goals = [
        Goal(
            by_intel=candidate.by_intel,
            signed=candidate.signed,
            before=since is not None and candidate.seen_at < since,
            seen_ms=round(candidate.seen_at.timestamp() * 1000),
            digest=candidate.digest,
            version=candidate.version,
        )
        for candidate in candidates
        if candidate.component == component and candidate.digest is not None
    ]
    return tuple(sorted(goals, key=goal_rank, reverse=True)[:GOALS])


def goal_rank(goal: Goal) -> tuple[bool, bool, bool, int, str]:
    """Return the sort key of rollback targets: the greatest is the best."""
    return (goal.by_intel, goal.signed, goal.before, goal.seen_ms, goal.digest)

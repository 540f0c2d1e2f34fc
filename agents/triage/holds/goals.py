"""Which version a hold rolls back to; it follows from reasons and suspicions in any order."""

from __future__ import annotations

from agents.triage.holds.rows import Hold, Reason, Thing
from agents.triage.rollback_targets import goal_rank
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import Goal, HoldState, ReasonState
from schemas.incidents.states import Action


def due_goal(hold: Hold, thing: Thing) -> Goal | None:
    """Return the version that the reasons call for now, or None if none is left.

    It is the best of the tenant's history that is neither held nor suspected. If every reason in
    force is a person's approval, it is the best of the versions that they approved.
    """
    standing = thing.standing()
    approved = [_approved_goal(thing, reason) for reason in standing]
    named = [goal for goal in approved if goal is not None]
    if standing and len(named) == len(standing):
        return max(named, key=goal_rank)
    return _best_goal(hold, thing)


def _approved_goal(thing: Thing, reason: Reason) -> Goal | None:
    """Return the version that a person approved going back to; None: no version in particular."""
    digest = reason.spec.rollback_digest
    if reason.state is not ReasonState.APPROVED or digest is None:
        return None
    known = [goal for goal in _goals(thing) if goal.digest == digest]
    unranked = Goal(
        by_intel=False,
        signed=False,
        before=False,
        seen_ms=0,
        digest=digest,
        version=reason.spec.rollback_version,
    )
    return max(known, key=goal_rank, default=unranked)


def _goals(thing: Thing) -> list[Goal]:
    return [goal for reason in thing.reasons.values() if reason.calls for goal in reason.goals]


def _best_goal(hold: Hold, thing: Thing) -> Goal | None:
    """Return the best version to roll back to that is neither held nor suspected, or None."""
    if hold.suspects_everything:
        return None
    return max(
        (goal for goal in _goals(thing) if not is_bad(hold, goal.digest, goal.version)),
        key=goal_rank,
        default=None,
    )


def goes_to(spec: CommandSpec, goal: Goal | None) -> bool:
    """Return whether a rollback goes to a version."""
    if goal is None:
        return False
    if spec.rollback_digest is None:
        return spec.rollback_version == goal.version
    return spec.rollback_digest == goal.digest


def goes_to_bad(hold: Hold, spec: CommandSpec) -> bool:
    """Return whether the version that a rollback goes to is bad now."""
    return is_bad(hold, spec.rollback_digest, spec.rollback_version)


def is_bad(hold: Hold, digest: str | None, version: str | None) -> bool:
    """Return whether a version is suspected, or its quarantine is called for."""
    names = {digest, None if version is None else f"@{version}"} - {None}
    if any(names & {*suspects.names} for suspects in hold.row.suspicions.values()):
        return True
    for thing in hold.things.values():
        calling = [reason for reason in thing.reasons.values() if reason.calls]
        if thing.action is not Action.QUARANTINE or not calling:
            continue
        if version is not None and thing.target == f"{hold.row.component}@{version}":
            return True
        if digest is not None and any(reason.spec.digest == digest for reason in calling):
            return True
    return False


def is_stuck(hold: Hold, thing: Thing) -> bool:
    """Return whether a rollback is called for and no version to roll back to is left."""
    return (
        thing.action is Action.ROLLBACK
        and thing.state is HoldState.IDLE
        and (bool(thing.standing()) or (thing.overflowed and thing.given_up is not None))
        and due_goal(hold, thing) is None
    )

"""Which version a hold rolls back to: the best one without a suspicion or hold."""

from __future__ import annotations

from agents.triage.holds.rows import Hold, Thing
from agents.triage.rollback_targets import goal_rank
from schemas.incidents.commands import CommandSpec
from schemas.incidents.holds import Goal, HoldState
from schemas.incidents.states import Action


def best_goal(hold: Hold, thing: Thing) -> Goal | None:
    """Return the best version to roll back to that is neither held nor suspected, or None."""
    if hold.suspects_everything:
        return None
    goals = [goal for reason in thing.reasons.values() if reason.calls for goal in reason.goals]
    return max(
        (goal for goal in goals if not is_bad(hold, goal.digest, goal.version)),
        key=goal_rank,
        default=None,
    )


def goes_to_bad(hold: Hold, spec: CommandSpec) -> bool:
    """Return whether the target of a rollback was found to be bad after it was issued."""
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
        and bool(thing.standing())
        and best_goal(hold, thing) is None
    )
